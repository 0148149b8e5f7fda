"""Kafka as somebody would explain it: a list for each partition, and what has become of it.

Everything that ever was written stays in the list, whoever may still read it, except for what an
unclean election has cut off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bridge.core.protocol.event import Body, Event
from bridge.core.replay.retention import MISSING_TOPIC, LogBounds

if TYPE_CHECKING:
    from collections.abc import Iterable


class WrittenEvent(NamedTuple):
    """One event, as a producer thinks of it. No two have one `number`."""

    offset: int
    number: int
    accounts: list[str]
    rooms: list[str]
    all: bool
    type: str

    def to_event(self) -> Event:
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


class WorldPartition:
    """What one partition has from `start` to `end`; from `young` on it is not too old."""

    def __init__(self) -> None:
        self.start = self.min_age_offset = self.end = 0
        self.events: list[WrittenEvent] = []
        self.corrupt_ranges: list[tuple[int, int]] = []

    def events_between(self, start: int, end: int) -> list[WrittenEvent]:
        return [fact for fact in self.events if start <= fact.offset < end]

    def corrupt_end(self, offset: int) -> int | None:
        """Where what can not be read at `offset` ends; None where it can."""
        return next((end for start, end in self.corrupt_ranges if start <= offset < end), None)

    def corrupt(self, start: int, count: int) -> None:
        if start < self.end:
            self.corrupt_ranges.append((start, min(self.end, start + count)))

    def read(self, first_offset: int, max_events: int) -> tuple[list[WrittenEvent], int]:
        """At most so many events from `first_offset` on, and the offset that follows them."""
        end = min([self.end, *(start for start, _ in self.corrupt_ranges if start >= first_offset)])
        events = self.events_between(first_offset, end)
        return events[:max_events], end if len(events) <= max_events else events[
            max_events - 1
        ].offset + 1

    def truncate(self, end: int) -> None:
        self.end = end
        self.start, self.min_age_offset = min(self.start, end), min(self.min_age_offset, end)
        self.events = self.events_between(0, end)
        self.corrupt_ranges = [(a, min(b, end)) for a, b in self.corrupt_ranges if a < end]


class WorldTopic:
    """One life of a topic."""

    def __init__(self, identity: bytes, partitions: int) -> None:
        self.identity = identity
        self.partitions = {number: WorldPartition() for number in range(partitions)}

    def bounds(self) -> LogBounds:
        partitions = self.partitions.items()
        return LogBounds(
            self.identity,
            {number: each.start for number, each in partitions},
            {number: each.end for number, each in partitions},
            {number: each.min_age_offset for number, each in partitions},
        )


class ReplayWorld:
    """All topics, and all lives that they ever had."""

    def __init__(self, names: Iterable[str]) -> None:
        self.topics: dict[str, WorldTopic] = {}
        self.topics_by_id: dict[tuple[str, bytes], WorldTopic] = {}
        self._written_count = 0
        for name in names:
            self.create(name)

    def create(self, name: str) -> None:
        """Create the topic `name`, deleting the one that there may be."""
        identity = b"%08d" % len(self.topics_by_id)
        self.topics[name] = self.topics_by_id[name, identity] = WorldTopic(identity, 2)

    def add_partition(self, name: str) -> None:
        partitions = self.topics[name].partitions
        if len(partitions) < 3:
            partitions[len(partitions)] = WorldPartition()

    def has(self, topic: str, partition: int) -> bool:
        return topic in self.topics and partition in self.topics[topic].partitions

    def partition(self, topic: str, partition: int) -> WorldPartition:
        return self.topics[topic].partitions[partition]

    def write(
        self, partition: WorldPartition, events: Iterable[WrittenEvent], hole_size: int
    ) -> None:
        """Write facts, whose offsets say how far each is behind the one before."""
        for event in events:
            self._written_count += 1
            offset = partition.end + event.offset
            partition.events.append(event._replace(offset=offset, number=self._written_count))
            partition.end = offset + 1
        partition.end += hole_size

    def events_between(
        self, topic: str, topic_id: bytes, partition: int, start: int, end: int
    ) -> list[WrittenEvent]:
        """What was written there in that life of the topic."""
        partitions = self.topics_by_id[topic, topic_id].partitions if topic_id else {}
        return partitions[partition].events_between(start, end) if partition in partitions else []

    def bounds(self, topic: str) -> LogBounds:
        return self.topics[topic].bounds() if topic in self.topics else MISSING_TOPIC
