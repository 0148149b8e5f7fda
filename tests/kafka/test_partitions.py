"""From where each partition is read, without any Kafka."""

from __future__ import annotations

import uuid

from bridge.kafka.client.client import EARLIEST, LATEST, TopicDescription, TopicPartition
from bridge.kafka.partitions import AssignedPartitions

ONE, OTHER = uuid.UUID(int=1), uuid.UUID(int=2)


def led(id: uuid.UUID | None, partitions: int = 1) -> TopicDescription:
    return TopicDescription(id, dict.fromkeys(range(partitions), 0))


def test_what_is_there_at_the_start_is_read_from_its_end_however_late_its_leader_answers():
    known = AssignedPartitions(["t"])
    both = {TopicPartition("t", 0): LATEST, TopicPartition("t", 1): LATEST}
    assert known.update_metadata({"t": led(ONE, 2)}) == both
    known.start(TopicPartition("t", 0), 5, 0)
    assert not known.has_caught_up
    assert known.update_metadata({"t": led(ONE, 3)}) == {
        TopicPartition("t", 1): LATEST,
        TopicPartition("t", 2): EARLIEST,
    }
    known.start(TopicPartition("t", 1), 0, 0)
    assert known.has_caught_up


def test_nobody_waits_for_a_topic_that_went_before_it_was_begun():
    """Else an instance would never be ready."""
    known = AssignedPartitions(["t", "u"])
    known.update_metadata({"t": led(ONE), "u": led(ONE)})
    known.start(TopicPartition("u", 0), 0, 0)
    assert known.update_metadata({"u": led(ONE)}) == {}
    assert known.has_caught_up
    back = {"t": led(OTHER), "u": led(ONE)}
    assert known.drop_recreated(back) == ["t"]
    assert known.update_metadata(back) == {TopicPartition("t", 0): EARLIEST}


def test_a_topic_that_was_only_out_of_sight_is_still_read_from_its_end():
    known = AssignedPartitions(["t"])
    for found in ({"t": led(ONE)}, {}):
        known.update_metadata(found)
    assert known.drop_recreated({"t": led(ONE)}) == []
    assert known.update_metadata({"t": led(ONE)}) == {TopicPartition("t", 0): LATEST}
    assert not known.has_caught_up


def test_a_topic_that_comes_back_before_it_was_begun_is_read_from_its_beginning():
    known = AssignedPartitions(["t"])
    known.update_metadata({"t": led(ONE)})
    assert known.drop_recreated({"t": led(OTHER)}) == ["t"]
    assert known.update_metadata({"t": led(OTHER)}) == {TopicPartition("t", 0): EARLIEST}


def test_where_topics_have_no_ids_none_is_ever_another():
    known = AssignedPartitions(["t"])
    known.update_metadata({"t": led(None)})
    assert known.drop_recreated({"t": led(None)}) == []


def test_what_is_read_back_has_to_be_read_before_all_is_complete():
    known = AssignedPartitions(["t"])
    known.update_metadata({"t": led(ONE)})
    known.start(TopicPartition("t", 0), 3, 0, 5)
    assert not known.has_caught_up
    known.states[TopicPartition("t", 0)].offset = 4
    assert not known.has_caught_up
    known.states[TopicPartition("t", 0)].offset = 5
    assert known.has_caught_up


def test_nobody_waits_for_a_topic_that_goes_while_it_is_read_back():
    known = AssignedPartitions(["t", "u"])
    known.update_metadata({"t": led(ONE), "u": led(ONE)})
    known.start(TopicPartition("t", 0), 3, 0, 5)
    known.start(TopicPartition("u", 0), 0, 0, 0)
    assert not known.has_caught_up
    known.update_metadata({"u": led(ONE)})
    assert known.has_caught_up


def test_only_what_has_moved_is_committed_again():
    known = AssignedPartitions(["t"])
    known.update_metadata({"t": led(ONE, 2)})
    for number in range(2):
        known.start(TopicPartition("t", number), 5, 0)
    assert known.uncommitted_offsets() == {TopicPartition("t", 0): 5, TopicPartition("t", 1): 5}
    known.mark_committed({**known.uncommitted_offsets(), TopicPartition("t", 7): 1})
    assert known.uncommitted_offsets() == {}
    known.states[TopicPartition("t", 1)].offset = 6
    assert known.uncommitted_offsets() == {TopicPartition("t", 1): 6}


def test_what_is_asleep_is_not_begun_and_wakes_at_its_end_as_a_whole():
    asleep = {"t"}
    known = AssignedPartitions(["t", "u"], asleep)
    found = {"t": led(ONE, 2), "u": led(ONE)}
    assert known.update_metadata(found) == {TopicPartition("u", 0): LATEST}
    known.start(TopicPartition("u", 0), 0, 0)
    assert known.has_caught_up, "nobody has to wait for it"
    assert known.leader_of(TopicPartition("t", 1)) == 0, "it can be looked back into"
    assert known.position(TopicPartition("t", 1)) == -1
    whole = {TopicPartition("t", 0): LATEST, TopicPartition("t", 1): LATEST}
    assert known.update_metadata(found, {"t"}) == whole
    assert known.update_metadata(found) == {}
    asleep.clear()
    for partition in whole:
        known.start(partition, 5, 0)
    assert known.update_metadata({**found, "t": led(ONE, 3)}) == {TopicPartition("t", 2): EARLIEST}


def test_what_is_dropped_is_not_read_and_those_who_hold_it_can_see_that():
    known = AssignedPartitions(["t", "u"])
    known.update_metadata({"t": led(ONE), "u": led(ONE)})
    for partition in (TopicPartition("t", 0), TopicPartition("u", 0)):
        known.start(partition, 5, 0)
    held = known.states_of("t")[0]
    known.drop_topic("t")
    assert (held.is_dropped, known.states_of("t"), known.uncommitted_offsets()) == (
        True,
        {},
        {TopicPartition("u", 0): 5},
    )
    assert not known.states_of("u")[0].is_dropped
