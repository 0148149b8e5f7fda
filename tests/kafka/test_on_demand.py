"""When topics on demand fall asleep, who is called, and what is still on its way of them then."""

from __future__ import annotations

import asyncio

from bridge.kafka.client.client import Fetched, Partition
from bridge.kafka.fetcher import STRIKES, Trouble
from bridge.kafka.on_demand import Sleepers
from bridge.kafka.partitions import Reading
from tests.kafka.memory import MemoryCluster
from tests.kafka.tape import Tape


def test_who_was_there_for_a_moment_begins_the_time_anew():
    followers: set[str] = set()
    it = Sleepers({"t": 10}, {"t": ["t"]}, followers.__contains__, wait_seconds=1)
    it.wake(["t"])
    assert it.tired(0) == it.tired(9) == []
    it.call("t")
    assert it.tired(12) == it.tired(21) == []
    assert it.tired(22) == ["t"]
    it.sleep("t")
    assert (it.tired(99), it.wanted()) == ([], set())
    followers.add("t")
    assert it.wanted() == {"t"}


def test_only_a_call_for_what_is_asleep_asks_for_a_look():
    looks: list[None] = []
    it = Sleepers({"t": 10}, {"t": ["a", "b"]}, bool, wait_seconds=1)
    it.look = lambda: looks.append(None)
    it.call("b")
    assert len(looks) == 1
    it.wake(["t"])
    it.call("a")
    assert len(looks) == 1


def test_a_partition_that_is_read_no_more_is_not_passed_on() -> None:
    tape = Tape()
    trouble = Trouble(MemoryCluster(), {"t": ["t"]}, tape, asyncio.Event())
    reading = Reading(5, 0, 5)
    reading.strikes, reading.dropped = STRIKES - 1, True
    trouble.strike(Fetched(Partition("t", 0), 5, 0, 9, [], b""), reading, 7, "it is damaged")
    assert (tape.said, reading.offset) == ([], 5)
