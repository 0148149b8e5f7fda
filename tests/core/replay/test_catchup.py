"""Contract 3.3: what a client has missed comes, then what happens, and nothing between them."""

from __future__ import annotations

import pytest

from bridge.core.protocol.cursor import Place, read_cursor, write_cursor
from bridge.core.protocol.event import Body
from bridge.core.replay import catchup
from bridge.core.sessions.session import Hand, Need, State
from tests.core.given import (
    LIFE,
    ats,
    attached,
    catch_up,
    event,
    frames,
    hub,
    offsets,
    publish,
    returned,
    session,
    standing,
    stands,
)

# -- from the welcome to live ----------------------------------------------------------------------


def test_the_welcome_gives_the_clients_own_cursor_back() -> None:
    at, it = hub(), session()
    text = f"{write_cursor(standing(10, 20))},orders:0:9"
    catch_up(at).begin(it, read_cursor(text), text)
    (welcome,) = frames(it)
    assert (welcome["op"], welcome["cursor"], welcome["topics"]) == ("welcome", text, ["orders"])
    assert it.state is State.REPLAYING


def test_one_that_has_missed_nothing_is_live_at_once() -> None:
    at = hub()
    to = catch_up(at)
    it = returned(to, standing(10, 20))
    assert to.step(it) is Need.NOTHING
    (live,) = frames(it)
    assert live == {"op": "live", "replayed": 0, "cursor": write_cursor(standing(10, 20))}
    assert (it.state, it.replay, it.floors) == (State.LIVE, None, None)
    assert (at.interest.everybody, at.replaying) == ({it}, set())


def test_what_was_missed_comes_partition_by_partition_and_then_what_happens() -> None:
    at = hub()
    to = catch_up(at)
    publish(at, event(10, all=True), event(12, all=True), next=14)
    publish(at, event(20, all=True), partition=1)
    publish(at, event(14, all=True))
    it = returned(to, standing(11, 20))
    assert to.step(it) is Need.NOTHING
    publish(at, event(15, all=True))
    *missed, live, first = frames(it)
    assert [each["at"] for each in missed] == ["orders:0:12", "orders:0:14", "orders:1:20"]
    assert offsets(read_cursor(live.pop("cursor"))) == {"orders": {0: 15, 1: 21}}
    assert live == {"op": "live", "replayed": 3}
    assert first["at"] == "orders:0:15"
    assert at.delivered == 4


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
    it = returned(to, standing(10, 20), rooms={"r": Hand.OWN, "s": Hand.ACCOUNT}, types=["event"])
    to.step(it)
    *missed, _ = frames(it)
    assert [(each["at"], each["to"]) for each in missed] == [
        ("orders:0:11", "account"),
        ("orders:0:12", "room:s"),
        ("orders:0:15", "all"),
    ]


def test_one_without_an_account_gets_what_is_for_rooms_and_all() -> None:
    at = hub()
    to = catch_up(at)
    publish(at, event(10, accounts=["ann"]), event(11, rooms=["r"]), event(12, all=True))
    it = returned(to, standing(10, 20), account=None, rooms=["r"])
    to.step(it)
    assert [each["to"] for each in frames(it)[:-1]] == ["room:r", "all"]


def test_what_is_for_the_new_connection_comes_too() -> None:
    at = hub()
    to = catch_up(at)
    it = returned(to, standing(10, 20))
    publish(at, event(10, connections=["c1"]))
    to.step(it)
    assert [each["to"] for each in frames(it)[:-1]] == ["connection"]


def test_a_topic_that_the_cursor_does_not_name_is_live_from_the_welcome_on() -> None:
    at = hub()
    to = catch_up(at)
    publish(at, event(10, all=True), topic="news")
    it = returned(to, standing(10, 20), topics=["orders", "news"])
    assert stands(at, it) == {"news": {0: 11, 1: 20}, "orders": {0: 10, 1: 20}}
    publish(at, event(11, all=True), topic="news")
    to.step(it)
    *_, first, live = frames(it)
    assert (first["at"], live["replayed"]) == ("news:0:11", 1)


