"""Where each partition is read from: at the start, when it is added, when its topic is new.

Rules: partitions that exist at the start are read from the end, or a warm-up time before it. Later
ones and recreated topics are read from the beginning: nobody has seen their records. An activated
topic is read from the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from bridge.kafka.client.client import EARLIEST, LATEST, TopicPartition
from bridge.kafka.partition_reader import ReadProgress

if TYPE_CHECKING:
    import uuid
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from bridge.kafka.client.client import TopicDescription


class PartitionState(ReadProgress):
    """One partition that is read live: its next offset, leader and log end.

    It is read from its leader, or from the replica in our rack that the leader has named (KIP-392).
    """

    __slots__ = (
        "catch_up_offset",
        "committed_offset",
        "end_offset",
        "is_dropped",
        "leader",
        "node",
        "offset",
    )

    def __init__(self, offset: int, leader: int, catch_up_offset: int) -> None:
        super().__init__()
        self.offset = offset
        self.catch_up_offset = catch_up_offset  #: the offset at which this instance has caught up
        self.leader = leader
        self.node = leader  #: the node that it is read from
        self.end_offset = offset  #: the log's end, as the last fetch reported it
        self.committed_offset: int | None = None
        self.is_dropped = False  #: True once the topic was recreated or deactivated

    @property
    def reads_follower(self) -> bool:
        """Whether it is read from a replica that does not lead it."""
        return self.node != self.leader

    def set_leader(self, leader: int, in_sync_replicas: Sequence[int]) -> None:
        """Apply what the metadata says. A follower that lags is not read any more."""
        if leader != self.leader or self.node not in in_sync_replicas:
            self.node = leader
        self.leader = leader

    def read_from_leader(self) -> None:
        """Read on from the leader, which has all that a follower may lack."""
        self.node = self.leader
        self.failed_attempts = 0


#: A partition that cannot be read for this long keeps nobody waiting any more.
WAITING_AFTER_SECONDS: Final = 5.0


#: A topic that is missing in the metadata for this long was deleted.
DELETED_AFTER_SECONDS: Final = 2.0


class WarmUpLimits(NamedTuple):
    """How much all partitions together may read back at the start."""

    max_bytes: int
    max_records: int


NO_WARM_UP_LIMITS: Final = WarmUpLimits(1 << 62, 1 << 62)


class WarmUpBudget:
    """Keeps what is read back at the start within limits, whatever the stamps of records say.

    Kafka finds a start by the stamps of producers. One wrong stamp can make it the whole log.
    """

    def __init__(self, limits: WarmUpLimits = NO_WARM_UP_LIMITS) -> None:
        self.remaining_bytes = limits.max_bytes
        self._remaining_records = limits.max_records
        #: By partition: where its present stretch begins, and the bytes read since.
        self._stretches: dict[TopicPartition, tuple[int, int]] = {}

    @property
    def is_used_up(self) -> bool:
        """Whether every partition has caught up, or has no more than its end to read."""
        return not self._stretches

    def limit(
        self, start_offsets: Mapping[TopicPartition, int], end_offsets: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, int]:
        """Return these start offsets, raised so that they fit into the limits."""
        behind = [p for p, offset in start_offsets.items() if offset < end_offsets[p]]
        limited = dict(start_offsets)
        for left, partition in enumerate(sorted(behind, key=start_offsets.__getitem__)):
            share = self._remaining_records // (len(behind) - left)
            end = end_offsets[partition]
            limited[partition] = max(start_offsets[partition], end - share)
            if self.remaining_bytes <= 0:
                limited[partition] = end
            self._remaining_records -= end - limited[partition]
            if limited[partition] < end:
                self._stretches[partition] = (limited[partition], 0)
        return limited

    def count(self, partition: TopicPartition, size_bytes: int) -> None:
        """Count what was fetched of `partition`."""
        if (stretch := self._stretches.get(partition)) is not None:
            self.remaining_bytes -= size_bytes
            self._stretches[partition] = (stretch[0], stretch[1] + size_bytes)

    def remove_topic(self, topic: str) -> None:
        """Forget what was read back of `topic`."""
        for partition in [p for p in self._stretches if p.topic == topic]:
            del self._stretches[partition]

    def pop_skips(
        self, states: Mapping[TopicPartition, PartitionState]
    ) -> dict[TopicPartition, int]:
        """Return later offsets at which those of `states` continue that exceed their share."""
        skips: dict[TopicPartition, int] = {}
        for partition, state in states.items():
            if partition not in self._stretches:
                continue
            begin, size_bytes = self._stretches[partition]
            missing = state.catch_up_offset - state.offset
            share = max(0, self.remaining_bytes) // len(self._stretches)
            affordable = missing
            if not share:
                affordable = 0
            elif size_bytes:
                affordable = int(share * max(1, state.offset - begin) / size_bytes)
            if missing > max(affordable, 0):
                # Half of it: the records that follow may be larger than those before.
                skips[partition] = state.catch_up_offset - affordable // 2
                self._stretches[partition] = (skips[partition], 0)
            if skips.get(partition, state.offset) >= state.catch_up_offset:
                del self._stretches[partition]
        return skips


class AssignedPartitions:
    """The partitions of an instance's topics. Those of `idle_topics` are not read now."""

    def __init__(
        self,
        topics: Iterable[str],
        idle_topics: Collection[str] = (),
        warm_up_limits: WarmUpLimits = NO_WARM_UP_LIMITS,
        required_topics: Collection[str] = (),
    ) -> None:
        """Partitions of `required_topics` must be read before the instance is ready."""
        self.warm_up = WarmUpBudget(warm_up_limits)
        self._required_topics = required_topics
        #: Topics that existed and are missing in the metadata, since when on the loop's clock.
        self._missing_since: dict[str, float] = {}
        #: Those that are missing for so long that they were deleted.
        self.deleted_topics: set[str] = set()
        #: By partition that cannot be read now: since when, on the loop's clock.
        self._unreadable_since: dict[TopicPartition, float] = {}
        #: Those of them that keep nobody from being ready any more.
        self.waiting: set[TopicPartition] = set()
        self.topics = dict.fromkeys(topics)
        self.generation = 0  #: raised with each topic that is added or removed
        self._from_beginning: set[str] = set()
        self._idle_topics = idle_topics
        self.topic_ids: dict[str, uuid.UUID | None] = {}
        self.states: dict[TopicPartition, PartitionState] = {}
        self._initial: set[TopicPartition] | None = None
        #: The leaders in the last metadata.
        self._known_leaders: dict[TopicPartition, int] = {}

    def drop_recreated(self, descriptions: Mapping[str, TopicDescription]) -> list[str]:
        """Return the topics that have another id than before, and drop their state."""
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

    def add_topic(self, topic: str, *, from_beginning: bool) -> None:
        """Assign `topic`, which must be among the idle ones until it is activated.

        It is then read from its end, or `from_beginning`.
        """
        self.generation += 1
        self.topics[topic] = None
        if from_beginning:
            self._from_beginning.add(topic)

    def remove_topic(self, topic: str) -> None:
        """Forget `topic`. Responses in flight for it are discarded."""
        self.generation += 1
        self.topics.pop(topic, None)
        self._from_beginning.discard(topic)
        self.drop_topic(topic)
        self.topic_ids.pop(topic, None)
        self._missing_since.pop(topic, None)
        self.deleted_topics.discard(topic)
        self.warm_up.remove_topic(topic)
        self.waiting = {p for p in self.waiting if p.topic != topic}
        for by_partition in (self._unreadable_since, self._known_leaders):
            for partition in [p for p in by_partition if p.topic == topic]:
                del by_partition[partition]
        if self._initial is not None:
            self._initial = {p for p in self._initial if p.topic != topic}

    def drop_topic(self, topic: str) -> None:
        """Stop reading `topic`. Responses in flight for it are discarded."""
        for partition in [p for p in self.states if p.topic == topic]:
            self.states.pop(partition).is_dropped = True

    def is_known(self, topic: str) -> bool:
        """Whether `topic` was in the last metadata."""
        return any(partition.topic == topic for partition in self._known_leaders)

    def update_metadata(
        self, descriptions: Mapping[str, TopicDescription], activating: Collection[str] = ()
    ) -> dict[TopicPartition, int]:
        """Apply new leaders; return the timestamps that partitions must start at."""
        leaders = {
            TopicPartition(topic, number): leader
            for topic, description in descriptions.items()
            for number, leader in description.leaders.items()
        }
        for topic, description in descriptions.items():
            self.topic_ids[topic] = description.topic_id
        for partition, state in self.states.items():
            known = descriptions.get(partition.topic)
            in_sync = () if known is None else known.in_sync_replicas.get(partition.number, ())
            state.set_leader(leaders.get(partition, -1), in_sync)
        self._known_leaders = leaders
        if self._initial is None:
            self._initial = {p for p in leaders if p.topic not in self._idle_topics}
        from_end = self._initial
        return {
            p: LATEST
            if p in from_end or (p.topic in activating and p.topic not in self._from_beginning)
            else EARLIEST
            for p in leaders
            if p not in self.states and (p.topic in activating or p.topic not in self._idle_topics)
        }

    def start(
        self, partition: TopicPartition, offset: int, leader: int, catch_up_offset: int = 0
    ) -> None:
        """Read `partition` from `offset`. It has caught up at `catch_up_offset`."""
        if self._initial is not None:
            self._initial.discard(partition)
        self._from_beginning.discard(partition.topic)
        self.states[partition] = PartitionState(offset, leader, catch_up_offset)

    @property
    def has_caught_up(self) -> bool:
        """Whether all partitions that existed at the start have caught up, or wait for a leader."""
        awaited = self._known_leaders.keys() - self.waiting
        return (
            self._initial is not None
            and not self._initial & awaited
            and all(r.offset >= r.catch_up_offset for p, r in self.states.items() if p in awaited)
        )

    def update_missing(
        self, descriptions: Mapping[str, TopicDescription], now: float
    ) -> tuple[list[str], list[str]]:
        """Return the topics that count as deleted from now on, and those that no longer do.

        The metadata of one broker may be older than a topic, so one look is not enough.
        """
        missing = self.topic_ids.keys() - descriptions.keys()
        self._missing_since = {t: self._missing_since.get(t, now) for t in missing}
        before = self.deleted_topics
        self.deleted_topics = {
            t for t, since in self._missing_since.items() if now - since >= DELETED_AFTER_SECONDS
        }
        return sorted(self.deleted_topics - before), sorted(before - self.deleted_topics)

    def absent_topics(self, descriptions: Mapping[str, TopicDescription]) -> set[str]:
        """Return the topics that never existed, or were deleted."""
        missing = self.topics.keys() - descriptions.keys()
        return {t for t in missing if t not in self.topic_ids or t in self.deleted_topics}

    def update_waiting(self, now: float) -> None:
        """Let partitions wait that nobody could read for `WAITING_AFTER_SECONDS`.

        A partition cannot be read if it has no leader, or was never read and its leader does not
        answer. Call this after each change of leaders and after each start.
        """
        unreadable = {
            p
            for p, leader in self._known_leaders.items()
            if (leader < 0 or p not in self.states)
            and p.topic not in self._idle_topics
            and p.topic not in self._required_topics
        }
        self._unreadable_since = {p: self._unreadable_since.get(p, now) for p in unreadable}
        self.waiting = {
            p for p in unreadable if self.unread_seconds(p, now) >= WAITING_AFTER_SECONDS
        }

    def unread_seconds(self, partition: TopicPartition, now: float) -> float:
        """For how long `partition` could not be read; 0 if it can."""
        return now - self._unreadable_since.get(partition, now)

    def is_initial(self, partition: TopicPartition) -> bool:
        """Whether `partition` existed at the start and was not read since."""
        return self._initial is not None and partition in self._initial

    def leader_of(self, partition: TopicPartition) -> int:
        """The node that leads `partition`, or -1 if none does."""
        state = self.states.get(partition)
        if state is None:  # replays and history also read idle topics
            return (
                self._known_leaders.get(partition, -1)
                if partition.topic in self._idle_topics
                else -1
            )
        return state.leader

    def node_of(self, partition: TopicPartition) -> int:
        """The node that `partition` is read from, or -1 if it has no leader."""
        state = self.states.get(partition)
        return self.leader_of(partition) if state is None else state.node

    def position(self, partition: TopicPartition) -> int:
        """The next offset of `partition`, or -1 if it is not read."""
        state = self.states.get(partition)
        return -1 if state is None else state.offset

    def states_of(self, topic: str) -> dict[int, PartitionState]:
        """The partitions of `topic` that are read, by their numbers."""
        return {p.number: state for p, state in self.states.items() if p.topic == topic}

    def read_from(self, node: int) -> dict[TopicPartition, PartitionState]:
        """The partitions that are read from `node`."""
        return {p: state for p, state in self.states.items() if state.node == node}

    def nodes(self) -> set[int]:
        """The nodes that at least one partition is read from."""
        return {state.node for state in self.states.values() if state.node >= 0}

    def uncommitted_offsets(self) -> dict[TopicPartition, int]:
        """The offsets that have changed since the last commit."""
        return {p: r.offset for p, r in self.states.items() if r.offset != r.committed_offset}

    def mark_committed(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Exclude these offsets from the next commit, unless they change."""
        for partition, offset in offsets.items():
            if partition in self.states:
                self.states[partition].committed_offset = offset
