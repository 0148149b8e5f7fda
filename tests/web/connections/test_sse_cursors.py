"""Where the `id` of an event stream stands, and what it may cost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from bridge.core.protocol import close_codes
from bridge.core.protocol.cursor import decode_cursor
from bridge.web.connections.pool import SLICE_COUNT, SLICE_SECONDS
from tests.web.in_process_bridge import TOPIC_ID, connection_of
from tests.web.sse_client import open_welcomed_stream

if TYPE_CHECKING:
    from tests.web.conftest import OpenBridge
    from tests.web.in_process_bridge import InProcessBridge
    from tests.web.sse_client import SseClient

ALICE = "account=alice&topics=orders"
PARTITIONS = 1000


@pytest.fixture
async def wide(open_rig: OpenBridge) -> InProcessBridge:
    """A bridge whose topic has 1,000 partitions, so that a cursor is far larger than an event."""
    rig = await open_rig()
    offsets = {partition: 10**9 + partition * 977 for partition in range(PARTITIONS)}
    rig.hub.set_start_offsets("orders", TOPIC_ID, offsets)
    return rig


def check_now(rig: InProcessBridge) -> None:
    """Do at once what the timer of all connections does within SLICE_COUNT * SLICE_SECONDS."""
    (alice,) = rig.hub.subscriptions.by_account["alice"]
    now = asyncio.get_running_loop().time()
    rig.pool.check_connections((connection_of(alice),), now)


def id_bytes(listener: SseClient) -> int:
    lines = b"".join(listener.chunks).split(b"\n")
    return sum(len(line) + 1 for line in lines if line.startswith(b"id: "))


async def test_ids_cost_no_more_than_the_events_with_1000_partitions(wide):
    listener = await open_welcomed_stream(wide, ALICE)
    for _ in range(200):
        at = wide.publish(accounts=["alice"])
        assert (await listener.next_of("event"))["at"] == at
    received = sum(map(len, listener.chunks))
    assert id_bytes(listener) <= received / 2
    assert b"".join(listener.chunks).count(b"\nid: ") > 1, "it still has ids"


async def test_a_heartbeat_brings_the_cursor_that_no_event_had_within_1_s(wide):
    assert SLICE_COUNT * SLICE_SECONDS < 1
    listener = await open_welcomed_stream(wide, ALICE)
    at = wide.publish(accounts=["alice"])
    event = await listener.next_of("event")
    assert event["at"] == at
    assert listener.last_event_id == listener.welcome["cursor"], "it costs more than the event"
    check_now(wide)
    beat = await listener.expect("heartbeat")
    offset = int(at.rpartition(":")[2])
    for cursor in (beat["cursor"], listener.last_event_id):
        assert decode_cursor(cursor)["orders"].offsets[0] == offset + 1


async def test_no_heartbeat_comes_where_every_event_is_covered(rig):
    listener = await open_welcomed_stream(rig, ALICE)
    rig.publish(accounts=["alice"])
    await listener.expect("event")
    check_now(rig)
    at = rig.publish(accounts=["alice"])
    assert (await listener.expect("event"))["at"] == at


async def test_a_heartbeat_is_not_repeated_without_an_event(wide):
    listener = await open_welcomed_stream(wide, ALICE)
    wide.publish(accounts=["alice"])
    await listener.expect("event")
    check_now(wide)
    await listener.expect("heartbeat")
    check_now(wide)
    wide.publish(accounts=["alice"])
    await listener.expect("event")


async def test_no_block_of_a_stream_is_without_data_and_none_is_empty(wide):
    listener = await open_welcomed_stream(wide, ALICE)
    for size in (20_000, 20_000, 20_000, 20_000, 1):  # the last one is smaller than an id
        wide.publish(accounts=["alice"], data="x" * size)
        await listener.next_of("event")
    check_now(wide)
    await listener.expect("heartbeat")
    wide.server.should_exit = True
    await listener.wait_closed_with(4001)
    blocks = b"".join(listener.chunks).split(b"\n\n")
    assert blocks.pop() == b""
    assert len(blocks) == len(listener.parser.dispatched) == 8
    assert all(b"\ndata: {" in block for block in blocks)


async def test_an_empty_line_never_follows_a_comment(rig):
    listener = await open_welcomed_stream(rig, ALICE)
    (alice,) = rig.hub.subscriptions.by_account["alice"]
    connection_of(alice).send_keepalive(asyncio.get_running_loop().time() + 60)
    rig.publish(accounts=["alice"])
    await listener.expect("event")
    assert b":\nevent: event\n" in b"".join(listener.chunks)


async def test_a_grant_that_ends_in_the_middle_of_a_portion_leaves_no_half_block(rig):
    listener = await open_welcomed_stream(rig, ALICE, receive_bytes=4096)
    (alice,) = rig.hub.subscriptions.by_account["alice"]
    pipe = connection_of(alice)
    while not (pipe.is_write_paused and alice.outbox.pending_bytes):
        rig.publish(accounts=["alice"], data="x" * 60_000)
        await asyncio.sleep(0)
    rig.hub.close(alice, close_codes.EXPIRED, discard_queued=True)
    rig.pool.flusher.flush()
    await listener.wait_closed_with(4005)
