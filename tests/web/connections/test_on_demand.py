"""Clients of topics that are read on demand: welcomed when those are awake, however they come."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest

from bridge.core.protocol.cursor import TopicOffsets, decode_cursor, encode_cursor
from tests.web.in_process_bridge import TOPIC_ID, wait_until
from tests.web.sse_client import open_welcomed_stream, request_stream

if TYPE_CHECKING:
    from tests.web.conftest import OpenBridge
    from tests.web.in_process_bridge import InProcessBridge

ALICE = "account=alice&topics=orders,rare"
TOPICS = {"orders": False, "rare": False}
BEFORE = encode_cursor(
    {
        "orders": TopicOffsets(TOPIC_ID, {0: 10, 1: 20}),
        "rare": TopicOffsets(TOPIC_ID, {0: 10, 1: 20}),
    }
)


@pytest.fixture
async def rig(open_rig: OpenBridge) -> InProcessBridge:
    return await open_rig(topics=TOPICS, on_demand=["rare"])


def wake(rig: InProcessBridge) -> None:
    """Do what the feed would do; then write what the hub has queued."""
    rig.hub.set_start_offsets("rare", TOPIC_ID, {0: 10, 1: 20})
    rig.pool.flusher.flush()


async def waited_for(rig: InProcessBridge) -> None:
    await wait_until(lambda: rig.hub.on_demand.has_subscribers("rare"))


@pytest.mark.parametrize("cursor", [None, BEFORE], ids=["new", "back"])
@pytest.mark.parametrize("by_hello", [False, True])
async def test_a_websocket_is_welcomed_once_its_topics_are_awake(rig, by_hello, cursor):
    asked = {"account": "alice", **({"cursor": cursor} if cursor else {})}
    client = await rig.connect("hello=1" if by_hello else urlencode(asked))
    if by_hello:
        await client.send("hello", **asked)
    await waited_for(rig)
    assert rig.hub.registry.by_id == {}
    wake(rig)
    welcome = await client.expect("welcome")
    assert welcome["topics"] == ["orders", "rare"], "who names none follows this too"
    assert decode_cursor(welcome["cursor"])["rare"].offsets == {0: 10, 1: 20}
    if cursor:
        await client.expect("live")
    at = rig.publish(accounts=["alice"], topic="rare")
    assert (await client.expect("event"))["at"] == at


async def test_a_stream_is_welcomed_once_its_topics_are_awake(rig):
    raw = await rig.open_tcp()
    raw.send(f"GET /events?{ALICE} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    await waited_for(rig)
    assert rig.hub.registry.by_id == {}
    wake(rig)
    await wait_until(lambda: rig.hub.registry.by_id)


async def test_nobody_waits_for_what_is_awake(rig):
    wake(rig)
    rig.upstream.wait_seconds = 0
    assert (await rig.connect_welcomed(ALICE)).welcome["topics"] == ["orders", "rare"]
    assert (await open_welcomed_stream(rig, ALICE)).welcome["topics"] == ["orders", "rare"]


async def test_who_follows_it_not_does_not_wait(rig):
    assert (await rig.connect_welcomed("account=alice&topics=orders")).welcome["topics"] == [
        "orders"
    ]
    assert not rig.hub.on_demand.has_subscribers("rare")


async def test_where_it_does_not_wake_clients_are_asked_to_come_later(open_rig: OpenBridge):
    rig = await open_rig(topics=TOPICS, on_demand=["rare"], wait_seconds=0.2)
    end = await (await rig.connect(ALICE)).wait_closed()
    assert (end.code, end.closing_frame["reconnect"], end.closing_frame["cursor"]) == (
        4006,
        True,
        None,
    )
    answer = await request_stream(rig, ALICE)
    assert (answer.status, answer.headers["retry-after"] > "0") == (503, True)
    await wait_until(lambda: rig.admission.connection_count == 0)
    assert rig.counters.refused_by_reason["kafka"] == 2
    assert not rig.hub.on_demand.has_subscribers("rare")


async def test_who_vanishes_while_it_wakes_lets_go_of_it(rig):
    client = await rig.connect(ALICE)
    await waited_for(rig)
    client.connection.transport.abort()
    wake(rig)  # a client that waits is not read from, so it is not noticed before
    await wait_until(lambda: not rig.hub.on_demand.has_subscribers("rare"))
    assert rig.hub.registry.by_id == {}


async def test_a_subscribe_is_answered_once_it_is_awake(rig):
    client = await rig.connect_welcomed("account=alice&topics=orders")
    await client.send("subscribe", topics=["rare"], id=1)
    await client.send("heartbeat", id=2)
    assert (await client.expect("heartbeat"))["id"] == 2
    wake(rig)
    reply = await client.expect("reply")
    assert (reply["id"], reply["topics"]) == (1, ["orders", "rare"])
    at = rig.publish(accounts=["alice"], topic="rare")
    assert (await client.expect("event"))["at"] == at
