"""Coming back with a cursor: what is told of it, topic by topic, before anything live."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from bridge.core.protocol.cursor import TopicOffsets, decode_cursor, encode_cursor
from tests.web.in_process_bridge import TOPIC_ID, wait_until

if TYPE_CHECKING:
    from tests.web.conftest import OpenBridge
    from tests.web.in_process_bridge import InProcessBridge
    from tests.web.websocket_client import WebSocketClient

OTHER_LIFE = b"another."


def cursor(*, life: bytes = TOPIC_ID, **topics: dict[int, int]) -> str:
    return encode_cursor({topic: TopicOffsets(life, offsets) for topic, offsets in topics.items()})


def offsets(text: str, topic: str = "orders") -> dict[int, int]:
    return dict(decode_cursor(text)[topic].offsets)


async def come_back(rig: InProcessBridge, resumed: str, topics: str = "orders") -> WebSocketClient:
    query = urlencode({"account": "alice", "topics": topics, "cursor": resumed})
    client = await rig.connect_welcomed(query)
    assert client.welcome["cursor"] == resumed, "the client's own cursor is given back"
    return client


async def test_the_cursor_of_a_welcome_is_where_live_begins(rig):
    client = await rig.connect_welcomed("topics=orders")
    assert offsets(client.welcome["cursor"]) == {0: 10, 1: 20}


async def test_a_cursor_in_any_frame_covers_exactly_the_frames_before_it(rig):
    client = await rig.connect_welcomed("account=alice&topics=orders&rooms=r")
    rig.publish(partition=1, accounts=["alice"])
    await client.expect("event")
    assert offsets((await client.request("subscribe", rooms=["s"]))["cursor"]) == {0: 10, 1: 21}
    rig.publish(partition=0, accounts=["alice"])
    rig.publish(partition=0, accounts=["bob"])
    await client.expect("event")
    await client.send("heartbeat")
    assert offsets((await client.expect("heartbeat"))["cursor"]) == {0: 12, 1: 21}


async def test_who_missed_nothing_is_live_at_once_with_its_own_cursor(rig):
    left = await rig.connect_welcomed("account=alice&topics=orders")
    client = await come_back(rig, left.welcome["cursor"])
    live = await client.expect("live")
    assert live == {"op": "live", "replayed": 0, "cursor": left.welcome["cursor"]}
    at = rig.publish(accounts=["alice"])
    assert (await client.expect("event"))["at"] == at


async def test_a_cursor_may_be_joined_by_the_positions_seen_since(rig):
    left = await rig.connect_welcomed("account=alice&topics=orders")
    seen = [rig.publish(accounts=["alice"]), rig.publish(partition=1, accounts=["alice"])]
    client = await come_back(rig, ",".join([left.welcome["cursor"], *seen]))
    assert offsets((await client.expect("live"))["cursor"]) == {0: 11, 1: 21}


async def test_what_is_no_longer_there_is_a_gap_for_each_topic_and_then_live(rig):
    behind = cursor(orders={0: 9, 1: 20}, news={0: 10, 1: 19}, audit={0: 10, 1: 20})
    client = await come_back(rig, behind, "orders,news,audit")
    gaps = [await client.expect("gap") for _ in range(2)]
    assert [(gap["topic"], gap["reason"]) for gap in gaps] == [
        ("news", "expired"),
        ("orders", "expired"),
    ]
    assert offsets(gaps[0]["cursor"], "news") == {0: 10, 1: 20}
    assert offsets(gaps[0]["cursor"]) == {0: 9, 1: 20}, "that gap has not been told yet"
    assert offsets(gaps[1]["cursor"]) == {0: 10, 1: 20}
    live = await client.expect("live")
    assert (live["replayed"], live["cursor"]) == (0, gaps[1]["cursor"])
    at = rig.publish(accounts=["alice"])
    assert (await client.expect("event"))["at"] == at


async def test_a_topic_that_the_cursor_does_not_name_is_live(rig):
    client = await come_back(rig, cursor(news={0: 10, 1: 20}), "orders,news")
    assert (await client.expect("live"))["replayed"] == 0
    at = rig.publish(accounts=["alice"])
    assert (await client.expect("event"))["at"] == at


async def test_a_cursor_without_topics_is_no_obstacle(rig):
    client = await come_back(rig, cursor())
    assert (await client.expect("live"))["replayed"] == 0


async def test_a_topic_that_nobody_has_any_more_is_passed_over(rig):
    client = await come_back(rig, cursor(gone={0: 7}, orders={0: 10, 1: 20}))
    assert (await client.expect("live"))["replayed"] == 0


async def test_a_topic_created_again_since_is_a_gap_and_comes_from_its_beginning(rig):
    at = rig.publish(accounts=["alice"])
    client = await come_back(rig, cursor(life=OTHER_LIFE, orders={0: 5, 1: 5}))
    gap = await client.expect("gap")
    assert (gap["topic"], gap["reason"]) == ("orders", "recreated")
    assert offsets(gap["cursor"]) == {}
    assert (await client.expect("event"))["at"] == at
    live = await client.expect("live")
    assert (live["replayed"], offsets(live["cursor"])) == (1, {0: 11, 1: 20})


async def test_a_topic_created_again_under_a_client_is_told_it_too(rig):
    client = await rig.connect_welcomed("account=alice&topics=orders")
    stranger = await rig.connect_welcomed("topics=news")
    rig.hub.set_start_offsets("orders", OTHER_LIFE, {0: 0})
    rig.pool.flusher.flush()
    gap = await client.expect("gap")
    assert (gap["topic"], gap["reason"]) == ("orders", "recreated")
    assert offsets(gap["cursor"]) == {0: 0}
    assert rig.publish(accounts=["alice"]) == "orders:0:0"
    assert (await client.expect("event"))["at"] == "orders:0:0"
    await stranger.check_responsive()


# -- a cursor ahead of this instance ---------------------------------------------------------------


async def test_a_cursor_beyond_kafkas_end_is_a_gap_truncated(rig):
    rig.upstream.brokers.ends = {"orders": {0: 11}}
    client = await come_back(rig, cursor(orders={0: 12, 1: 20}))
    gap = await client.expect("gap")
    assert rig.upstream.brokers.bounds_requests == [{"orders"}]
    assert (gap["topic"], gap["reason"]) == ("orders", "truncated")
    assert offsets(gap["cursor"]) == {0: 10, 1: 20}
    assert (await client.expect("live"))["replayed"] == 0
    at = rig.publish(accounts=["alice"])
    assert (await client.expect("event"))["at"] == at


async def test_an_instance_that_is_behind_the_cursor_sends_nothing_at_or_below_it(rig):
    rig.upstream.brokers.ends = {"orders": {0: 12}}
    client = await come_back(rig, cursor(orders={0: 12, 1: 20}))
    assert offsets((await client.expect("live"))["cursor"]) == {0: 12, 1: 20}
    rig.publish(accounts=["alice"])
    other = rig.publish(partition=1, accounts=["alice"])
    assert (await client.expect("event"))["at"] == other
    await client.send("heartbeat")
    beat = await client.expect("heartbeat")
    assert offsets(beat["cursor"]) == {0: 12, 1: 21}, "a cursor never goes back"
    rig.publish(accounts=["alice"])
    assert rig.publish(accounts=["alice"]) == "orders:0:12"
    assert (await client.expect("event"))["at"] == "orders:0:12"


async def test_where_kafka_does_not_tell_its_ends_the_client_is_asked_to_come_later(
    open_rig: OpenBridge,
):
    rig = await open_rig(wait_seconds=0.5)
    rig.upstream.brokers.is_reachable = False
    ahead = cursor(orders={0: 12})
    end = await (await come_back(rig, ahead)).wait_closed()
    assert (end.code, end.closing_frame["reconnect"]) == (4006, True)
    assert end.closing_frame["retry_after"] > 0
    assert decode_cursor(end.closing_frame["cursor"]) == decode_cursor(ahead)
    await wait_until(lambda: len(rig.pool) == 0)
    assert rig.admission.connection_count == 0