def test_a_topic_is_named_by_a_cursor_before_its_first_event_comes() -> None:
    # A client adds the positions that it has seen to its newest cursor, which has to cover them.
    at = hub()
    to = catch_up(at)
    it = returned(to, standing(10, 20), topics=["orders", "news"])
    publish(at, event(10, all=True), topic="news")
    to.step(it)
    beat, first, _ = frames(it)
    assert beat["op"] == "heartbeat"
    assert read_cursor(f"{beat['cursor']},{first['at']}")["news"] == Place(LIFE, {0: 11, 1: 20})


def test_a_partition_that_the_cursor_does_not_name_is_replayed_from_its_beginning() -> None:
    at = hub()
    to = catch_up(at)
    at.begin("orders", LIFE, {2: 0})
    publish(at, event(0, all=True), partition=2)
    it = returned(to, standing(10, 20))
    assert to.step(it) is Need.NOTHING
    assert frames(it)[0]["at"] == "orders:2:0"


def test_a_topic_that_had_no_partitions_yet_is_replayed_from_its_beginning() -> None:
    at = hub()
    to = catch_up(at)
    at.logs["news"].begin(b"", {})
    it = returned(to, {"news": Place(b"", {})}, topics=["news"])
    at.begin("news", LIFE, {0: 0})
    publish(at, event(0, all=True), topic="news")
    assert read_cursor(at.cursor(it)) == {"news": Place(LIFE, {})}
    assert to.step(it) is Need.NOTHING
    first, live = frames(it)
    assert first["at"] == "news:0:0"
    assert read_cursor(live["cursor"]) == {"news": Place(LIFE, {0: 1})}


def test_a_topic_that_the_client_did_not_ask_for_is_not_resumed() -> None:
    at = hub()
    to = catch_up(at)
    publish(at, event(10, all=True))
    it = returned(to, {**standing(3, 3), "gone": Place(LIFE, {0: 1})}, topics=["news"])
    assert to.step(it) is Need.NOTHING
    (live,) = frames(it)
    assert live["replayed"] == 0
    assert offsets(read_cursor(live["cursor"])) == {"news": {0: 10, 1: 20}}


def test_those_who_are_live_and_those_who_are_not_get_the_same_frames() -> None:
    at = hub()
    to = catch_up(at)
    live = attached(at, "c1", rooms=["r"])
    publish(
        at,
        event(10, b'{"n":1}', rooms=["r"], tag="t"),
        event(11, b"\xff", all=True, body=Body.UNCHECKED),
    )
    it = returned(to, standing(10, 20), "c2", rooms=["r"])
    to.step(it)
    assert frames(it)[:-1] == frames(live)


# -- in the middle ---------------------------------------------------------------------------------


def test_what_happens_during_a_replay_comes_in_its_turn_and_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(catchup, "STEP_EVENTS", 2)
    at = hub()
    to = catch_up(at)
    publish(at, *(event(offset, all=True) for offset in (10, 12, 14)), next=17)
    it = returned(to, standing(10, 20))
    assert to.step(it) is Need.TURN
    assert ats(it) == ["orders:0:10", "orders:0:12"]
    assert stands(at, it) == {"orders": {0: 13, 1: 20}}
    publish(at, event(20, all=True), partition=1)
    publish(at, event(17, all=True))
    assert ats(it) == []
    assert to.step(it) is Need.TURN
    assert ats(it) == ["orders:0:14", "orders:0:17"]
    assert to.step(it) is Need.NOTHING
    first, live = frames(it)
    assert (first["at"], live["replayed"]) == ("orders:1:20", 5)


@pytest.mark.parametrize("missed", range(1, 8))
def test_one_that_was_just_caught_up_has_room_for_what_happens_next(missed: int) -> None:
    at = hub(ceiling=400)
    to = catch_up(at, ceiling=400)
    publish(at, *(event(offset, all=True) for offset in range(10, 10 + missed)), next=20)
    it = returned(to, standing(10, 20))
    while to.step(it) is Need.ROOM:
        frames(it)
    publish(at, event(20, all=True))
    assert frames(it)[-1]["at"] == "orders:0:20"
    assert it.state is State.LIVE
