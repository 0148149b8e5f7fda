"""Who is lost with an instance, and which rooms have got their first or lost their last."""

from __future__ import annotations

import pytest

from bridge.core.coordination.presence import (
    ECHO_SECONDS,
    EMPTY_SECONDS,
    MOST,
    SILENT_SECONDS,
    Census,
    Findings,
)
from bridge.core.coordination.state_records import Fact, Folded, Gone, Member, Occupied
from tests.core.facts import alive, gone, present

NOTHING = Findings([], [], [], [])
HALL = ("room", "hall")


def census(*facts: Fact | Gone, at: float = 0.0) -> Census:
    made = Census()
    for fact in facts:
        made.load(fact, at)
    return made


def told_and_read_back(it: Census, now: float) -> Findings:
    """Tell what is due, as who is on duty does, and read it back."""
    findings = it.due(now)
    it.tell(findings)
    for id in ids(findings):
        it.load(gone(id), now)
    for instance in findings.dead:
        it.load(Gone("instance", (instance,)), now)
    for place in findings.occupied:
        it.load(Occupied(*place), now)
    for place in findings.vacated:
        it.load(Gone("occupied", place), now)
    return findings


def ids(findings: Findings) -> list[str]:
    return [lost.id for lost in findings.lost]


# -- rooms and topics ------------------------------------------------------------------------------


def test_a_room_is_told_occupied_at_once_and_a_topic_is_one_more_place() -> None:
    it = census(alive(), present("c1", ("hall",), ("orders",)))
    found = told_and_read_back(it, 0)
    assert found == NOTHING._replace(occupied=[HALL, ("topic", "orders")])
    assert told_and_read_back(it, 1) == NOTHING


def test_a_second_connection_is_no_news() -> None:
    it = census(alive(), present("c1", ("hall",)))
    told_and_read_back(it, 0)
    it.load(present("c2", ("hall",)), 1)
    it.load(gone("c1"), 1)
    assert it.due(1 + EMPTY_SECONDS) == NOTHING


def test_a_room_is_told_vacated_when_it_has_been_empty_for_a_while() -> None:
    it = census(alive(), present("c1", ("hall",)))
    told_and_read_back(it, 0)
    it.load(gone("c1"), 1)
    assert it.due(1 + EMPTY_SECONDS - 0.01) == NOTHING
    assert told_and_read_back(it, 1 + EMPTY_SECONDS) == NOTHING._replace(vacated=[HALL])
    assert it.due(100) == NOTHING._replace(dead=["i1"])


def test_who_is_back_in_time_was_never_away() -> None:
    it = census(alive(), present("c1", ("hall",)))
    told_and_read_back(it, 0)
    it.load(gone("c1"), 1)
    it.load(present("c2", ("hall",)), 1 + EMPTY_SECONDS - 0.01)
    assert it.due(1 + EMPTY_SECONDS) == NOTHING


def test_the_while_begins_anew_with_each_who_leaves() -> None:
    it = census(alive(), present("c1", ("hall",)))
    told_and_read_back(it, 0)
    it.load(gone("c1"), 1)
    it.due(1)
    it.load(present("c2", ("hall",)), 2)
    it.load(gone("c2"), 3)  # nobody has asked in between
    assert it.due(3 + EMPTY_SECONDS - 0.01) == NOTHING
    assert it.due(3 + EMPTY_SECONDS).vacated == [HALL]


def test_one_who_goes_to_another_room_leaves_the_first() -> None:
    it = census(alive(), present("c1", ("hall",)))
    told_and_read_back(it, 0)
    it.load(present("c1", ("yard",)), 1)
    assert told_and_read_back(it, 1).occupied == [("room", "yard")]
    assert told_and_read_back(it, 1 + EMPTY_SECONDS).vacated == [HALL]


def test_a_room_that_nobody_was_told_of_is_not_told_vacated() -> None:
    it = census(alive(), present("c1", ("hall",)), gone("c1"))
    assert it.due(EMPTY_SECONDS) == NOTHING


def test_a_successor_knows_what_was_told() -> None:
    it = census(alive(), Occupied("room", "hall"), present("c1", ("hall",)))
    assert it.due(0) == NOTHING
    it = census(Occupied("room", "hall"))
    it.resume(7)
    assert it.due(7 + EMPTY_SECONDS - 0.01) == NOTHING
    assert it.due(7 + EMPTY_SECONDS).vacated == [HALL]
    it = census(Occupied("room", "hall"), Gone("occupied", HALL))
    assert it.due(EMPTY_SECONDS) == NOTHING


