"""Dead instances with their connections, and occupied and vacated rooms."""

from __future__ import annotations

import pytest

from bridge.core.coordination.presence import (
    INSTANCE_TIMEOUT_SECONDS,
    MAX_CHANGES,
    READ_BACK_TIMEOUT_SECONDS,
    VACATED_AFTER_SECONDS,
    PresenceChanges,
    PresenceTracker,
)
from bridge.core.coordination.state_records import (
    Checkpoint,
    Membership,
    Occupancy,
    StateRecord,
    Tombstone,
)
from tests.core.state_record_factories import alive_record, gone_record, present_record

NOTHING = PresenceChanges([], [], [], [])
HALL = ("room", "hall")


def tracker_with(*facts: StateRecord | Tombstone, at: float = 0.0) -> PresenceTracker:
    made = PresenceTracker()
    for fact in facts:
        made.apply(fact, at)
    return made


def publish_and_read_back(it: PresenceTracker, now: float) -> PresenceChanges:
    """Publish what is due, as the leader does, and read it back."""
    changes = it.due_changes(now)
    it.mark_published(changes)
    for id in ids(changes):
        it.apply(gone_record(id), now)
    for instance in changes.dead_instances:
        it.apply(Tombstone("instance", (instance,)), now)
    for place in changes.occupied:
        it.apply(Occupancy(*place), now)
    for place in changes.vacated:
        it.apply(Tombstone("occupied", place), now)
    return changes


def ids(changes: PresenceChanges) -> list[str]:
    return [lost.id for lost in changes.lost_connections]


# -- rooms and topics ------------------------------------------------------------------------------


def test_a_room_and_a_topic_are_occupied_at_once() -> None:
    it = tracker_with(alive_record(), present_record("c1", ("hall",), ("orders",)))
    found = publish_and_read_back(it, 0)
    assert found == NOTHING._replace(occupied=[HALL, ("topic", "orders")])
    assert publish_and_read_back(it, 1) == NOTHING


def test_a_second_connection_changes_nothing() -> None:
    it = tracker_with(alive_record(), present_record("c1", ("hall",)))
    publish_and_read_back(it, 0)
    it.apply(present_record("c2", ("hall",)), 1)
    it.apply(gone_record("c1"), 1)
    assert it.due_changes(1 + VACATED_AFTER_SECONDS) == NOTHING


def test_a_room_is_vacated_after_it_was_empty_for_a_while() -> None:
    it = tracker_with(alive_record(), present_record("c1", ("hall",)))
    publish_and_read_back(it, 0)
    it.apply(gone_record("c1"), 1)
    assert it.due_changes(1 + VACATED_AFTER_SECONDS - 0.01) == NOTHING
    assert publish_and_read_back(it, 1 + VACATED_AFTER_SECONDS) == NOTHING._replace(vacated=[HALL])
    assert it.due_changes(100) == NOTHING._replace(dead_instances=["i1"])


def test_a_return_in_time_is_no_change() -> None:
    it = tracker_with(alive_record(), present_record("c1", ("hall",)))
    publish_and_read_back(it, 0)
    it.apply(gone_record("c1"), 1)
    it.apply(present_record("c2", ("hall",)), 1 + VACATED_AFTER_SECONDS - 0.01)
    assert it.due_changes(1 + VACATED_AFTER_SECONDS) == NOTHING


def test_the_timeout_restarts_with_each_leave() -> None:
    it = tracker_with(alive_record(), present_record("c1", ("hall",)))
    publish_and_read_back(it, 0)
    it.apply(gone_record("c1"), 1)
    it.due_changes(1)
    it.apply(present_record("c2", ("hall",)), 2)
    it.apply(gone_record("c2"), 3)  # nothing was polled in between
    assert it.due_changes(3 + VACATED_AFTER_SECONDS - 0.01) == NOTHING
    assert it.due_changes(3 + VACATED_AFTER_SECONDS).vacated == [HALL]


def test_a_move_to_another_room_vacates_the_first() -> None:
    it = tracker_with(alive_record(), present_record("c1", ("hall",)))
    publish_and_read_back(it, 0)
    it.apply(present_record("c1", ("yard",)), 1)
    assert publish_and_read_back(it, 1).occupied == [("room", "yard")]
    assert publish_and_read_back(it, 1 + VACATED_AFTER_SECONDS).vacated == [HALL]


def test_a_room_that_was_never_published_is_not_vacated() -> None:
    it = tracker_with(alive_record(), present_record("c1", ("hall",)), gone_record("c1"))
    assert it.due_changes(VACATED_AFTER_SECONDS) == NOTHING


def test_a_new_leader_knows_what_was_published() -> None:
    it = tracker_with(alive_record(), Occupancy("room", "hall"), present_record("c1", ("hall",)))
    assert it.due_changes(0) == NOTHING
    it = tracker_with(Occupancy("room", "hall"))
    it.reset_timeouts(7)
    assert it.due_changes(7 + VACATED_AFTER_SECONDS - 0.01) == NOTHING
    assert it.due_changes(7 + VACATED_AFTER_SECONDS).vacated == [HALL]
    it = tracker_with(Occupancy("room", "hall"), Tombstone("occupied", HALL))
    assert it.due_changes(VACATED_AFTER_SECONDS) == NOTHING


