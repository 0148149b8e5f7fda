"""Contract 3.3: what a client has missed comes, then what happens, and nothing between them."""

from __future__ import annotations

import pytest

from bridge.core.protocol.cursor import TopicOffsets, decode_cursor, encode_cursor
from bridge.core.protocol.event import Body
from bridge.core.replay import catchup
from bridge.core.replay.catchup import NextStep
from bridge.core.sessions.session import MembershipSource, SessionState
from tests.core.factories import (
    CURSOR_TIME,
    TOPIC_ID,
    attached_session,
    catch_up,
    cursor_at,
    cursor_offsets,
    event,
    hub,
    offsets_by_topic,
    publish,
    resumed_session,
    session,
    take_frames,
    take_positions,
)

# -- from the welcome to live ----------------------------------------------------------------------


def test_the_welcome_gives_the_clients_own_cursor_back() -> None:
    at, it = hub(), session()
    text = f"{encode_cursor(cursor_at(10, 20))},orders:0:9"
    catch_up(at).start(it, decode_cursor(text), text)
    (welcome,) = take_frames(it)
    assert (welcome["op"], welcome["cursor"], welcome["topics"]) == ("welcome", text, ["orders"])
    assert it.state is SessionState.REPLAYING


def test_one_that_has_missed_nothing_is_live_at_once() -> None:
    at = hub()
    to = catch_up(at)
    it = resumed_session(to, cursor_at(10, 20))
    assert to.advance(it) is NextStep.DONE
    (live,) = take_frames(it)
    assert live == {
        "op": "live",
        "replayed": 0,
        "cursor": encode_cursor(cursor_at(10, 20), CURSOR_TIME),
    }
    assert (it.state, it.replay, it.min_offsets) == (SessionState.LIVE, None, None)
    assert (at.subscriptions.all_sessions, at.replaying) == ({it}, set())


def test_what_was_missed_comes_partition_by_partition_and_then_what_happens() -> None:
    at = hub()
    to = catch_up(at)
    publish(at, event(10, all=True), event(12, all=True), next_offset=14)
    publish(at, event(20, all=True), partition=1)
    publish(at, event(14, all=True))
    it = resumed_session(to, cursor_at(11, 20))
    assert to.advance(it) is NextStep.DONE
    publish(at, event(15, all=True))
    *missed, live, first = take_frames(it)
    assert [each["at"] for each in missed] == ["orders:0:12", "orders:0:14", "orders:1:20"]
    assert offsets_by_topic(decode_cursor(live.pop("cursor"))) == {"orders": {0: 15, 1: 21}}
    assert live == {"op": "live", "replayed": 3}
    assert first["at"] == "orders:0:15"
    assert at.events_delivered == 4


def test_only_what_is_for_it_now_is_replayed_and_it_is_told_why() -> None:
    at = hub()
    to = catch_up(at)
    publish(
        at,
        event(10, accounts=["bob"]),
        event(11, accounts=["bob", "ann"], rooms=["r"]),
        event(12, rooms=["x", "s", "r"], all=True),
        event(13, rooms=["r"], type="other"),
        event(14, connections=["before"]),
        event(15, all=True),
    )
    publish(at, event(10, all=True), topic="news")
    it = resumed_session(
        to,
        cursor_at(10, 20),
        rooms={"r": MembershipSource.OWN, "s": MembershipSource.ACCOUNT},
        types=["event"],
    )
    to.advance(it)
    *missed, _ = take_frames(it)
    assert [(each["at"], each["to"]) for each in missed] == [
        ("orders:0:11", "account"),
        ("orders:0:12", "room:s"),
        ("orders:0:15", "all"),
    ]


def test_one_without_an_account_gets_what_is_for_rooms_and_all() -> None:
    at = hub()
    to = catch_up(at)
    publish(at, event(10, accounts=["ann"]), event(11, rooms=["r"]), event(12, all=True))
    it = resumed_session(to, cursor_at(10, 20), account=None, rooms=["r"])
    to.advance(it)
    assert [each["to"] for each in take_frames(it)[:-1]] == ["room:r", "all"]


def test_what_is_for_the_new_connection_comes_too() -> None:
    at = hub()
    to = catch_up(at)
    it = resumed_session(to, cursor_at(10, 20))
    publish(at, event(10, connections=["c1"]))
    to.advance(it)
    assert [each["to"] for each in take_frames(it)[:-1]] == ["connection"]


def test_a_topic_that_the_cursor_does_not_name_is_live_from_the_welcome_on() -> None:
    at = hub()
    to = catch_up(at)
    publish(at, event(10, all=True), topic="news")
    it = resumed_session(to, cursor_at(10, 20), topics=["orders", "news"])
    assert cursor_offsets(at, it) == {"news": {0: 11, 1: 20}, "orders": {0: 10, 1: 20}}
    publish(at, event(11, all=True), topic="news")
    to.advance(it)
    *_, first, live = take_frames(it)
    assert (first["at"], live["replayed"]) == ("news:0:11", 1)