# -- what is told is told once ---------------------------------------------------------------------


def test_what_is_due_is_due_until_it_was_told() -> None:
    it = census(alive(), present("c1", ("hall",)))
    assert it.due(0) == it.due(1) == NOTHING._replace(occupied=[HALL])


def test_nothing_is_told_again_until_it_was_read_back() -> None:
    it = census(alive(), present("c1", ("hall",)))
    it.tell(it.due(0))
    assert it.due(0.1) == NOTHING
    it.load(gone("c1"), 0.2)
    it.load(present("c2", ("hall",)), 0.3)
    assert it.due(0.4) == NOTHING
    it.load(Occupied("room", "hall"), 0.5)
    assert it.due(0.6) == NOTHING


def test_what_was_told_before_and_is_read_late_is_not_told_anew() -> None:
    it = census(alive(), present("c1", ("hall",)))
    told_and_read_back(it, 0)
    it.load(gone("c1"), 1)
    it.tell(it.due(1 + EMPTY_SECONDS))
    it.load(present("c2", ("hall",)), 4.2)
    assert it.due(4.3) == NOTHING  # it has not read back that the room is vacated
    it.load(Gone("occupied", HALL), 4.4)
    assert told_and_read_back(it, 4.5).occupied == [HALL]
    assert it.due(4.6) == NOTHING


def test_what_is_never_read_back_is_told_again() -> None:
    it = census(alive(), present("c1", ("hall",)))
    it.tell(it.due(0))
    assert it.due(ECHO_SECONDS - 0.01).occupied == []
    assert it.due(ECHO_SECONDS).occupied == [HALL]


def test_what_could_not_be_told_is_due_at_once() -> None:
    it = census(alive(), present("c1", ("hall",)))
    findings = it.due(0)
    it.tell(findings)
    it.take_back(findings)
    assert it.due(0.1) == findings


# -- instances -------------------------------------------------------------------------------------


def test_an_instance_that_is_silent_for_long_is_given_up_with_all_its_connections() -> None:
    it = census(
        alive("i1"), alive("i2"), present("c1"), present("c2"), present("c3", instance="i2")
    )
    it.load(alive("i2"), 5)
    assert it.due(SILENT_SECONDS - 0.01) == NOTHING
    found = told_and_read_back(it, SILENT_SECONDS)
    assert (ids(found), found.dead) == (["c1", "c2"], ["i1"])
    assert it.due(SILENT_SECONDS + 1) == NOTHING
    assert set(it.roster.instances) == {"i2"}


def test_who_says_anything_is_not_silent() -> None:
    it = census(alive("i1"), present("c1"))
    it.load(present("c1", ("hall",)), 5)
    assert it.due(5 + SILENT_SECONDS - 0.01).dead == []


def test_an_instance_of_which_nothing_but_its_connections_is_known_is_given_up_too() -> None:
    it = census(present("c1"))
    found = told_and_read_back(it, SILENT_SECONDS)
    assert (ids(found), found.dead) == (["c1"], ["i1"])


def test_an_instance_without_connections_is_given_up_too() -> None:
    it = census(alive("i1"))
    assert told_and_read_back(it, SILENT_SECONDS) == NOTHING._replace(dead=["i1"])
    assert it.due(100) == NOTHING


def test_nobody_is_given_up_by_one_who_did_not_listen() -> None:
    it = census(alive("i1"), present("c1"))
    it.resume(60)
    assert it.due(60) == NOTHING
    assert it.due(60 + SILENT_SECONDS).dead == ["i1"]


def test_an_instance_that_started_anew_has_lost_who_was_there_before_at_once() -> None:
    it = census(alive("i1", "b1"), present("c1", boot="b1"), present("c2", boot="b1"))
    it.load(alive("i1", "b2"), 1)
    it.load(present("c3", boot="b2"), 1)
    found = told_and_read_back(it, 1)
    assert (ids(found), found.dead) == (["c1", "c2"], [])
    assert it.due(2) == NOTHING
    assert set(it.roster.connections) == {"c3"}


