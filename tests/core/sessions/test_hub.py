"""Contract 3.1 to 3.3: a session comes, follows this and that, and is told where it stands."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.core.protocol.cursor import Cursor, TopicOffsets, decode_cursor, encode_cursor
from bridge.core.sessions.permissions import NamePatterns, Permissions, unrestricted
from bridge.core.sessions.session import MembershipSource, SessionState
from tests.core.factories import (
    CURSOR_TIME,
    TOPIC_ID,
    attached_session,
    event,
    hub,
    offsets_by_topic,
    publish,
    session,
    take_frames,
)

HERE: Cursor = {"orders": TopicOffsets(TOPIC_ID, {0: 10, 1: 20})}


# -- welcome ---------------------------------------------------------------------------------------


def test_the_first_frame_is_a_welcome_that_says_who_and_where_you_are() -> None:
    at = hub()
    it = session("c1", "ann", topics=["orders", "news"], rooms=["s", "r"])
    at.attach(it)
    assert it.state is SessionState.LIVE
    (welcome,) = take_frames(it)
    assert decode_cursor(welcome.pop("cursor")) == {**HERE, "news": HERE["orders"]}
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
    at, it = hub(), session(grant=Permissions(None, expires_at=1_795_000_000.5))
    at.attach(it)
    (welcome,) = take_frames(it)
    assert (welcome["account"], welcome["expires"]) == (None, "2026-11-18T11:06:40.500Z")


def test_from_welcome_on_every_event_arrives_and_none_from_before() -> None:
    at = hub()
    publish(at, event(10, all=True))
    it = session()
    at.attach(it)
    publish(at, event(11, all=True))
    welcome, first = take_frames(it)
    assert offsets_by_topic(decode_cursor(welcome["cursor"])) == {"orders": {0: 11, 1: 20}}
    assert first["at"] == "orders:0:11"


def test_one_that_is_not_welcomed_yet_is_sent_nothing() -> None:
    at, it = hub(), session(rooms=["r"])
    at.subscribe(it, ["orders"], ["s"])
    publish(at, event(10, all=True, rooms=["r", "s"], accounts=["ann"], connections=["c1"]))
    assert it.outbox.pending_bytes == 0


# -- what may be read ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("grant", "unnamed", "named"),
    [
        (Permissions("ann"), {"orders", "news"}, {"orders", "news"}),
        (Permissions("ann", topics=NamePatterns(["news"])), {"news"}, {"news"}),
        (Permissions("ann", topics=NamePatterns(["*"])), {"orders", "news"}, {"orders", "news"}),
        (Permissions("ann", topics=NamePatterns(["audit"])), {"audit"}, {"audit"}),
        (Permissions("ann", topics=NamePatterns([])), set(), set()),
        (unrestricted(None), {"orders", "news"}, {"orders", "news", "audit"}),
    ],
)
def test_a_private_topic_has_to_be_named(
    grant: Permissions, unnamed: set[str], named: set[str]
) -> None:
    at, it = hub(), session(grant=grant)
    assert at.readable_topics(it) == unnamed
    assert {topic for topic in ("orders", "news", "audit") if at.may_read(it, topic)} == named


def test_a_topic_that_does_not_exist_is_like_one_that_is_forbidden() -> None:
    assert not hub().may_read(session(grant=unrestricted("ann")), "nowhere")


# -- following -------------------------------------------------------------------------------------


def test_a_subscription_takes_effect_at_the_cursor_that_is_told() -> None:
    at = hub()
    it = attached_session(at, topics=[])
    publish(at, event(10, all=True))
    at.subscribe(it, ["orders"], [])
    at.reply_ok(it, 5)
    publish(at, event(11, all=True))
    reply, first = take_frames(it)
    assert offsets_by_topic(decode_cursor(reply.pop("cursor"))) == {"orders": {0: 11, 1: 20}}
    assert reply == {"op": "reply", "id": 5, "ok": True, "topics": ["orders"], "rooms": []}
    assert first["at"] == "orders:0:11"
    at.unsubscribe(it, ["orders"], [])
    at.reply_ok(it, 6)
    publish(at, event(12, all=True))
    (reply,) = take_frames(it)
    assert (reply["topics"], decode_cursor(reply["cursor"])) == ([], {})


def test_a_room_is_followed_from_the_subscribe_to_the_unsubscribe() -> None:
    at = hub()
    it = attached_session(at)
    for offset, change in enumerate([at.subscribe, at.unsubscribe, at.subscribe], start=10):
        change(it, [], ["r", "s"])
        publish(at, event(offset, rooms=["r"]))
    assert [each["at"] for each in take_frames(it)] == ["orders:0:10", "orders:0:12"]
    assert sorted(it.rooms) == ["r", "s"]


@pytest.mark.parametrize(
    "others",
    [
        MembershipSource.CONNECTION,
        MembershipSource.ACCOUNT,
        MembershipSource.CONNECTION | MembershipSource.ACCOUNT,
    ],
)
def test_who_is_in_a_room_by_several_hands_stays_while_one_of_them_holds(
    others: MembershipSource,
) -> None:
    at = hub()
    it = attached_session(at, rooms={"r": others})
    at.subscribe(it, [], ["r"])
    assert it.rooms == {"r": others | MembershipSource.OWN}
    at.unsubscribe(it, [], ["r"])
    assert it.rooms == {"r": others}
    publish(at, event(10, rooms=["r"]))
    assert len(take_frames(it)) == 1
    at.remove_membership(it, "r", others)
    assert it.rooms == {}
    publish(at, event(11, rooms=["r"]))
    assert take_frames(it) == []


def test_each_hand_takes_back_its_own_only() -> None:
    at = hub()
    it = attached_session(at, rooms={"r": MembershipSource.OWN})
    at.remove_membership(it, "r", MembershipSource.ACCOUNT)
    at.remove_membership(it, "nowhere", MembershipSource.OWN)
    assert it.rooms == {"r": MembershipSource.OWN}
    publish(at, event(10, rooms=["r"]))
    assert len(take_frames(it)) == 1


# -- answers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stale", "extra"), [(None, {}), (0.0, {"stale": 0.0}), (7.5, {"stale": 7.5})]
)
def test_a_heartbeat_says_where_you_stand_and_how_stale(
    stale: float | None, extra: dict[str, Any]
) -> None:
    at = hub()
    it = attached_session(at)
    at.send_heartbeat(it, stale)
    at.send_heartbeat(it, stale, "x")
    beat = {"op": "heartbeat", "cursor": encode_cursor(HERE, CURSOR_TIME), **extra}
    assert take_frames(it) == [beat, {**beat, "id": "x"}]


def test_a_refusal_says_which_request_and_why() -> None:
    at = hub()
    it = attached_session(at)
    at.reply_error(it, "limit", "too many", 7)
    assert take_frames(it) == [
        {"op": "reply", "id": 7, "ok": False, "error": "limit", "reason": "too many"}
    ]


def test_the_bank_is_told_once_whom_to_flush() -> None:
    at = hub()
    first, second = attached_session(at, "c1"), attached_session(at, "c2", "bob")
    assert set(at.pop_unflushed()) == {first, second}
    assert list(at.pop_unflushed()) == []
    publish(at, event(10, accounts=["ann"]), event(11, accounts=["ann"]))
    at.send_heartbeat(first, None)
    assert list(at.pop_unflushed()) == [first]
    at.send_heartbeat(second, None)
    publish(at, event(12, accounts=["bob"]))
    assert list(at.pop_unflushed()) == [second]
