"""Leaving in order: everybody is told to come back elsewhere, and then it is over."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.web.in_process_bridge import HOST, wait_until
from tests.web.raw_connection import frame_bytes

if TYPE_CHECKING:
    from tests.web.conftest import OpenBridge
    from tests.web.in_process_bridge import InProcessBridge


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
    async with httpx.AsyncClient(base_url=rig.http, trust_env=False) as http:
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
    rig.drain_seconds = 0.2
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
