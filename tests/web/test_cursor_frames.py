"""Coming back with a cursor: what is told of it, topic by topic, before anything live."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest

from bridge.core.position import Place, read_cursor, write_cursor
from tests.web.raw import framed
from tests.web.rig import LIFE, until

if TYPE_CHECKING:
    from tests.web.client import Client
    from tests.web.rig import Rig

OTHER_LIFE = b"another."


def cursor(*, life: bytes = LIFE, **topics: dict[int, int]) -> str:
    return write_cursor({topic: Place(life, offsets) for topic, offsets in topics.items()})


def offsets(text: str, topic: str = "orders") -> dict[int, int]:
    return dict(read_cursor(text)[topic].offsets)


async def come_back(rig: Rig, resumed: str, topics: str = "orders") -> Client:
    query = urlencode({"account": "alice", "topics": topics, "cursor": resumed})
    client = await rig.join(query)
    assert client.welcome["cursor"] == resumed, "the client's own cursor is given back"
    return client


async def test_the_cursor_of_a_welcome_is_where_live_begins(rig):
    client = await rig.join("topics=orders")
    assert offsets(client.welcome["cursor"]) == {0: 10, 1: 20}


async def test_a_cursor_in_any_frame_covers_exactly_the_frames_before_it(rig):
    client = await rig.join("account=alice&topics=orders&rooms=r")
    rig.publish(partition=1, accounts=["alice"])
    await client.expect("event")
    assert offsets((await client.ask("subscribe", rooms=["s"]))["cursor"]) == {0: 10, 1: 21}
    rig.publish(partition=0, accounts=["alice"])
    rig.publish(partition=0, accounts=["bob"])
    await client.expect("event")
    await client.say("heartbeat")
    assert offsets((await client.expect("heartbeat"))["cursor"]) == {0: 12, 1: 21}


async def test_who_missed_nothing_is_live_at_once_with_its_own_cursor(rig):
    left = await rig.join("account=alice&topics=orders")
    client = await come_back(rig, left.welcome["cursor"])
    live = await client.expect("live")
    assert live == {"op": "live", "replayed": 0, "cursor": left.welcome["cursor"]}
    at = rig.publish(accounts=["alice"])
    assert (await client.expect("event"))["at"] == at


async def test_a_cursor_may_be_joined_by_the_positions_seen_since(rig):
    left = await rig.join("account=alice&topics=orders")
    seen = [rig.publish(accounts=["alice"]), rig.publish(partition=1, accounts=["alice"])]
    client = await come_back(rig, ",".join([left.welcome["cursor"], *seen]))
    assert offsets((await client.expect("live"))["cursor"]) == {0: 11, 1: 21}


async def test_a_cursor_behind_now_is_a_gap_for_each_topic_and_then_live(rig):
    behind = cursor(orders={0: 9, 1: 20}, news={0: 10, 1: 19}, audit={0: 10, 1: 20})
    client = await come_back(rig, behind, "orders,news,audit")
    gaps = [await client.expect("gap") for _ in range(2)]
    assert [(gap["topic"], gap["reason"]) for gap in gaps] == [
        ("news", "limit"),
        ("orders", "limit"),
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


async def test_a_topic_created_again_since_is_a_gap_recreated(rig):
    client = await come_back(rig, cursor(life=OTHER_LIFE, orders={0: 5, 1: 5}))
    gap = await client.expect("gap")
    assert (gap["topic"], gap["reason"]) == ("orders", "recreated")
    assert offsets(gap["cursor"]) == {0: 10, 1: 20}
    assert (await client.expect("live"))["replayed"] == 0


async def test_a_topic_created_again_under_a_client_is_told_it_too(rig):
    client = await rig.join("account=alice&topics=orders")
    stranger = await rig.join("topics=news")
    rig.hub.begin("orders", OTHER_LIFE, {0: 0})
    rig.sockets.flush()
    gap = await client.expect("gap")
    assert (gap["topic"], gap["reason"]) == ("orders", "recreated")
    assert offsets(gap["cursor"]) == {0: 0}
    assert rig.publish(accounts=["alice"]) == "orders:0:0"
    assert (await client.expect("event"))["at"] == "orders:0:0"
    await stranger.is_served()


# -- a cursor ahead of this instance ---------------------------------------------------------------


async def test_a_cursor_beyond_kafkas_end_is_a_gap_truncated(rig):
    rig.upstream.known_ends = {"orders": {0: 11}}
    client = await come_back(rig, cursor(orders={0: 12, 1: 20}))
    assert rig.upstream.asked == [("orders", 0)]
    gap = await client.expect("gap")
    assert (gap["topic"], gap["reason"]) == ("orders", "truncated")
    assert (await client.expect("live"))["replayed"] == 0
    at = rig.publish(accounts=["alice"])
    assert (await client.expect("event"))["at"] == at


async def test_an_instance_that_is_behind_the_cursor_sends_nothing_at_or_below_it(rig):
    rig.upstream.known_ends = {"orders": {0: 12}}
    client = await come_back(rig, cursor(orders={0: 12, 1: 20}))
    assert offsets((await client.expect("live"))["cursor"]) == {0: 12, 1: 20}
    rig.publish(accounts=["alice"])
    other = rig.publish(partition=1, accounts=["alice"])
    assert (await client.expect("event"))["at"] == other
    await client.say("heartbeat")
    beat = await client.expect("heartbeat")
    assert offsets(beat["cursor"]) == {0: 12, 1: 21}, "a cursor never goes back"
    rig.publish(accounts=["alice"])
    assert rig.publish(accounts=["alice"]) == "orders:0:12"
    assert (await client.expect("event"))["at"] == "orders:0:12"


async def test_where_kafka_does_not_tell_its_ends_the_client_is_asked_to_come_later(rig):
    rig.upstream.known_ends = None
    query = urlencode({"topics": "orders", "cursor": cursor(orders={0: 12})})
    end = await (await rig.connect(query)).end()
    assert (end.code, end.closing["reconnect"]) == (4006, True)
    assert end.closing["retry_after"] > 0
    await until(lambda: len(rig.sockets) == 0)
    assert rig.entrance.count == 0


@pytest.mark.parametrize("by_hello", [False, True])
async def test_what_a_client_says_before_its_welcome_is_answered_after_it(rig, by_hello):
    rig.upstream.may_answer.clear()
    rig.upstream.known_ends = {"orders": {0: 12}}
    ahead = cursor(orders={0: 12, 1: 20})
    client = await rig.connect("hello=1" if by_hello else f"topics=orders&cursor={ahead}")
    if by_hello:
        await client.say("hello", topics=["orders"], cursor=ahead)
    for number in range(30):
        await client.say("subscribe", rooms=["r"], id=number)
    await until(lambda: rig.upstream.asked)
    rig.upstream.may_answer.set()
    assert (await client.expect("welcome"))["cursor"] == ahead
    assert (await client.expect("live"))["replayed"] == 0
    assert [(await client.expect("reply"))["id"] for _ in range(30)] == list(range(30))


async def test_hello_and_request_in_one_packet_are_answered_in_order_too(rig):
    rig.upstream.may_answer.clear()
    rig.upstream.known_ends = {"orders": {0: 12}}
    raw = await rig.dial()
    await raw.upgrade("/ws?hello=1")
    hello = {"op": "hello", "topics": ["orders"], "cursor": cursor(orders={0: 12, 1: 20})}
    raw.send(framed(json.dumps(hello).encode()) + framed(b'{"op":"subscribe","rooms":["r"]}'))
    await until(lambda: rig.upstream.asked)
    rig.upstream.may_answer.set()
    assert [(await raw.json())["op"] for _ in range(3)] == ["welcome", "live", "reply"]


async def test_a_flood_before_the_welcome_is_not_read_further(rig):
    rig.upstream.may_answer.clear()
    raw = await rig.dial()
    await raw.upgrade(f"/ws?topics=orders&cursor={cursor(orders={0: 12})}")
    await until(lambda: rig.upstream.asked)
    (socket,) = (socket for slice_ in rig.sockets._slices for socket in slice_)
    assert not socket.transport.is_reading()
    raw.send(framed(b'{"op":"heartbeat"}') * 100)
    rig.upstream.known_ends = None
    rig.upstream.may_answer.set()
    assert (await raw.end())[0] == 4006


async def test_a_client_that_vanishes_while_kafka_is_asked_is_forgotten(rig):
    rig.upstream.may_answer.clear()
    rig.upstream.known_ends = {"orders": {0: 12}}
    client = await rig.connect(f"account=alice&topics=orders&cursor={cursor(orders={0: 12})}")
    await until(lambda: rig.entrance.count == 1)
    client.connection.transport.abort()
    rig.upstream.may_answer.set()
    await until(lambda: len(rig.sockets) == 0)
    assert rig.entrance.count == 0
    assert "alice" not in rig.hub.interest.accounts


async def test_a_drain_does_not_wait_for_what_kafka_is_asked(rig):
    rig.upstream.may_answer.clear()
    client = await rig.connect(f"topics=orders&cursor={cursor(orders={0: 12})}")
    await until(lambda: rig.upstream.asked)
    rig.server.should_exit = True
    assert (await client.end()).code == 4001
    await until(lambda: len(rig.sockets) == 0)
    rig.upstream.may_answer.set()
    await until(lambda: not rig.sockets._asking)
    assert rig.hub.interest.everybody == set(), "who has gone is not welcomed"