# -- each change is published once -----------------------------------------------------------------


def test_a_change_is_due_until_it_is_published() -> None:
    it = tracker_with(alive_record(), present_record("c1", ("hall",)))
    assert it.due_changes(0) == it.due_changes(1) == NOTHING._replace(occupied=[HALL])


def test_nothing_is_published_again_until_it_is_read_back() -> None:
    it = tracker_with(alive_record(), present_record("c1", ("hall",)))
    it.mark_published(it.due_changes(0))
    assert it.due_changes(0.1) == NOTHING
    it.apply(gone_record("c1"), 0.2)
    it.apply(present_record("c2", ("hall",)), 0.3)
    assert it.due_changes(0.4) == NOTHING
    it.apply(Occupancy("room", "hall"), 0.5)
    assert it.due_changes(0.6) == NOTHING


def test_a_late_read_back_does_not_publish_again() -> None:
    it = tracker_with(alive_record(), present_record("c1", ("hall",)))
    publish_and_read_back(it, 0)
    it.apply(gone_record("c1"), 1)
    it.mark_published(it.due_changes(1 + VACATED_AFTER_SECONDS))
    it.apply(present_record("c2", ("hall",)), 4.2)
    assert it.due_changes(4.3) == NOTHING  # it has not read back that the room is vacated
    it.apply(Tombstone("occupied", HALL), 4.4)
    assert publish_and_read_back(it, 4.5).occupied == [HALL]
    assert it.due_changes(4.6) == NOTHING


def test_a_change_that_is_never_read_back_is_published_again() -> None:
    it = tracker_with(alive_record(), present_record("c1", ("hall",)))
    it.mark_published(it.due_changes(0))
    assert it.due_changes(READ_BACK_TIMEOUT_SECONDS - 0.01).occupied == []
    assert it.due_changes(READ_BACK_TIMEOUT_SECONDS).occupied == [HALL]


def test_a_failed_change_is_due_at_once() -> None:
    it = tracker_with(alive_record(), present_record("c1", ("hall",)))
    changes = it.due_changes(0)
    it.mark_published(changes)
    it.mark_failed(changes)
    assert it.due_changes(0.1) == changes


# -- instances -------------------------------------------------------------------------------------


def test_a_silent_instance_is_dead_with_all_its_connections() -> None:
    it = tracker_with(
        alive_record("i1"),
        alive_record("i2"),
        present_record("c1"),
        present_record("c2"),
        present_record("c3", instance="i2"),
    )
    it.apply(alive_record("i2"), 5)
    assert it.due_changes(INSTANCE_TIMEOUT_SECONDS - 0.01) == NOTHING
    found = publish_and_read_back(it, INSTANCE_TIMEOUT_SECONDS)
    assert (ids(found), found.dead_instances) == (["c1", "c2"], ["i1"])
    assert it.due_changes(INSTANCE_TIMEOUT_SECONDS + 1) == NOTHING
    assert set(it.index.instances) == {"i2"}


def test_any_record_of_an_instance_restarts_its_timeout() -> None:
    it = tracker_with(alive_record("i1"), present_record("c1"))
    it.apply(present_record("c1", ("hall",)), 5)
    assert it.due_changes(5 + INSTANCE_TIMEOUT_SECONDS - 0.01).dead_instances == []


def test_an_instance_known_by_its_connections_only_can_be_dead() -> None:
    it = tracker_with(present_record("c1"))
    found = publish_and_read_back(it, INSTANCE_TIMEOUT_SECONDS)
    assert (ids(found), found.dead_instances) == (["c1"], ["i1"])


def test_an_instance_without_connections_can_be_dead() -> None:
    it = tracker_with(alive_record("i1"))
    assert publish_and_read_back(it, INSTANCE_TIMEOUT_SECONDS) == NOTHING._replace(
        dead_instances=["i1"]
    )
    assert it.due_changes(100) == NOTHING


def test_no_instance_is_dead_after_timeouts_were_reset() -> None:
    it = tracker_with(alive_record("i1"), present_record("c1"))
    it.reset_timeouts(60)
    assert it.due_changes(60) == NOTHING
    assert it.due_changes(60 + INSTANCE_TIMEOUT_SECONDS).dead_instances == ["i1"]


def test_a_restarted_instance_has_lost_its_connections_at_once() -> None:
    it = tracker_with(
        alive_record("i1", "b1"), present_record("c1", boot="b1"), present_record("c2", boot="b1")
    )
    it.apply(alive_record("i1", "b2"), 1)
    it.apply(present_record("c3", boot="b2"), 1)
    found = publish_and_read_back(it, 1)
    assert (ids(found), found.dead_instances) == (["c1", "c2"], [])
    assert it.due_changes(2) == NOTHING
    assert set(it.index.connections) == {"c3"}


def test_a_late_connection_of_an_earlier_boot_is_lost_too() -> None:
    it = tracker_with(alive_record("i1", "b2"))
    assert it.due_changes(0) == NOTHING
    it.apply(present_record("c1", boot="b1"), 1)
    assert ids(publish_and_read_back(it, 1)) == ["c1"]


