"""Contract 3.1 to 3.3: a session comes, follows this and that, and is told where it stands."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.core.protocol.cursor import Cursor, Place, read_cursor, write_cursor
from bridge.core.sessions.permissions import Grant, Pattern, everything
from bridge.core.sessions.session import Hand, State
from tests.core.given import LIFE, attached, event, frames, hub, offsets, publish, session

HERE: Cursor = {"orders": Place(LIFE, {0: 10, 1: 20})}


# -- welcome ---------------------------------------------------------------------------------------


def test_the_first_frame_is_a_welcome_that_says_who_and_where_you_are() -> None:
    at = hub()
    it = session("c1", "ann", topics=["orders", "news"], rooms=["s", "r"])
    at.attach(it)
    assert it.state is State.LIVE
    (welcome,) = frames(it)
    assert read_cursor(welcome.pop("cursor")) == {**HERE, "news": HERE["orders"]}
    assert welcome == {
        "op": "welcome",
        "connection": "c1",
        "account": "ann",
        "instance": "i1",
        "topics": ["news", "orders"],
        "rooms": ["r", "s"],
        "heartbeat": 25.0,
        "expires": None,
    }


def test_a_welcome_says_when_the_token_expires() -> None:
    at, it = hub(), session(grant=Grant(None, expires=1_795_000_000.5))
    at.attach(it)
    (welcome,) = frames(it)
    assert (welcome["account"], welcome["expires"]) == (None, "2026-11-18T11:06:40.500Z")


def test_from_welcome_on_every_event_arrives_and_none_from_before() -> None:
    at = hub()
    publish(at, event(10, all=True))
    it = session()
    at.attach(it)
    publish(at, event(11, all=True))
    welcome, first = frames(it)
    assert offsets(read_cursor(welcome["cursor"])) == {"orders": {0: 11, 1: 20}}
    assert first["at"] == "orders:0:11"


def test_one_that_is_not_welcomed_yet_is_sent_nothing() -> None:
    at, it = hub(), session(rooms=["r"])
    at.follow(it, ["orders"], ["s"])
    publish(at, event(10, all=True, rooms=["r", "s"], accounts=["ann"], connections=["c1"]))
    assert it.outbox.pending == 0


# -- what may be read ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("grant", "unnamed", "named"),
    [
        (Grant("ann"), {"orders", "news"}, {"orders", "news"}),
        (Grant("ann", topics=Pattern(["news"])), {"news"}, {"news"}),
        (Grant("ann", topics=Pattern(["*"])), {"orders", "news"}, {"orders", "news"}),
        (Grant("ann", topics=Pattern(["audit"])), {"audit"}, {"audit"}),
        (Grant("ann", topics=Pattern([])), set(), set()),
        (everything(None), {"orders", "news"}, {"orders", "news", "audit"}),
    ],
)
def test_a_private_topic_has_to_be_named(grant: Grant, unnamed: set[str], named: set[str]) -> None:
    at, it = hub(), session(grant=grant)
    assert at.readable(it) == unnamed
    assert {topic for topic in ("orders", "news", "audit") if at.may_read(it, topic)} == named


def test_a_topic_that_does_not_exist_is_like_one_that_is_forbidden() -> None:
    assert not hub().may_read(session(grant=everything("ann")), "nowhere")


# -- following -------------------------------------------------------------------------------------


def test_a_subscription_takes_effect_at_the_cursor_that_is_told() -> None:
    at = hub()
    it = attached(at, topics=[])
    publish(at, event(10, all=True))
    at.follow(it, ["orders"], [])
    at.done(it, 5)
    publish(at, event(11, all=True))
    reply, first = frames(it)
    assert offsets(read_cursor(reply.pop("cursor"))) == {"orders": {0: 11, 1: 20}}
    assert reply == {"op": "reply", "id": 5, "ok": True, "topics": ["orders"], "rooms": []}
    assert first["at"] == "orders:0:11"
    at.unfollow(it, ["orders"], [])
    at.done(it, 6)
    publish(at, event(12, all=True))
    (reply,) = frames(it)
    assert (reply["topics"], read_cursor(reply["cursor"])) == ([], {})


def test_a_room_is_followed_from_the_subscribe_to_the_unsubscribe() -> None:
    at = hub()
    it = attached(at)
    for offset, change in enumerate([at.follow, at.unfollow, at.follow], start=10):
        change(it, [], ["r", "s"])
        publish(at, event(offset, rooms=["r"]))
    assert [each["at"] for each in frames(it)] == ["orders:0:10", "orders:0:12"]
    assert sorted(it.rooms) == ["r", "s"]


@pytest.mark.parametrize("others", [Hand.CONNECTION, Hand.ACCOUNT, Hand.CONNECTION | Hand.ACCOUNT])
def test_who_is_in_a_room_by_several_hands_stays_while_one_of_them_holds(others: Hand) -> None:
    at = hub()
    it = attached(at, rooms={"r": others})
    at.follow(it, [], ["r"])
    assert it.rooms == {"r": others | Hand.OWN}
    at.unfollow(it, [], ["r"])
    assert it.rooms == {"r": others}
    publish(at, event(10, rooms=["r"]))
    assert len(frames(it)) == 1
    at.let_go(it, "r", others)
    assert it.rooms == {}
    publish(at, event(11, rooms=["r"]))
    assert frames(it) == []


def test_each_hand_takes_back_its_own_only() -> None:
    at = hub()
    it = attached(at, rooms={"r": Hand.OWN})
    at.let_go(it, "r", Hand.ACCOUNT)
    at.let_go(it, "nowhere", Hand.OWN)
    assert it.rooms == {"r": Hand.OWN}
    publish(at, event(10, rooms=["r"]))
    assert len(frames(it)) == 1


# -- answers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stale", "extra"), [(None, {}), (0.0, {"stale": 0.0}), (7.5, {"stale": 7.5})]
)
def test_a_heartbeat_says_where_you_stand_and_how_stale(
    stale: float | None, extra: dict[str, Any]
) -> None:
    at = hub()
    it = attached(at)
    at.beat(it, stale)
    at.beat(it, stale, "x")
    beat = {"op": "heartbeat", "cursor": write_cursor(HERE), **extra}
    assert frames(it) == [beat, {**beat, "id": "x"}]


def test_a_refusal_says_which_request_and_why() -> None:
    at = hub()
    it = attached(at)
    at.refuse(it, "limit", "too many", 7)
    assert frames(it) == [
        {"op": "reply", "id": 7, "ok": False, "error": "limit", "reason": "too many"}
    ]


def test_the_bank_is_told_once_whom_to_flush() -> None:
    at = hub()
    first, second = attached(at, "c1"), attached(at, "c2", "bob")
    assert set(at.flushable()) == {first, second}
    assert list(at.flushable()) == []
    publish(at, event(10, accounts=["ann"]), event(11, accounts=["ann"]))
    at.beat(first, None)
    assert list(at.flushable()) == [first]
    at.beat(second, None)
    publish(at, event(12, accounts=["bob"]))
    assert list(at.flushable()) == [second]
