"""Heartbeats and silence: who is heard of stays, who is not is closed after two heartbeats."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING

import pytest

from bridge.core.protocol.cursor import decode_cursor
from bridge.web.connections.connection import ClientConnection
from bridge.web.connections.pool import SLICE_COUNT, SLICE_SECONDS, ConnectionPool
from tests.core.factories import offsets_by_topic
from tests.web.in_process_bridge import wait_until
from tests.web.raw_connection import frame_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.web.conftest import OpenBridge
    from tests.web.raw_connection import RawConnection

HEARTBEAT = 0.2
PING, PONG = 0x9, 0xA


async def test_heartbeats_come_busy_or_not_and_carry_the_cursor(open_rig: OpenBridge):
    rig = await open_rig(heartbeat_seconds=HEARTBEAT)
    client = await rig.connect_welcomed("account=alice&rooms=r")
    assert client.welcome["heartbeat"] == HEARTBEAT
    start = offsets_by_topic(decode_cursor(client.welcome["cursor"]))
    beat = await client.frame()
    assert beat["op"] == "heartbeat"
    assert offsets_by_topic(decode_cursor(beat["cursor"])) == start
    rig.publish(rooms=["other"])
    beat = await client.expect("heartbeat")
    passed = offsets_by_topic(decode_cursor(beat["cursor"]))
    assert passed != start
    for _ in range(3):
        rig.publish(rooms=["r"])
        await client.next_of("event")
        beat = await client.next_of("heartbeat")
        assert offsets_by_topic(decode_cursor(beat["cursor"])) != passed


@pytest.mark.parametrize("heartbeat", [0.1, 1.0, 25.0, 600.0])
async def test_everybody_is_looked_after_several_times_in_a_heartbeat(
    open_rig: OpenBridge, heartbeat: float
):
    rig = await open_rig(heartbeat_seconds=heartbeat)
    assert rig.pool._slice_interval_seconds * SLICE_COUNT <= heartbeat / 4
    assert rig.pool._slice_interval_seconds <= SLICE_SECONDS


class Watched(ConnectionPool):
    """Notes whom it looks after, and does nothing else."""

    looked_after: list[ClientConnection]

    def check_connections(self, connections: Iterable[ClientConnection], now: float) -> None:
        assert now
        self.looked_after += connections


async def test_a_clock_that_is_held_up_makes_up_for_it_so_that_heartbeats_are_late_only_once(rig):
    sockets = Watched(
        rig.hub,
        rig.admission,
        expiry=rig.expiry,
        flusher=rig.flusher,
        upstream=rig.upstream,
        limits=rig.pool.limits,
        counters=rig.counters,
    )
    looked_after: list[ClientConnection] = []
    sockets.looked_after = looked_after
    everybody = [ClientConnection(sockets) for _ in range(3 * SLICE_COUNT)]
    for pipe in everybody:
        sockets.add(pipe)
    clock = itertools.count(0, 5)  # every turn of the event loop takes five seconds
    sockets.now = lambda: next(clock)
    turns = asyncio.create_task(sockets.run())
    await wait_until(lambda: looked_after)
    turns.cancel()
    assert set(looked_after) == set(everybody)
    assert len(looked_after) % len(everybody) == 0


async def test_a_heartbeat_says_for_how_long_kafka_has_been_away(open_rig: OpenBridge):
    rig = await open_rig(heartbeat_seconds=HEARTBEAT)
    client = await rig.connect_welcomed()
    assert "stale" not in await client.expect("heartbeat")
    rig.upstream.stale_for = 7.5
    while (beat := await client.expect("heartbeat")).get("stale") is None:
        pass
    assert beat["stale"] == 7.5
    rig.upstream.stale_for = None
    while "stale" in await client.expect("heartbeat"):
        pass


async def test_the_answer_to_a_heartbeat_says_it_too(rig):
    client = await rig.connect_welcomed()
    rig.upstream.stale_for = 0.0
    await client.send("heartbeat")
    assert (await client.expect("heartbeat"))["stale"] == 0


async def heartbeats(raw: RawConnection) -> int:
    """How many heartbeats come before the connection is closed with 4003."""
    count = 0
    while True:
        opcode, payload = await raw.read_frame()
        if opcode == 0x8:
            assert payload[:2] == (4003).to_bytes(2, "big")
            return count
        count += b'"heartbeat"' in payload


async def test_a_client_of_which_nothing_is_heard_for_two_heartbeats_is_closed_with_4003(
    open_rig: OpenBridge,
):
    rig = await open_rig(heartbeat_seconds=HEARTBEAT)
    raw = await rig.open_websocket()
    code, closing = await raw.read_until_close()
    assert code == 4003
    assert closing is not None
    assert (closing["op"], closing["code"], closing["reconnect"]) == ("closing", 4003, True)
    assert closing["retry_after"] > 0
    assert closing["cursor"]


async def test_a_silent_client_is_told_one_heartbeat_before_it_is_closed(open_rig: OpenBridge):
    rig = await open_rig(heartbeat_seconds=HEARTBEAT)
    assert 1 <= await heartbeats(await rig.open_websocket()) <= 2


async def test_nobody_is_called_silent_by_a_bridge_that_was_late_itself(open_rig: OpenBridge):
    rig = await open_rig(heartbeat_seconds=25.0)
    raw = await rig.open_websocket()
    everybody = [socket for slice_ in rig.pool._slices for socket in slice_]
    late = rig.pool.now() + 70  # at which it asks for the first pong
    rig.pool.check_connections(everybody, late)
    rig.pool.check_connections(everybody, late + 25)
    rig.pool.check_connections(everybody, late + 50)
    frames = [await raw.read_frame() for _ in range(5)]
    beats = [opcode == PING or b'"heartbeat"' in payload for opcode, payload in frames]
    assert beats == [True, True, True, True, False]
    assert b'"code":4003' in frames[-1][1]


async def test_the_server_pings_so_that_a_client_that_only_answers_stays(open_rig: OpenBridge):
    rig = await open_rig(heartbeat_seconds=HEARTBEAT)
    raw = await rig.open_websocket()
    pings = 0
    while pings < 8:
        opcode, payload = await raw.read_frame()
        assert opcode != 0x8, payload
        if opcode == PING:
            pings += 1
            raw.send(frame_bytes(payload, PONG))
    raw.send_frame("heartbeat", id="still here")
    while (await raw.read_frame())[1].find(b"still here") < 0:
        pass


async def test_a_client_that_only_talks_stays(open_rig: OpenBridge):
    rig = await open_rig(heartbeat_seconds=HEARTBEAT)
    raw = await rig.open_websocket()
    beats = 0
    while beats < 8:
        opcode, payload = await raw.read_frame()
        assert opcode != 0x8, payload
        if b'"heartbeat"' in payload and b'"id"' not in payload:
            beats += 1
            raw.send_frame("heartbeat", id=1)


async def test_a_client_that_vanishes_is_cut_off_and_forgotten(open_rig: OpenBridge):
    rig = await open_rig(heartbeat_seconds=HEARTBEAT, close_timeout_seconds=0.2)
    raw = await rig.open_websocket("account=alice")
    await wait_until(lambda: len(rig.pool) == 0)
    assert rig.admission.connection_count == 0
    rig.publish(accounts=["alice"])
    assert b"alice" not in await raw.read_to_end()