def test_whatever_is_read_of_a_boot_before_is_lost_too() -> None:
    it = census(alive("i1", "b2"))
    assert it.due(0) == NOTHING
    it.load(present("c1", boot="b1"), 1)
    assert ids(told_and_read_back(it, 1)) == ["c1"]


def test_an_instance_that_leaves_by_itself_is_no_loss() -> None:
    it = census(alive("i1"), present("c1"), gone("c1"), Gone("instance", ("i1",)))
    assert it.due(100) == NOTHING
    assert it.roster.instances == {}


def test_who_was_left_behind_by_an_instance_that_is_gone_is_lost() -> None:
    it = census(alive("i1"), present("c1"), Gone("instance", ("i1",)))
    assert it.due(SILENT_SECONDS - 0.01) == NOTHING
    assert ids(told_and_read_back(it, SILENT_SECONDS)) == ["c1"]


def test_one_that_was_taken_for_dead_and_returns_is_there_again() -> None:
    it = census(alive("i1"), present("c1"))
    told_and_read_back(it, SILENT_SECONDS)
    it.load(alive("i1"), 20)
    it.load(present("c1"), 20)
    assert it.due(20) == NOTHING
    found = told_and_read_back(it, 20 + SILENT_SECONDS)
    assert (ids(found), found.dead) == (["c1"], ["i1"])


def test_one_that_says_something_after_it_was_given_up_is_not_given_up_at_once_again() -> None:
    it = census(alive("i1"), present("c1"))
    found = it.due(SILENT_SECONDS)
    it.tell(found)
    it.load(gone("c1"), SILENT_SECONDS + 1)
    it.load(present("c2"), SILENT_SECONDS + 1)
    it.load(Gone("instance", ("i1",)), SILENT_SECONDS + 1)
    assert it.due(SILENT_SECONDS + 2) == NOTHING
    it.load(alive("i1"), SILENT_SECONDS + 2)
    assert it.due(SILENT_SECONDS + 2) == NOTHING


# -- how much --------------------------------------------------------------------------------------


def test_many_are_told_in_portions_and_their_instance_with_the_last() -> None:
    it = census(*(present(f"c{number}") for number in range(2 * MOST + 1)))
    now = SILENT_SECONDS
    found = [told_and_read_back(it, now + round * 0.1) for round in range(4)]
    assert [len(each.lost) for each in found] == [MOST, MOST, 1, 0]
    assert [each.dead for each in found] == [[], [], ["i1"], []]
    assert len({id for each in found for id in ids(each)}) == 2 * MOST + 1


def test_many_are_told_in_portions_whether_they_were_read_back_or_not() -> None:
    it = census(*(present(f"c{number}") for number in range(MOST + 1)))
    first = it.due(SILENT_SECONDS)
    it.tell(first)
    second = it.due(SILENT_SECONDS + 0.1)
    it.tell(second)
    assert (len(first.lost), first.dead, len(second.lost), second.dead) == (MOST, [], 1, ["i1"])
    assert it.due(SILENT_SECONDS + 0.2) == NOTHING


def test_many_places_are_told_in_portions() -> None:
    rooms = tuple(f"r{number}" for number in range(MOST + 1))
    it = census(alive(), present("c1", rooms))
    assert [len(told_and_read_back(it, now).occupied) for now in (0, 1, 2)] == [MOST, 1, 0]
    it.load(gone("c1"), 3)
    assert [len(told_and_read_back(it, now).vacated) for now in (6, 7, 8)] == [MOST, 1, 0]


def test_those_who_are_not_on_duty_keep_nothing_of_what_was_told() -> None:
    it, fresh = Census(), Census()
    for number in range(5):
        for fact in (
            alive(),
            present("c1", (f"r{number}",)),
            Occupied("room", f"r{number}"),
            gone("c1"),
            Gone("occupied", ("room", f"r{number}")),
            Gone("instance", ("i1",)),
        ):
            it.load(fact, float(number))
    assert vars(it.roster) == vars(fresh.roster)
    assert vars(it) | {"roster": None} == vars(fresh) | {"roster": None}


@pytest.mark.parametrize("fact", [Member("ann", "hall"), Folded(7), Gone("member", ("ann", "r"))])
def test_what_is_about_no_connection_changes_nothing(fact: Fact | Gone) -> None:
    it = census(fact)
    assert it.due(100) == NOTHING
    assert vars(it.roster) == vars(Census().roster)
