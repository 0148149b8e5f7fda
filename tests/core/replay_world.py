"""Kafka as somebody would explain it: a list for each partition, and what has become of it.

Everything that ever was written stays in the list, whoever may still read it, except for what an
unclean election has cut off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bridge.core.protocol.event import Body, Event
from bridge.core.replay.retention import NOWHERE, Bounds

if TYPE_CHECKING:
    from collections.abc import Iterable


class Fact(NamedTuple):
    """One event, as a producer thinks of it. No two have one `number`."""

    offset: int
    number: int
    accounts: list[str]
    rooms: list[str]
    all: bool
    type: str

    def event(self) -> Event:
        return Event(
            self.offset,
            0,
            Body.JSON,
            b"%d" % self.number,
            accounts=self.accounts,
            rooms=self.rooms,
            all=self.all,
            type=self.type,
        )


class Partition:
    """What one partition has from `start` to `end`; from `young` on it is not too old."""

    def __init__(self) -> None:
        self.start = self.young = self.end = 0
        self.facts: list[Fact] = []
        self.damaged: list[tuple[int, int]] = []

    def between(self, start: int, end: int) -> list[Fact]:
        return [fact for fact in self.facts if start <= fact.offset < end]

    def flaw(self, place: int) -> int | None:
        """Where what can not be read at `place` ends; None where it can."""
        return next((end for start, end in self.damaged if start <= place < end), None)

    def damage(self, start: int, much: int) -> None:
        if start < self.end:
            self.damaged.append((start, min(self.end, start + much)))

    def read(self, place: int, most: int) -> tuple[list[Fact], int]:
        """At most so many events from `place` on, and the offset that follows them."""
        stop = min([self.end, *(start for start, _ in self.damaged if start >= place)])
        facts = self.between(place, stop)
        return facts[:most], stop if len(facts) <= most else facts[most - 1].offset + 1

    def cut_off(self, end: int) -> None:
        self.end = end
        self.start, self.young = min(self.start, end), min(self.young, end)
        self.facts = self.between(0, end)
        self.damaged = [(a, min(b, end)) for a, b in self.damaged if a < end]


class Topic:
    """One life of a topic."""

    def __init__(self, identity: bytes, partitions: int) -> None:
        self.identity = identity
        self.partitions = {number: Partition() for number in range(partitions)}

    def bounds(self) -> Bounds:
        there = self.partitions.items()
        return Bounds(
            self.identity,
            {number: each.start for number, each in there},
            {number: each.end for number, each in there},
            {number: each.young for number, each in there},
        )


class World:
    """All topics, and all lives that they ever had."""

    def __init__(self, names: Iterable[str]) -> None:
        self.topics: dict[str, Topic] = {}
        self.lives: dict[tuple[str, bytes], Topic] = {}
        self._written = 0
        for name in names:
            self.create(name)

    def create(self, name: str) -> None:
        """Create the topic `name`, deleting the one that there may be."""
        identity = b"%08d" % len(self.lives)
        self.topics[name] = self.lives[name, identity] = Topic(identity, 2)

    def add_partition(self, name: str) -> None:
        there = self.topics[name].partitions
        if len(there) < 3:
            there[len(there)] = Partition()

    def has(self, topic: str, partition: int) -> bool:
        return topic in self.topics and partition in self.topics[topic].partitions

    def partition(self, topic: str, partition: int) -> Partition:
        return self.topics[topic].partitions[partition]

    def write(self, to: Partition, facts: Iterable[Fact], hole: int) -> None:
        """Write facts, whose offsets say how far each is behind the one before."""
        for fact in facts:
            self._written += 1
            offset = to.end + fact.offset
            to.facts.append(fact._replace(offset=offset, number=self._written))
            to.end = offset + 1
        to.end += hole

    def facts(self, topic: str, life: bytes, partition: int, start: int, end: int) -> list[Fact]:
        """What was written there in that life of the topic."""
        there = self.lives[topic, life].partitions if life else {}
        return there[partition].between(start, end) if partition in there else []

    def bounds(self, topic: str) -> Bounds:
        return self.topics[topic].bounds() if topic in self.topics else NOWHERE
