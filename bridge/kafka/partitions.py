"""Where each partition is read from: at the start, when it is added, when its topic is new.

Rules: what exists when the instance starts is read from its end, or from a while before; what
comes later, partition or topic, from its beginning, for nothing of it can have been seen. A topic
that comes back with another id is a new one; one that wakes is read from its end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.kafka.client.client import EARLIEST, LATEST, TopicPartition
from bridge.kafka.partition_reader import ReadProgress

if TYPE_CHECKING:
    import uuid
    from collections.abc import Collection, Iterable, Mapping

    from bridge.kafka.client.client import TopicDescription


class PartitionState(ReadProgress):
    """One partition that is read live: its next offset, leader and log end."""

    __slots__ = (
        "catch_up_offset",
        "committed_offset",
        "end_offset",
        "is_dropped",
        "leader",
        "offset",
    )

    def __init__(self, offset: int, leader: int, catch_up_offset: int) -> None:
        super().__init__()
        self.offset = offset
        self.catch_up_offset = catch_up_offset  #: the offset at which this instance has caught up
        self.leader = leader
        self.end_offset = offset  #: the log's end, as the last fetch reported it
        self.committed_offset: int | None = None
        self.is_dropped = False  #: True once the topic was recreated or deactivated


class AssignedPartitions:
    """The partitions of the topics that an instance reads; those `asleep` it does not read now."""

    def __init__(self, topics: Iterable[str], idle_topics: Collection[str] = ()) -> None:
        self.topics = tuple(topics)
        self._idle_topics = idle_topics
        self.topic_ids: dict[str, uuid.UUID | None] = {}
        self.states: dict[TopicPartition, PartitionState] = {}
        self._initial: set[TopicPartition] | None = None
        self._known_leaders: dict[
            TopicPartition, int
        ] = {}  # and its leaders, when it was last looked

    def drop_recreated(self, descriptions: Mapping[str, TopicDescription]) -> list[str]:
        """Return the topics that are not the ones that were read; forget what was known of them."""
        recreated = [
            topic
            for topic, description in descriptions.items()
            if self.topic_ids.get(topic) is not None
            and description.topic_id != self.topic_ids[topic]
        ]
        for topic in recreated:
            self.drop_topic(topic)
        if self._initial:
            self._initial = {p for p in self._initial if p.topic not in recreated}
        return recreated

    def drop_topic(self, topic: str) -> None:
        """Read `topic` no more as it was; what is on its way of it is not taken."""
        for partition in [p for p in self.states if p.topic == topic]:
            self.states.pop(partition).is_dropped = True

    def is_known(self, topic: str) -> bool:
        """Whether `topic` was there when it was last looked."""
        return any(partition.topic == topic for partition in self._known_leaders)

    def update_metadata(
        self, descriptions: Mapping[str, TopicDescription], activating: Collection[str] = ()
    ) -> dict[TopicPartition, int]:
        """Take note of leaders; return the timestamps to ask for where reading has to begin."""
        leaders = {
            TopicPartition(topic, number): leader
            for topic, description in descriptions.items()
            for number, leader in description.leaders.items()
        }
        for topic, description in descriptions.items():
            self.topic_ids[topic] = description.topic_id
        for partition, state in self.states.items():
            state.leader = leaders.get(partition, -1)
        self._known_leaders = leaders
        if self._initial is None:
            self._initial = {p for p in leaders if p.topic not in self._idle_topics}
        from_end = self._initial
        return {
            p: LATEST if p in from_end or p.topic in activating else EARLIEST
            for p in leaders
            if p not in self.states and (p.topic in activating or p.topic not in self._idle_topics)
        }

    def start(
        self, partition: TopicPartition, offset: int, leader: int, catch_up_offset: int = 0
    ) -> None:
        """Read `partition` from `offset`; it has caught up at `catch_up_offset`."""
        if self._initial is not None:
            self._initial.discard(partition)
        self.states[partition] = PartitionState(offset, leader, catch_up_offset)

    @property
    def has_caught_up(self) -> bool:
        """Whether everything that existed at the start, and still does, has been caught up with."""
        return (
            self._initial is not None
            and not self._initial & self._known_leaders.keys()
            and all(
                r.offset >= r.catch_up_offset
                for p, r in self.states.items()
                if p in self._known_leaders
            )
        )

    def leader_of(self, partition: TopicPartition) -> int:
        """The node that leads `partition`, -1 where none does."""
        state = self.states.get(partition)
        if state is None:  # what is asleep can be looked back into
            return (
                self._known_leaders.get(partition, -1)
                if partition.topic in self._idle_topics
                else -1
            )
        return state.leader

    def position(self, partition: TopicPartition) -> int:
        """The next offset that is read of `partition`, -1 where it is not read."""
        state = self.states.get(partition)
        return -1 if state is None else state.offset

    def states_of(self, topic: str) -> dict[int, PartitionState]:
        """What is read of `topic`, by the numbers of its partitions."""
        return {p.number: state for p, state in self.states.items() if p.topic == topic}

    def led_by(self, node: int) -> dict[TopicPartition, PartitionState]:
        """The partitions that `node` leads."""
        return {p: state for p, state in self.states.items() if state.leader == node}

    def leader_nodes(self) -> set[int]:
        """The nodes that lead any of them."""
        return {state.leader for state in self.states.values() if state.leader >= 0}

    def uncommitted_offsets(self) -> dict[TopicPartition, int]:
        """The offsets that were moved since they were last committed."""
        return {p: r.offset for p, r in self.states.items() if r.offset != r.committed_offset}

    def mark_committed(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Take note that these were committed."""
        for partition, offset in offsets.items():
            if partition in self.states:
                self.states[partition].committed_offset = offset
