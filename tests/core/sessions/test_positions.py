"""Whose cursor covers what: the instance's own reading, a client's own places, a pass's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bridge.core.protocol.cursor import Cursor, Place, read_cursor
from bridge.core.sessions.positions import Log, cursor, places, settle, uproot
from bridge.core.sessions.session import Reach, Replay
from tests.core.given import LIFE, OTHER_LIFE, session

if TYPE_CHECKING:
    from bridge.core.sessions.session import Session


def logs() -> dict[str, Log]:
    made = {"news": Log("news"), "orders": Log("orders")}
    for each in made.values():
        each.begin(LIFE, {0: 10, 1: 20})
    return made


def at(of: Session, where: dict[str, Log] | None = None) -> Cursor:
    return read_cursor(cursor(of, logs() if where is None else where))


def replaying(identity: bytes = LIFE, **floors: int) -> Session:
    it = session(topics=["news", "orders"])
    own = {int(name.removeprefix("p")): offset for name, offset in floors.items()}
    it.floors = {"news": {0: 10, 1: 20}, "orders": own}
    it.replay = Replay({"news": LIFE, "orders": identity}, {})
    return it


# -- live ------------------------------------------------------------------------------------------


def test_one_that_is_live_stands_where_the_instance_does() -> None:
    it = session(topics=["news", "orders"])
    assert at(it) == dict.fromkeys(["news", "orders"], Place(LIFE, {0: 10, 1: 20}))
    assert at(session(topics=[])) == {}


@pytest.mark.parametrize(
    ("floors", "offsets", "left"),
    [
        ({0: 11}, {0: 11, 1: 20}, {0: 11}),
        ({0: 10, 1: 21}, {0: 10, 1: 21}, {1: 21}),
        ({0: 10, 1: 20}, {0: 10, 1: 20}, None),
        ({0: 3, 2: 1}, {0: 10, 1: 20, 2: 1}, {2: 1}),
        ({2: 0}, {0: 10, 1: 20}, None),
    ],
)
def test_one_that_is_ahead_stands_where_it_said_until_that_is_read_past(
    floors: dict[int, int], offsets: dict[int, int], left: dict[int, int] | None
) -> None:
    it = session()
    it.floors = {"orders": floors}
    assert at(it) == {"orders": Place(LIFE, offsets)}
    assert it.floors == (None if left is None else {"orders": left})


def test_places_in_a_topic_that_is_not_followed_any_more_are_forgotten() -> None:
    it = session()
    it.floors = {"news": {0: 99}, "orders": {0: 99}}
    settle(it, logs())
    assert it.floors == {"orders": {0: 99}}


# -- in the middle of a replay ---------------------------------------------------------------------


def test_one_that_replays_stands_at_its_own_places_in_the_life_that_they_are_in() -> None:
    assert at(replaying(p0=3, p1=99))["orders"] == Place(LIFE, {0: 3, 1: 99})
    assert at(replaying(OTHER_LIFE, p0=3))["orders"] == Place(OTHER_LIFE, {0: 3})
    assert at(replaying(b"", p0=3))["orders"] == Place(LIFE, {0: 3})


def test_one_that_a_pass_serves_stands_at_the_higher_of_both() -> None:
    it = replaying(p0=3, p1=9)
    assert it.replay is not None
    it.replay.enter(Reach({("orders", 0): 5, ("orders", 1): 7, ("orders", 2): 4, ("gone", 0): 9}))
    assert places(it, "orders") == {0: 5, 1: 9, 2: 4}
    assert places(it, "news") == {0: 10, 1: 20}
    assert at(it)["orders"] == Place(LIFE, {0: 5, 1: 9, 2: 4})
    assert it.floors is not None
    assert it.floors["orders"] == {0: 3, 1: 9}


def test_a_cursor_in_the_middle_forgets_no_place_that_was_read_past() -> None:
    it = replaying(p0=3, p1=20)
    cursor(it, logs())
    assert it.floors == {"news": {0: 10, 1: 20}, "orders": {0: 3, 1: 20}}


# -- a topic that is not what it was ---------------------------------------------------------------


def anew() -> Log:
    log = Log("orders")
    log.begin(OTHER_LIFE, {0: 0})
    return log


def test_of_those_who_replay_a_topic_that_was_created_again_each_begins_at_its_beginning() -> None:
    it, knew, other = replaying(p0=3), replaying(OTHER_LIFE, p0=3), session(topics=["news"])
    other.replay, other.floors = Replay({"news": LIFE}, {}), {"news": {0: 1}}
    assert uproot([it, knew, other, session()], anew()) == [it]
    assert it.floors == {"news": {0: 10, 1: 20}, "orders": {}}
    assert it.replay is not None
    assert it.replay.identities == {"news": LIFE, "orders": OTHER_LIFE}
    assert knew.floors is not None
    assert knew.floors["orders"] == {0: 3}


@pytest.mark.parametrize(
    ("place", "reach", "cut"), [(5, 3, False), (3, 5, False), (6, 3, True), (3, 6, True)]
)
def test_of_those_who_replay_a_log_that_was_cut_off_the_ones_beyond_go_on_from_now(
    place: int, reach: int, cut: bool
) -> None:
    it = replaying(p0=place, p1=20)
    assert it.replay is not None
    it.replay.enter(Reach({("orders", 0): reach, ("orders", 1): 9, ("news", 0): 9}))
    it.replay.judged = True
    where = logs()["orders"]
    where.move(0, 5)
    assert uproot([it], where, {0: 5}) == [it] * cut
    assert places(it, "orders") == {0: 5, 1: 20}
    assert it.replay.judged == (not cut)
    assert (("orders", 0) in it.replay.reach.next if it.replay.reach else None) == (reach < 6)


def test_of_those_whom_one_pass_serves_all_are_judged_by_its_place() -> None:
    first, second = replaying(p0=3), replaying(p0=3)
    reach = Reach({("orders", 0): 6})
    for each in (first, second):
        assert each.replay is not None
        each.replay.enter(reach)
    assert uproot([first, second], logs()["orders"], {0: 5}) == [first, second]
