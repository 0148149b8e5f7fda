"""Contract 3.1 to 3.3: a session comes, follows this and that, and is told where it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bridge.core.grant import Grant, Pattern, everything
from bridge.core.position import Cursor, Place, read_cursor, write_cursor
from bridge.core.session import Hand, Session, State
from tests.core.given import (
    LIFE,
    OTHER_LIFE,
    attached,
    event,
    frames,
    hub,
    offsets,
    publish,
    session,
)

if TYPE_CHECKING:
    from bridge.core.hub import Hub

HERE: Cursor = {"orders": Place(LIFE, {0: 10, 1: 20})}


def stands(of: Hub, it: Session) -> dict[str, dict[int, int]]:
    return offsets(read_cursor(of.cursor(it)))


def comes_back(to: Hub, cursor: Cursor, ends: dict[int, int] | None = None) -> Session:
    """Attach a session with `cursor`; its frames are still in the outbox."""
    it = session()
    text = write_cursor(cursor)
    to.attach(it, resumed=text, cursor=cursor, ends={"orders": ends or {}})
    return it


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


# -- resuming --------------------------------------------------------------------------------------


def test_on_a_resume_the_welcome_gives_the_clients_own_cursor_back() -> None:
    text = f"{write_cursor(HERE)},orders:0:9"
    it, at = session(), hub()
    at.attach(it, resumed=text, cursor=read_cursor(text))
    welcome, live = frames(it)
    assert welcome["cursor"] == text
    assert live.pop("cursor") == write_cursor(HERE)
    assert live == {"op": "live", "replayed": 0}


def test_an_instance_that_is_behind_the_cursor_sends_nothing_at_or_below_it() -> None:
    at = hub()
    it = comes_back(at, {"orders": Place(LIFE, {0: 12, 1: 20})}, {0: 15})
    publish(at, *(event(offset, all=True) for offset in range(10, 15)))
    publish(at, event(20, all=True), partition=1)
    _, live, *events = frames(it)
    assert offsets(read_cursor(live["cursor"])) == {"orders": {0: 12, 1: 20}}
    assert [each["at"] for each in events] == [
        *("orders:0:12", "orders:0:13", "orders:0:14", "orders:1:20")
    ]


def test_a_cursor_never_falls_back_behind_the_clients_own() -> None:
    at = hub()
    it = comes_back(at, {"orders": Place(LIFE, {0: 12, 1: 20, 2: 1})}, {0: 15, 2: 1})
    assert stands(at, it) == {"orders": {0: 12, 1: 20, 2: 1}}
    publish(at, event(10, all=True))
    publish(at, event(20, all=True), partition=1)
    assert stands(at, it) == {"orders": {0: 12, 1: 21, 2: 1}}
    publish(at, event(11, all=True), event(12, all=True))
    assert stands(at, it) == {"orders": {0: 13, 1: 21, 2: 1}}


def test_what_holds_a_session_back_is_forgotten_once_it_is_read_past() -> None:
    at = hub()
    it = comes_back(at, {"orders": Place(LIFE, {0: 12, 1: 22})}, {0: 15, 1: 22})
    publish(at, next=12)
    assert stands(at, it) == {"orders": {0: 12, 1: 22}}
    assert it.floors == {"orders": {1: 22}}
    publish(at, partition=1, next=22)
    assert stands(at, it) == {"orders": {0: 12, 1: 22}}
    assert it.floors is None


@pytest.mark.parametrize(
    ("place", "ends", "reason"),
    [
        (Place(OTHER_LIFE, {0: 99}), {}, "recreated"),
        (Place(LIFE, {0: 12, 1: 20}), {0: 11}, "truncated"),
    ],
)
def test_a_place_that_can_not_be_resumed_is_a_gap_and_goes_on_live(
    place: Place, ends: dict[int, int], reason: str
) -> None:
    at = hub()
    it = comes_back(at, {"orders": place}, ends)
    publish(at, event(10, all=True))
    welcome, gap, live, first = frames(it)
    assert welcome["cursor"] == write_cursor({"orders": place})
    assert gap == {"op": "gap", "topic": "orders", "reason": reason, "cursor": write_cursor(HERE)}
    assert (live["op"], live["cursor"]) == ("live", write_cursor(HERE))
    assert first["at"] == "orders:0:10"


def test_a_topic_that_the_cursor_does_not_name_is_live() -> None:
    at, it = hub(), session(topics=["orders", "news"])
    at.attach(it, resumed="C", cursor={"orders": HERE["orders"]})
    assert [each["op"] for each in frames(it)] == ["welcome", "live"]


def test_a_topic_that_the_client_did_not_ask_for_is_not_resumed() -> None:
    at, it = hub(), session(topics=["news"])
    at.attach(
        it, resumed="C", cursor={"orders": Place(OTHER_LIFE, {}), "gone": Place(LIFE, {0: 1})}
    )
    assert [each["op"] for each in frames(it)] == ["welcome", "live"]
    assert it.floors is None


def test_kafka_is_asked_only_for_the_ends_of_what_is_ahead() -> None:
    cursor = {"orders": Place(LIFE, {0: 11, 1: 20}), "gone": Place(LIFE, {0: 1})}
    assert hub().questions(cursor) == [("orders", 0)]


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