def test_a_topic_is_named_by_a_cursor_before_its_first_event_comes() -> None:
    # A client adds the positions that it has seen to its newest cursor, which has to cover them.
    at = hub()
    to = catch_up(at)
    it = resumed_session(to, cursor_at(10, 20), topics=["orders", "news"])
    publish(at, event(10, all=True), topic="news")
    to.advance(it)
    beat, first, _ = take_frames(it)
    assert beat["op"] == "heartbeat"
    assert decode_cursor(f"{beat['cursor']},{first['at']}")["news"] == TopicOffsets(
        TOPIC_ID, {0: 11, 1: 20}
    )


def test_a_partition_that_the_cursor_does_not_name_is_replayed_from_its_beginning() -> None:
    at = hub()
    to = catch_up(at)
    at.set_start_offsets("orders", TOPIC_ID, {2: 0})
    publish(at, event(0, all=True), partition=2)
    it = resumed_session(to, cursor_at(10, 20))
    assert to.advance(it) is NextStep.DONE
    assert take_frames(it)[0]["at"] == "orders:2:0"


def test_a_topic_that_had_no_partitions_yet_is_replayed_from_its_beginning() -> None:
    at = hub()
    to = catch_up(at)
    at.topic_positions["news"].reset(b"", {})
    it = resumed_session(to, {"news": TopicOffsets(b"", {})}, topics=["news"])
    at.set_start_offsets("news", TOPIC_ID, {0: 0})
    publish(at, event(0, all=True), topic="news")
    assert decode_cursor(at.cursor(it)) == {"news": TopicOffsets(TOPIC_ID, {})}
    assert to.advance(it) is NextStep.DONE
    first, live = take_frames(it)
    assert first["at"] == "news:0:0"
    assert decode_cursor(live["cursor"]) == {"news": TopicOffsets(TOPIC_ID, {0: 1})}


def test_a_topic_that_the_client_did_not_ask_for_is_not_resumed() -> None:
    at = hub()
    to = catch_up(at)
    publish(at, event(10, all=True))
    it = resumed_session(
        to, {**cursor_at(3, 3), "gone": TopicOffsets(TOPIC_ID, {0: 1})}, topics=["news"]
    )
    assert to.advance(it) is NextStep.DONE
    (live,) = take_frames(it)
    assert live["replayed"] == 0
    assert offsets_by_topic(decode_cursor(live["cursor"])) == {"news": {0: 10, 1: 20}}


def test_those_who_are_live_and_those_who_are_not_get_the_same_frames() -> None:
    at = hub()
    to = catch_up(at)
    live = attached_session(at, "c1", rooms=["r"])
    publish(
        at,
        event(10, b'{"n":1}', rooms=["r"], tag="t"),
        event(11, b"\xff", all=True, body=Body.UNCHECKED),
    )
    it = resumed_session(to, cursor_at(10, 20), "c2", rooms=["r"])
    to.advance(it)
    assert take_frames(it)[:-1] == take_frames(live)


# -- in the middle ---------------------------------------------------------------------------------


def test_what_happens_during_a_replay_comes_in_its_turn_and_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(catchup, "MAX_STEP_EVENTS", 2)
    at = hub()
    to = catch_up(at)
    publish(at, *(event(offset, all=True) for offset in (10, 12, 14)), next_offset=17)
    it = resumed_session(to, cursor_at(10, 20))
    assert to.advance(it) is NextStep.CONTINUE
    assert take_positions(it) == ["orders:0:10", "orders:0:12"]
    assert cursor_offsets(at, it) == {"orders": {0: 13, 1: 20}}
    publish(at, event(20, all=True), partition=1)
    publish(at, event(17, all=True))
    assert take_positions(it) == []
    assert to.advance(it) is NextStep.CONTINUE
    assert take_positions(it) == ["orders:0:14", "orders:0:17"]
    assert to.advance(it) is NextStep.DONE
    first, live = take_frames(it)
    assert (first["at"], live["replayed"]) == ("orders:1:20", 5)


@pytest.mark.parametrize("missed", range(1, 8))
def test_one_that_was_just_caught_up_has_room_for_what_happens_next(missed: int) -> None:
    at = hub(ceiling=400)
    to = catch_up(at, ceiling=400)
    publish(at, *(event(offset, all=True) for offset in range(10, 10 + missed)), next_offset=20)
    it = resumed_session(to, cursor_at(10, 20))
    while to.advance(it) is NextStep.WAIT_FOR_CLIENT:
        take_frames(it)
    publish(at, event(20, all=True))
    assert take_frames(it)[-1]["at"] == "orders:0:20"
    assert it.state is SessionState.LIVE
