"""A resume over a WebSocket: its frames in their order, and what a client does in the middle."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest

from bridge.core.protocol.cursor import TopicOffsets, decode_cursor, encode_cursor
from tests.web.in_process_bridge import TOPIC_ID, wait_until
from tests.web.raw_connection import frame_bytes

if TYPE_CHECKING:
    from tests.web.conftest import OpenBridge
    from tests.web.in_process_bridge import InProcessBridge
    from tests.web.websocket_client import WebSocketClient

#: Beyond what has been read, so that Kafka has to judge it; `rig.upstream` says when it does.
AHEAD = encode_cursor({"orders": TopicOffsets(TOPIC_ID, {0: 10, 1: 21})})
START = encode_cursor({"orders": TopicOffsets(TOPIC_ID, {0: 10, 1: 20})})


def asking(resumed: str = START, topics: str = "orders") -> str:
    return urlencode({"account": "alice", "topics": topics, "cursor": resumed})


async def come_back(
    rig: InProcessBridge, resumed: str, *, by_hello: bool = False
) -> WebSocketClient:
    """Resume; return the client once it is welcomed."""
    if not by_hello:
        return await rig.connect_welcomed(asking(resumed))
    client = await rig.connect("hello=1")
    await client.send("hello", account="alice", topics=["orders"], cursor=resumed)
    client.welcome = await client.expect("welcome")
    return client


async def held(rig: InProcessBridge) -> WebSocketClient:
    """A client in the middle of its replay: it has its welcome, and Kafka does not answer."""
    rig.upstream.brokers.ends = {"orders": {1: 21}}
    rig.upstream.brokers.may_respond.clear()
    client = await come_back(rig, AHEAD)
    await wait_until(lambda: rig.upstream.brokers.bounds_requests)
    return client


@pytest.mark.parametrize("by_hello", [False, True])
async def test_who_comes_back_gets_its_cursor_what_it_missed_and_then_what_happens(rig, by_hello):
    left = await rig.connect_welcomed("account=alice&topics=orders")
    seen = rig.publish(accounts=["alice"])
    assert (await left.expect("event"))["at"] == seen
    left.connection.transport.abort()
    missed = [rig.publish(accounts=["alice"], data=number) for number in range(3)]
    rig.publish(accounts=["bob"])
    missed += [rig.publish(partition=1, all=True)]
    resumed = f"{left.welcome['cursor']},{seen}"
    client = await come_back(rig, resumed, by_hello=by_hello)
    assert client.welcome["cursor"] == resumed
    events = [await client.expect("event") for _ in missed]
    assert [event["at"] for event in events] == missed
    assert [event["to"] for event in events] == ["account", "account", "account", "all"]
    live = await client.expect("live")
    assert live["replayed"] == 4
    assert decode_cursor(live["cursor"])["orders"].offsets == {0: 15, 1: 21}
    at = rig.publish(accounts=["alice"])
    assert (await client.expect("event"))["at"] == at


async def test_what_happens_during_a_replay_comes_once_and_in_order(open_rig: OpenBridge):
    rig = await open_rig(ceiling=2000)  # so it is replayed in many portions
    missed = [rig.publish(accounts=["alice"]) for _ in range(50)]
    client = await rig.connect_welcomed(asking())
    got: list[str] = []
    while len(got) < 100:
        if len(missed) < 100:
            missed.append(rig.publish(accounts=["alice"]))
        if (frame := await client.frame())["op"] == "event":
            got.append(frame["at"])
    assert got == missed
    await client.send("heartbeat")
    while (frame := await client.frame())["op"] == "live":
        pass
    assert decode_cursor(frame["cursor"])["orders"].offsets == {0: 110, 1: 20}


async def test_what_a_client_says_during_a_replay_is_answered_at_once(rig):
    client = await held(rig)
    told = await client.request("subscribe", topics=["news"], rooms=["r"], id=1)
    assert (told["topics"], told["rooms"], told["id"]) == (["news", "orders"], ["r"], 1)
    assert decode_cursor(told["cursor"])["orders"].offsets == {0: 10, 1: 21}
    await client.send("heartbeat", id=2)
    assert (await client.expect("heartbeat"))["id"] == 2
    assert (await client.request("nonsense", id=3))["error"] == "bad_frame"
    at = rig.publish(topic="news", rooms=["r"])
    rig.upstream.brokers.may_respond.set()
    assert (await client.expect("event"))["at"] == at, "a new topic is live, from the reply on"
    assert (await client.expect("live"))["replayed"] == 1


async def test_a_topic_left_during_a_replay_is_replayed_no_further(rig):
    client = await held(rig)
    rig.publish(accounts=["alice"])
    assert (await client.request("unsubscribe", topics=["orders"]))["topics"] == []
    rig.upstream.brokers.may_respond.set()
    live = await client.expect("live")
    assert (live["replayed"], decode_cursor(live["cursor"])) == (0, {})


async def test_heartbeats_come_during_a_replay_and_cover_what_has_come(open_rig: OpenBridge):
    rig = await open_rig(heartbeat_seconds=0.2)
    client = await held(rig)
    rig.publish(accounts=["alice"])
    for _ in range(3):
        beat = await client.expect("heartbeat")
        assert decode_cursor(beat["cursor"]) == decode_cursor(AHEAD)
    rig.upstream.brokers.may_respond.set()
    assert (await client.next_of("event"))["at"] == "orders:0:10"
    live = await client.next_of("live")
    assert decode_cursor(live["cursor"])["orders"].offsets == {0: 11, 1: 21}


async def test_a_client_that_vanishes_during_a_replay_is_forgotten(rig):
    client = await held(rig)
    assert len(rig.hub.replaying) == 1
    client.connection.transport.abort()
    await wait_until(lambda: len(rig.pool) == 0)
    assert rig.admission.connection_count == 0
    assert not rig.hub.replaying
    rig.upstream.brokers.may_respond.set()
    await (await rig.connect_welcomed(asking())).next_of("live")
    assert "alice" in rig.hub.subscriptions.by_account, "of the second"
    assert len(rig.hub.subscriptions.all_sessions) == 1


async def test_a_silent_client_is_closed_during_a_replay_too(open_rig: OpenBridge):
    rig = await open_rig(heartbeat_seconds=0.2)
    rig.upstream.brokers.may_respond.clear()
    raw = await rig.open_websocket(asking(AHEAD))
    code, closing = await raw.read_until_close()
    assert code == 4003
    assert closing is not None
    assert decode_cursor(closing["cursor"]) == decode_cursor(AHEAD)
    assert not rig.hub.replaying


async def test_a_drain_does_not_wait_for_a_replay(rig):
    client = await held(rig)
    rig.server.should_exit = True
    end = await client.wait_closed()
    assert end.code == 4001
    assert decode_cursor(end.closing_frame["cursor"]) == decode_cursor(AHEAD)
    await wait_until(rig.serve_task.done)


async def test_who_reads_slowly_is_replayed_as_fast_as_it_reads_and_not_hung_up_on(
    open_rig: OpenBridge,
):
    rig = await open_rig(ceiling=20_000)
    missed = [rig.publish(accounts=["alice"], data="x" * 10_000) for _ in range(300)]
    slow = await rig.open_websocket(asking(), receive_bytes=4096)
    got = []
    while (frame := await slow.json())["op"] == "event":
        got.append(frame["at"])
        (session,) = rig.hub.replaying or rig.hub.subscriptions.all_sessions
        assert session.outbox.pending_bytes < 20_000 + 11_000
    assert got == missed
    assert (frame["op"], frame["replayed"]) == ("live", 300)


# -- since -----------------------------------------------------------------------------------------

WHEN, WHEN_MS = "2026-11-21T09:00:00.5Z", 1_795_251_600_500


@pytest.mark.parametrize("by_hello", [False, True])
async def test_since_replays_from_a_time_and_goes_live(rig, by_hello):
    rig.publish(accounts=["alice"])
    later = [rig.publish(accounts=["alice"]) for _ in range(2)]
    rig.upstream.brokers.since_offsets = {"orders": {0: 11, 1: 20}}
    client = await rig.connect(
        "hello=1" if by_hello else urlencode({"account": "alice", "since": WHEN})
    )
    if by_hello:
        await client.send("hello", account="alice", since=WHEN)
    welcome = await client.expect("welcome")
    assert rig.upstream.brokers.since_requests == [WHEN_MS]
    assert decode_cursor(welcome["cursor"])["orders"].offsets == {0: 11, 1: 20}
    assert [(await client.expect("event"))["at"] for _ in later] == later
    assert (await client.expect("live"))["replayed"] == 2
    at = rig.publish(accounts=["alice"])
    assert (await client.expect("event"))["at"] == at


async def test_since_before_the_logs_start_begins_there_without_a_gap(rig):
    at = rig.publish(accounts=["alice"])
    rig.upstream.brokers.since_offsets = {"orders": {0: 3, 1: 4}}
    client = await rig.connect_welcomed(
        urlencode({"account": "alice", "topics": "orders", "since": WHEN})
    )
    assert (await client.expect("event"))["at"] == at
    assert (await client.expect("live"))["replayed"] == 1


async def test_where_kafka_does_not_find_the_time_the_client_is_asked_to_come_later(
    open_rig: OpenBridge,
):
    rig = await open_rig(wait_seconds=0.3)
    rig.upstream.brokers.is_reachable = False
    end = await (await rig.connect(f"topics=orders&since={WHEN}")).wait_closed()
    assert (end.code, end.closing_frame["reconnect"], end.closing_frame["cursor"]) == (
        4006,
        True,
        None,
    )
    assert end.closing_frame["retry_after"] > 0
    await wait_until(lambda: len(rig.pool) == 0)
    assert rig.admission.connection_count == 0


@pytest.mark.parametrize("by_hello", [False, True])
async def test_what_a_client_says_before_its_welcome_is_answered_after_it(rig, by_hello):
    rig.upstream.brokers.may_respond.clear()
    client = await rig.connect("hello=1" if by_hello else f"topics=orders&since={WHEN}")
    if by_hello:
        await client.send("hello", topics=["orders"], since=WHEN)
    for number in range(30):
        await client.send("subscribe", rooms=["r"], id=number)
    await wait_until(lambda: rig.upstream.brokers.since_requests)
    rig.upstream.brokers.may_respond.set()
    await client.expect("welcome")
    frames = [await client.frame() for _ in range(31)]
    assert [frame["id"] for frame in frames if frame["op"] == "reply"] == list(range(30))
    assert [frame["op"] for frame in frames if frame["op"] != "reply"] == ["live"]


async def test_hello_and_request_in_one_packet_are_answered_in_order_too(rig):
    rig.upstream.brokers.may_respond.clear()
    raw = await rig.open_tcp()
    await raw.upgrade("/ws?hello=1")
    hello = {"op": "hello", "topics": ["orders"], "since": WHEN}
    raw.send(
        frame_bytes(json.dumps(hello).encode()) + frame_bytes(b'{"op":"subscribe","rooms":["r"]}')
    )
    await wait_until(lambda: rig.upstream.brokers.since_requests)
    rig.upstream.brokers.may_respond.set()
    assert (await raw.json())["op"] == "welcome"
    assert {(await raw.json())["op"] for _ in range(2)} == {"live", "reply"}


async def test_a_flood_before_the_welcome_is_not_read_further(open_rig: OpenBridge):
    rig = await open_rig(wait_seconds=2.0)
    rig.upstream.brokers.is_reachable = False
    raw = await rig.open_tcp()
    await raw.upgrade(f"/ws?topics=orders&since={WHEN}")
    await wait_until(lambda: rig.upstream.brokers.since_requests)
    (socket,) = (socket for slice_ in rig.pool._slices for socket in slice_)
    assert not socket.transport.is_reading()
    raw.send(frame_bytes(b'{"op":"heartbeat"}') * 100)
    assert (await raw.read_until_close())[0] == 4006


async def test_a_client_that_vanishes_while_its_time_is_looked_for_is_forgotten(rig):
    rig.upstream.brokers.may_respond.clear()
    client = await rig.connect(f"account=alice&topics=orders&since={WHEN}")
    await wait_until(lambda: rig.admission.connection_count == 1)
    client.connection.transport.abort()
    rig.upstream.brokers.may_respond.set()
    await wait_until(lambda: len(rig.pool) == 0)
    assert rig.admission.connection_count == 0
    assert "alice" not in rig.hub.subscriptions.by_account


async def test_a_drain_does_not_wait_for_a_time_to_be_found(rig):
    rig.upstream.brokers.may_respond.clear()
    client = await rig.connect(f"topics=orders&since={WHEN}")
    await wait_until(lambda: rig.upstream.brokers.since_requests)
    rig.server.should_exit = True
    assert (await client.wait_closed()).code == 4001
    await wait_until(lambda: len(rig.pool) == 0)
    rig.upstream.brokers.may_respond.set()
    await wait_until(lambda: not rig.websocket_endpoint._admission_tasks)
    assert rig.hub.subscriptions.all_sessions == set(), "who has gone is not welcomed"
