"""From where each partition is read, without any Kafka."""

from __future__ import annotations

import uuid

from bridge.kafka.client.client import EARLIEST, LATEST, Description, Partition
from bridge.kafka.partitions import Partitions

ONE, OTHER = uuid.UUID(int=1), uuid.UUID(int=2)


def led(id: uuid.UUID | None, partitions: int = 1) -> Description:
    return Description(id, dict.fromkeys(range(partitions), 0))


def test_what_is_there_at_the_start_is_read_from_its_end_however_late_its_leader_answers():
    known = Partitions(["t"])
    both = {Partition("t", 0): LATEST, Partition("t", 1): LATEST}
    assert known.follow({"t": led(ONE, 2)}) == both
    known.begin(Partition("t", 0), 5, 0)
    assert not known.complete
    assert known.follow({"t": led(ONE, 3)}) == {
        Partition("t", 1): LATEST,
        Partition("t", 2): EARLIEST,
    }
    known.begin(Partition("t", 1), 0, 0)
    assert known.complete


def test_nobody_waits_for_a_topic_that_went_before_it_was_begun():
    """Else an instance would never be ready."""
    known = Partitions(["t", "u"])
    known.follow({"t": led(ONE), "u": led(ONE)})
    known.begin(Partition("u", 0), 0, 0)
    assert known.follow({"u": led(ONE)}) == {}
    assert known.complete
    back = {"t": led(OTHER), "u": led(ONE)}
    assert known.recreated(back) == ["t"]
    assert known.follow(back) == {Partition("t", 0): EARLIEST}


def test_a_topic_that_was_only_out_of_sight_is_still_read_from_its_end():
    known = Partitions(["t"])
    for found in ({"t": led(ONE)}, {}):
        known.follow(found)
    assert known.recreated({"t": led(ONE)}) == []
    assert known.follow({"t": led(ONE)}) == {Partition("t", 0): LATEST}
    assert not known.complete


def test_a_topic_that_comes_back_before_it_was_begun_is_read_from_its_beginning():
    known = Partitions(["t"])
    known.follow({"t": led(ONE)})
    assert known.recreated({"t": led(OTHER)}) == ["t"]
    assert known.follow({"t": led(OTHER)}) == {Partition("t", 0): EARLIEST}


def test_where_topics_have_no_ids_none_is_ever_another():
    known = Partitions(["t"])
    known.follow({"t": led(None)})
    assert known.recreated({"t": led(None)}) == []


def test_what_is_read_back_has_to_be_read_before_all_is_complete():
    known = Partitions(["t"])
    known.follow({"t": led(ONE)})
    known.begin(Partition("t", 0), 3, 0, 5)
    assert not known.complete
    known.readings[Partition("t", 0)].offset = 4
    assert not known.complete
    known.readings[Partition("t", 0)].offset = 5
    assert known.complete


def test_nobody_waits_for_a_topic_that_goes_while_it_is_read_back():
    known = Partitions(["t", "u"])
    known.follow({"t": led(ONE), "u": led(ONE)})
    known.begin(Partition("t", 0), 3, 0, 5)
    known.begin(Partition("u", 0), 0, 0, 0)
    assert not known.complete
    known.follow({"u": led(ONE)})
    assert known.complete


def test_only_what_has_moved_is_committed_again():
    known = Partitions(["t"])
    known.follow({"t": led(ONE, 2)})
    for number in range(2):
        known.begin(Partition("t", number), 5, 0)
    assert known.uncommitted() == {Partition("t", 0): 5, Partition("t", 1): 5}
    known.committed({**known.uncommitted(), Partition("t", 7): 1})
    assert known.uncommitted() == {}
    known.readings[Partition("t", 1)].offset = 6
    assert known.uncommitted() == {Partition("t", 1): 6}


def test_what_is_asleep_is_not_begun_and_wakes_at_its_end_as_a_whole():
    asleep = {"t"}
    known = Partitions(["t", "u"], asleep)
    found = {"t": led(ONE, 2), "u": led(ONE)}
    assert known.follow(found) == {Partition("u", 0): LATEST}
    known.begin(Partition("u", 0), 0, 0)
    assert known.complete, "nobody has to wait for it"
    assert known.leader(Partition("t", 1)) == 0, "it can be looked back into"
    assert known.position(Partition("t", 1)) == -1
    whole = {Partition("t", 0): LATEST, Partition("t", 1): LATEST}
    assert known.follow(found, {"t"}) == whole
    assert known.follow(found) == {}
    asleep.clear()
    for partition in whole:
        known.begin(partition, 5, 0)
    assert known.follow({**found, "t": led(ONE, 3)}) == {Partition("t", 2): EARLIEST}


def test_what_is_dropped_is_not_read_and_those_who_hold_it_can_see_that():
    known = Partitions(["t", "u"])
    known.follow({"t": led(ONE), "u": led(ONE)})
    for partition in (Partition("t", 0), Partition("u", 0)):
        known.begin(partition, 5, 0)
    held = known.of("t")[0]
    known.drop("t")
    assert (held.dropped, known.of("t"), known.uncommitted()) == (True, {}, {Partition("u", 0): 5})
    assert not known.of("u")[0].dropped
