"""Leaving in order: everybody is told to come back elsewhere, and then it is over."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.web.raw import framed
from tests.web.rig import HOST, until

if TYPE_CHECKING:
    from tests.web.conftest import OpenRig
    from tests.web.rig import Rig


async def hold_up(rig: Rig) -> None:
    """Begin a drain that lasts: one client does not answer the close."""
    stubborn = await rig.open_raw()
    rig.server.should_exit = True
    assert (await stubborn.end())[0] == 4001


async def test_everybody_is_told_4001_with_what_it_takes_to_come_back(rig):
    client = await rig.join("account=alice&topics=orders")
    at = rig.publish(accounts=["alice"])
    rig.server.should_exit = True
    end = await client.end()
    event, closing = end.frames
    assert (event["op"], event["at"]) == ("event", at)
    assert closing.pop("cursor") != client.welcome["cursor"]
    assert closing.pop("retry_after") > 0
    assert closing.pop("reason").startswith("draining")
    assert closing == {"op": "closing", "code": 4001, "reconnect": True}
    assert end.code == 4001
    await until(lambda: len(rig.sockets) == 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains(rig, number):
    client = await rig.join()
    os.kill(os.getpid(), number)
    assert (await client.end()).code == 4001


async def test_who_has_not_said_hello_yet_is_told_too(rig):
    client = await rig.connect("hello=1")
    rig.server.should_exit = True
    end = await client.end()
    assert (end.code, end.closing["cursor"]) == (4001, None)


async def test_it_is_over_as_soon_as_everybody_has_gone(rig):
    clients = [await rig.join() for _ in range(20)]
    rig.server.should_exit = True
    assert {(await client.end()).code for client in clients} == {4001}
    await until(rig.serving.done)
    with pytest.raises(OSError, match=r"[Cc]onnect"):
        await asyncio.open_connection(HOST, rig.port)


async def test_new_clients_are_told_4001_while_it_drains(rig):
    await hold_up(rig)
    end = await (await rig.connect()).end()
    assert (end.code, end.closing["code"], end.closing["reconnect"]) == (4001, 4001, True)
    assert (await (await rig.connect("hello=1")).end()).code == 4001


async def test_readyz_is_503_while_it_drains_and_healthz_is_not(rig):
    async with httpx.AsyncClient(base_url=rig.http, trust_env=False) as http:
        assert (await http.get("/readyz")).status_code == 200
        await hold_up(rig)
        answer = await http.get("/readyz")
        assert answer.status_code == 503
        assert "draining" in answer.json()["detail"]
        assert (await http.get("/healthz")).status_code == 200


async def test_a_client_that_does_not_answer_the_close_is_cut_off(open_rig: OpenRig):
    rig = await open_rig(close_seconds=0.2, heartbeat=1.0)
    stubborn = await rig.open_raw()
    rig.server.should_exit = True
    assert (await stubborn.end())[0] == 4001
    await until(rig.serving.done)
    assert await stubborn.rest() == b""


async def test_who_is_left_at_the_deadline_of_the_drain_is_cut_off(rig):
    rig.drain_seconds = 0.2
    stubborn = await rig.open_raw()
    rig.server.should_exit = True
    assert (await stubborn.end())[0] == 4001
    await until(rig.serving.done)
    assert len(rig.sockets) == 0


async def test_who_is_being_closed_already_keeps_its_first_reason(open_rig: OpenRig):
    rig = await open_rig(ceiling=100_000)
    slow = await rig.open_raw("account=slow", receive_bytes=4096)
    while "slow" in rig.hub.interest.accounts:
        rig.publish(accounts=["slow"], data="x" * 60_000)
    rig.server.should_exit = True
    await until(lambda: rig.entrance.draining)
    code, closing = await slow.end()
    assert code == 4002
    assert closing is not None
    assert closing["code"] == 4002
    slow.send(framed(b"", 0x8))
    await until(rig.serving.done)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_does_not_wait_for_those_who_do_not_leave(open_rig, number):
    rig = await open_rig(close_seconds=3600.0)
    stubborn = await rig.open_raw()
    os.kill(os.getpid(), number)
    assert (await stubborn.end())[0] == 4001
    os.kill(os.getpid(), number)
    await until(rig.serving.done)
