"""Where each partition is read from: at the start, when it is added, when its topic is new.

Rules: what exists when the instance starts is read from its end, or from a while before; what
comes later, partition or topic, from its beginning, for nothing of it can have been seen. A topic
that comes back with another id is a new one; one that wakes is read from its end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.kafka.client.client import EARLIEST, LATEST, Partition

if TYPE_CHECKING:
    import uuid
    from collections.abc import Collection, Iterable, Mapping

    from bridge.kafka.client.client import Description


class Reading:
    """One partition that is read: the next offset, and what stands in the way."""

    __slots__ = (
        "between",
        "committed",
        "dropped",
        "end",
        "leader",
        "offset",
        "pause_until",
        "strikes",
        "until",
    )

    def __init__(self, offset: int, leader: int, until: int) -> None:
        self.offset = offset
        self.until = until  #: the offset at which this instance has caught up
        self.between = False  #: whether a batch is known to end before `offset`
        self.leader = leader
        self.end = offset  #: of the log, when it was last heard of
        self.committed: int | None = None
        self.pause_until = 0.0  #: on the loop's clock
        self.strikes = 0  #: failures to read the batch at `offset`, in a row
        self.dropped = False  #: whether it is not this that is read any more


class Partitions:
    """The partitions of the topics that an instance reads; those `asleep` it does not read now."""

    def __init__(self, topics: Iterable[str], asleep: Collection[str] = ()) -> None:
        self.topics = tuple(topics)
        self._asleep = asleep
        self.ids: dict[str, uuid.UUID | None] = {}
        self.readings: dict[Partition, Reading] = {}
        self._from_end: set[Partition] | None = None
        self._there: dict[Partition, int] = {}  # and its leaders, when it was last looked

    def recreated(self, found: Mapping[str, Description]) -> list[str]:
        """Return the topics that are not the ones that were read; forget what was known of them."""
        changed = [
            topic
            for topic, description in found.items()
            if self.ids.get(topic) is not None and description.id != self.ids[topic]
        ]
        for topic in changed:
            self.drop(topic)
        if self._from_end:
            self._from_end = {p for p in self._from_end if p.topic not in changed}
        return changed

    def drop(self, topic: str) -> None:
        """Read `topic` no more as it was; what is on its way of it is not taken."""
        for partition in [p for p in self.readings if p.topic == topic]:
            self.readings.pop(partition).dropped = True

    def is_known(self, topic: str) -> bool:
        """Whether `topic` was there when it was last looked."""
        return any(partition.topic == topic for partition in self._there)

    def follow(
        self, found: Mapping[str, Description], waking: Collection[str] = ()
    ) -> dict[Partition, int]:
        """Take note of leaders; return the timestamps to ask for where reading has to begin."""
        leaders = {
            Partition(topic, number): leader
            for topic, description in found.items()
            for number, leader in description.leaders.items()
        }
        for topic, description in found.items():
            self.ids[topic] = description.id
        for partition, reading in self.readings.items():
            reading.leader = leaders.get(partition, -1)
        self._there = leaders
        if self._from_end is None:
            self._from_end = {p for p in leaders if p.topic not in self._asleep}
        late = self._from_end
        return {
            p: LATEST if p in late or p.topic in waking else EARLIEST
            for p in leaders
            if p not in self.readings and (p.topic in waking or p.topic not in self._asleep)
        }

    def begin(self, partition: Partition, offset: int, leader: int, until: int = 0) -> None:
        """Read `partition` from `offset`; it has caught up at `until`."""
        if self._from_end is not None:
            self._from_end.discard(partition)
        self.readings[partition] = Reading(offset, leader, until)

    @property
    def complete(self) -> bool:
        """Whether everything that existed at the start, and still does, has been caught up with."""
        return (
            self._from_end is not None
            and not self._from_end & self._there.keys()
            and all(r.offset >= r.until for p, r in self.readings.items() if p in self._there)
        )

    def leader(self, partition: Partition) -> int:
        """The node that leads `partition`, -1 where none does."""
        reading = self.readings.get(partition)
        if reading is None:  # what is asleep can be looked back into
            return self._there.get(partition, -1) if partition.topic in self._asleep else -1
        return reading.leader

    def position(self, partition: Partition) -> int:
        """The next offset that is read of `partition`, -1 where it is not read."""
        reading = self.readings.get(partition)
        return -1 if reading is None else reading.offset

    def of(self, topic: str) -> dict[int, Reading]:
        """What is read of `topic`, by the numbers of its partitions."""
        return {p.number: reading for p, reading in self.readings.items() if p.topic == topic}

    def led_by(self, node: int) -> dict[Partition, Reading]:
        """The partitions that `node` leads."""
        return {p: reading for p, reading in self.readings.items() if reading.leader == node}

    def leaders(self) -> set[int]:
        """The nodes that lead any of them."""
        return {reading.leader for reading in self.readings.values() if reading.leader >= 0}

    def uncommitted(self) -> dict[Partition, int]:
        """The offsets that were moved since they were last committed."""
        return {p: r.offset for p, r in self.readings.items() if r.offset != r.committed}

    def committed(self, offsets: Mapping[Partition, int]) -> None:
        """Take note that these were committed."""
        for partition, offset in offsets.items():
            if partition in self.readings:
                self.readings[partition].committed = offset
