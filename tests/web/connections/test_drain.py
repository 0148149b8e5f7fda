"""Leaving in order: everybody is told to come back elsewhere, and then it is over."""

from __future__ import annotations

import asyncio
import os
import signal
from functools import partial
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.web.in_process_bridge import HOST, wait_until
from tests.web.raw_connection import frame_bytes

if TYPE_CHECKING:
    from tests.web.conftest import OpenBridge
    from tests.web.in_process_bridge import InProcessBridge
    from tests.web.raw_connection import RawConnection


async def hold_up(rig: InProcessBridge) -> None:
    """Begin a drain that lasts: one client does not answer the close."""
    stubborn = await rig.open_websocket()
    rig.server.should_exit = True
    assert (await stubborn.read_until_close())[0] == 4001


async def test_everybody_is_told_4001_with_what_it_takes_to_come_back(rig):
    client = await rig.connect_welcomed("account=alice&topics=orders")
    at = rig.publish(accounts=["alice"])
    rig.server.should_exit = True
    end = await client.wait_closed()
    event, closing = end.frames
    assert (event["op"], event["at"]) == ("event", at)
    assert closing.pop("cursor") != client.welcome["cursor"]
    assert closing.pop("retry_after") > 0
    assert closing.pop("reason").startswith("draining")
    assert closing == {"op": "closing", "code": 4001, "reconnect": True}
    assert end.code == 4001
    await wait_until(lambda: len(rig.pool) == 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains(rig, number):
    client = await rig.connect_welcomed()
    os.kill(os.getpid(), number)
    assert (await client.wait_closed()).code == 4001


async def test_who_has_not_said_hello_yet_is_told_too(rig):
    client = await rig.connect("hello=1")
    rig.server.should_exit = True
    end = await client.wait_closed()
    assert (end.code, end.closing_frame["cursor"]) == (4001, None)


async def test_it_is_over_as_soon_as_everybody_has_gone(rig):
    clients = [await rig.connect_welcomed() for _ in range(20)]
    rig.server.should_exit = True
    assert {(await client.wait_closed()).code for client in clients} == {4001}
    await wait_until(rig.serve_task.done)
    with pytest.raises(OSError, match=r"[Cc]onnect"):
        await asyncio.open_connection(HOST, rig.port)


async def test_new_clients_are_told_4001_while_it_drains(rig):
    await hold_up(rig)
    end = await (await rig.connect()).wait_closed()
    assert (end.code, end.closing_frame["code"], end.closing_frame["reconnect"]) == (
        4001,
        4001,
        True,
    )
    assert (await (await rig.connect("hello=1")).wait_closed()).code == 4001


async def test_readyz_is_503_while_it_drains_and_healthz_is_not(rig):
    async with httpx.AsyncClient(base_url=rig.http, trust_env=False, verify=False) as http:
        assert (await http.get("/readyz")).status_code == 200
        await hold_up(rig)
        answer = await http.get("/readyz")
        assert answer.status_code == 503
        assert "draining" in answer.json()["detail"]
        assert (await http.get("/healthz")).status_code == 200


async def test_a_client_that_does_not_answer_the_close_is_cut_off(open_rig: OpenBridge):
    rig = await open_rig(close_timeout_seconds=0.2, heartbeat_seconds=1.0)
    stubborn = await rig.open_websocket()
    rig.server.should_exit = True
    assert (await stubborn.read_until_close())[0] == 4001
    await wait_until(rig.serve_task.done)
    assert await stubborn.read_to_end() == b""


async def test_who_is_left_at_the_deadline_of_the_drain_is_cut_off(rig):
    rig.leave_seconds = 0.2
    stubborn = await rig.open_websocket()
    rig.server.should_exit = True
    assert (await stubborn.read_until_close())[0] == 4001
    await wait_until(rig.serve_task.done)
    assert len(rig.pool) == 0


async def test_who_is_being_closed_already_keeps_its_first_reason(open_rig: OpenBridge):
    rig = await open_rig(ceiling=100_000)
    slow = await rig.open_websocket("account=slow", receive_bytes=4096)
    while "slow" in rig.hub.subscriptions.by_account:
        rig.publish(accounts=["slow"], data="x" * 60_000)
    rig.server.should_exit = True
    await wait_until(lambda: rig.admission.is_draining)
    code, closing = await slow.read_until_close()
    assert code == 4002
    assert closing is not None
    assert closing["code"] == 4002
    slow.send(frame_bytes(b"", 0x8))
    await wait_until(rig.serve_task.done)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_does_not_wait_for_those_who_do_not_leave(open_rig, number):
    rig = await open_rig(close_timeout_seconds=3600.0)
    stubborn = await rig.open_websocket()
    os.kill(os.getpid(), number)
    assert (await stubborn.read_until_close())[0] == 4001
    os.kill(os.getpid(), number)
    await wait_until(rig.serve_task.done)


class Clock:
    """A clock that the test sets; the pool's timers still run."""

    seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds


async def begin_spread_drain(rig: InProcessBridge, seconds: float) -> Clock:
    """Begin a drain that is spread over `seconds` of the clock that is returned."""
    rig.pool.now = clock = Clock()
    rig.drain_seconds = seconds
    rig.server.should_exit = True
    await wait_until(lambda: rig.admission.is_draining)
    return clock


@pytest.mark.parametrize("path", ["/ws", "/events"])
async def test_the_connected_are_closed_evenly_over_the_drain(rig, path):
    clients = []
    for _ in range(10):
        opening = (
            rig.open_websocket("account=alice") if path == "/ws" else open_stream(rig, "alice")
        )
        clients.append(await opening)
    await wait_until(lambda: live_count(rig) == 10)
    clock = await begin_spread_drain(rig, 10.0)
    for closed in 1, 3, 6, 10:
        clock.seconds = 1_000.0 + closed - 1
        await wait_until(partial(has_live, rig, 10 - closed))
    for client in clients:
        if path == "/ws":
            assert (await client.read_until_close())[0] == 4001
            client.send(frame_bytes((1000).to_bytes(2, "big"), 0x8))
        else:
            assert b'"code":4001' in await client.read_to_end()
    await wait_until(rig.serve_task.done)
    assert rig.counters.closes_by_code == {4001: 10}


def has_live(rig: InProcessBridge, count: int) -> bool:
    return live_count(rig) == count


def live_count(rig: InProcessBridge) -> int:
    return sum(session.is_welcomed for session in rig.hub.registry.by_id.values())


async def open_stream(rig: InProcessBridge, account: str) -> RawConnection:
    raw = await rig.open_tcp()
    raw.send(b"GET /events?account=%b HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n" % account.encode())
    return raw


async def test_who_is_not_closed_yet_gets_events_and_a_cursor_that_covers_them(rig):
    clients = [await rig.connect_welcomed("account=alice&topics=orders") for _ in range(3)]
    clock = await begin_spread_drain(rig, 30.0)
    await wait_until(lambda: live_count(rig) == 2)
    at = rig.publish(accounts=["alice"])
    clock.seconds += 30.0
    events = []
    for client in clients:
        end = await client.wait_closed()
        assert end.code == 4001
        events += [frame["at"] for frame in end.frames if frame["op"] == "event"]
    assert events == [at, at]


async def test_new_clients_are_told_4001_while_the_others_wait_for_their_close(rig):
    clients = [await rig.connect_welcomed() for _ in range(2)]
    await begin_spread_drain(rig, 30.0)
    assert (await (await rig.connect()).wait_closed()).code == 4001
    assert live_count(rig) == 1
    async with httpx.AsyncClient(base_url=rig.http, trust_env=False) as http:
        assert (await http.get("/readyz")).status_code == 503
        assert (await http.get("/events")).status_code == 503
    assert len(clients) == 2


async def test_the_drain_ends_as_soon_as_all_have_gone(rig):
    clients = [await rig.open_websocket() for _ in range(3)]
    await begin_spread_drain(rig, 3_600.0)
    for client in clients:
        client.abort()
    await wait_until(rig.serve_task.done)


async def test_a_second_signal_ends_a_spread_drain_at_once(rig):
    clients = [await rig.open_websocket() for _ in range(2)]
    await begin_spread_drain(rig, 3_600.0)
    rig.server.handle_exit(signal.SIGTERM, None)
    await wait_until(rig.serve_task.done)
    assert len(rig.pool) == 0
    await asyncio.gather(*(client.read_to_end() for client in clients))


async def test_a_signal_refuses_new_clients_in_the_same_turn(rig):
    rig.server.handle_exit(signal.SIGTERM, None)
    assert rig.admission.is_draining
    assert rig.pool.drain_started.is_set()