def test_an_instance_that_stops_cleanly_loses_nothing() -> None:
    it = tracker_with(
        alive_record("i1"), present_record("c1"), gone_record("c1"), Tombstone("instance", ("i1",))
    )
    assert it.due_changes(100) == NOTHING
    assert it.index.instances == {}


def test_connections_left_by_a_removed_instance_are_lost() -> None:
    it = tracker_with(alive_record("i1"), present_record("c1"), Tombstone("instance", ("i1",)))
    assert it.due_changes(INSTANCE_TIMEOUT_SECONDS - 0.01) == NOTHING
    assert ids(publish_and_read_back(it, INSTANCE_TIMEOUT_SECONDS)) == ["c1"]


def test_an_instance_may_return_after_it_was_dead() -> None:
    it = tracker_with(alive_record("i1"), present_record("c1"))
    publish_and_read_back(it, INSTANCE_TIMEOUT_SECONDS)
    it.apply(alive_record("i1"), 20)
    it.apply(present_record("c1"), 20)
    assert it.due_changes(20) == NOTHING
    found = publish_and_read_back(it, 20 + INSTANCE_TIMEOUT_SECONDS)
    assert (ids(found), found.dead_instances) == (["c1"], ["i1"])


def test_a_returned_instance_is_not_dead_at_once_again() -> None:
    it = tracker_with(alive_record("i1"), present_record("c1"))
    found = it.due_changes(INSTANCE_TIMEOUT_SECONDS)
    it.mark_published(found)
    it.apply(gone_record("c1"), INSTANCE_TIMEOUT_SECONDS + 1)
    it.apply(present_record("c2"), INSTANCE_TIMEOUT_SECONDS + 1)
    it.apply(Tombstone("instance", ("i1",)), INSTANCE_TIMEOUT_SECONDS + 1)
    assert it.due_changes(INSTANCE_TIMEOUT_SECONDS + 2) == NOTHING
    it.apply(alive_record("i1"), INSTANCE_TIMEOUT_SECONDS + 2)
    assert it.due_changes(INSTANCE_TIMEOUT_SECONDS + 2) == NOTHING


# -- batches ---------------------------------------------------------------------------------------


def test_many_lost_connections_are_published_in_batches_and_the_instance_last() -> None:
    it = tracker_with(*(present_record(f"c{number}") for number in range(2 * MAX_CHANGES + 1)))
    now = INSTANCE_TIMEOUT_SECONDS
    found = [publish_and_read_back(it, now + round * 0.1) for round in range(4)]
    assert [len(each.lost_connections) for each in found] == [MAX_CHANGES, MAX_CHANGES, 1, 0]
    assert [each.dead_instances for each in found] == [[], [], ["i1"], []]
    assert len({id for each in found for id in ids(each)}) == 2 * MAX_CHANGES + 1


def test_batches_continue_before_the_read_back() -> None:
    it = tracker_with(*(present_record(f"c{number}") for number in range(MAX_CHANGES + 1)))
    first = it.due_changes(INSTANCE_TIMEOUT_SECONDS)
    it.mark_published(first)
    second = it.due_changes(INSTANCE_TIMEOUT_SECONDS + 0.1)
    it.mark_published(second)
    assert (
        len(first.lost_connections),
        first.dead_instances,
        len(second.lost_connections),
        second.dead_instances,
    ) == (MAX_CHANGES, [], 1, ["i1"])
    assert it.due_changes(INSTANCE_TIMEOUT_SECONDS + 0.2) == NOTHING


def test_many_rooms_are_published_in_batches() -> None:
    rooms = tuple(f"r{number}" for number in range(MAX_CHANGES + 1))
    it = tracker_with(alive_record(), present_record("c1", rooms))
    assert [len(publish_and_read_back(it, now).occupied) for now in (0, 1, 2)] == [
        MAX_CHANGES,
        1,
        0,
    ]
    it.apply(gone_record("c1"), 3)
    assert [len(publish_and_read_back(it, now).vacated) for now in (6, 7, 8)] == [MAX_CHANGES, 1, 0]


def test_instances_that_do_not_lead_keep_no_pending_changes() -> None:
    it, fresh = PresenceTracker(), PresenceTracker()
    for number in range(5):
        for fact in (
            alive_record(),
            present_record("c1", (f"r{number}",)),
            Occupancy("room", f"r{number}"),
            gone_record("c1"),
            Tombstone("occupied", ("room", f"r{number}")),
            Tombstone("instance", ("i1",)),
        ):
            it.apply(fact, float(number))
    assert vars(it.index) == vars(fresh.index)
    assert vars(it) | {"index": None} == vars(fresh) | {"index": None}


@pytest.mark.parametrize(
    "fact", [Membership("ann", "hall"), Checkpoint(7), Tombstone("member", ("ann", "r"))]
)
def test_unrelated_state_records_change_nothing(fact: StateRecord | Tombstone) -> None:
    it = tracker_with(fact)
    assert it.due_changes(100) == NOTHING
    assert vars(it.index) == vars(PresenceTracker().index)
