"""One instance that reads the world's topics at its own pace, and the passes that it has open.

What the bank that talks to Kafka does is done here by hand: the feed's part, and a pass's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from unittest import mock

from bridge.core import journal as journal_module
from bridge.core.journal import Journal
from bridge.core.protocol.cursor import TopicOffsets
from bridge.core.protocol.record import DecodedBatch
from bridge.core.replay.catchup import CatchUp
from bridge.core.replay.retention import ReplayLimits
from bridge.core.sessions.hub import Hub
from tests.core.factories import CURSOR_TIME, new_scan

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.core.replay.catchup import ScanState
    from bridge.core.sessions.session import Session
    from tests.core.replay_world import ReplayWorld, WorldPartition

#: Of Kafka's bytes, each event is so many.
EVENT_BYTES = 10
REPLAY_LIMITS = ReplayLimits(max_records=60, max_bytes=300)


class ReplayInstance:
    """A hub, and what feeds it."""

    def __init__(
        self, name: str, world: ReplayWorld, topics: Iterable[str], *, budget: int, ceiling: int
    ) -> None:
        self.world = world
        # So little memory that what happened a while ago is not there any more.
        with mock.patch.multiple(journal_module, MIN_BUDGET_BYTES=0, MAX_SEGMENT_BYTES=900):
            journal = Journal(budget)
        self.hub = Hub(
            name,
            dict.fromkeys(topics, False),
            heartbeat_seconds=1,
            max_outbox_bytes=ceiling,
            jitter=lambda seconds: seconds,
            wall_clock=lambda: CURSOR_TIME,
            journal=journal,
        )
        self.catch_up = CatchUp(self.hub, REPLAY_LIMITS, ceiling)
        self.scans: list[ScanState] = []
        self.discover()

    def read_place(self, topic: str) -> TopicOffsets:
        """Where it stands."""
        log = self.hub.topic_positions[topic]
        return TopicOffsets(log.topic_id, log.next_offsets)

    def floor(self, topic: str, partition: int) -> int:
        return self.hub.journal.start_offset(topic, partition)

    # -- the feed's part ---------------------------------------------------------------------------

    def discover(self, topic: str | None = None) -> None:
        """See what there is: all, at the start, from its end on; later what is new of a topic."""
        for name, world_topic in self.world.topics.items():
            if topic in {None, name}:
                is_same_topic = self.read_place(name).topic_id == world_topic.identity
                known_partitions = self.read_place(name).offsets.keys() if is_same_topic else ()
                begin = "end" if topic is None else "start"
                new = {
                    n: getattr(each, begin)
                    for n, each in world_topic.partitions.items()
                    if n not in known_partitions
                }
                if new or not is_same_topic:
                    self.hub.set_start_offsets(name, world_topic.identity, new)

    def _first(self, of: WorldPartition, at_the_start: bool) -> int:
        return of.end if at_the_start else of.start

    def is_reading(self, topic: str, partition: int = 0) -> bool:
        """Whether the topic is still the one that it reads, and it has seen the partition."""
        there = self.world.topics.get(topic)
        place = self.read_place(topic)
        return there is not None and place.topic_id == there.identity and partition in place.offsets

    def unreadable(self, topic: str, partition: int, offset: int) -> tuple[str, int] | None:
        """Why nothing can be read at `offset`, and where it can again."""
        partition_log = self.world.topics[topic].partitions[partition]
        if offset < partition_log.start:
            return "expired", partition_log.start
        corrupt_end = partition_log.corrupt_end(offset)
        return None if corrupt_end is None else ("corrupt", corrupt_end)

    def read(self, topic: str, partition: int, max_events: int) -> None:
        """Read at most so many events, or get past what can not be read."""
        offset = self.read_place(topic).offsets[partition]
        if obstacle := self.unreadable(topic, partition, offset):
            self.hub.skip_unreadable(topic, obstacle[0], {partition: obstacle[1]})
            return
        events, next_offset = (
            self.world.topics[topic].partitions[partition].read(offset, max_events)
        )
        self.hub.deliver_batch(
            DecodedBatch(topic, partition, [it.to_event() for it in events], next_offset, 0, [])
        )

    # -- a pass's part -----------------------------------------------------------------------------

    def start_scan(self, sessions: Iterable[Session]) -> None:
        """Begin a pass for these sessions."""
        group = list(sessions)
        scan = new_scan(self.catch_up, *group)
        assert all(self.catch_up.can_serve(scan, session) for session in group)
        self.scans.append(scan)

    def unread(self, scan: ScanState) -> list[tuple[str, int]]:
        """What a pass still has to read."""
        return sorted(key for key, place in scan.next_offsets.items() if place < self.floor(*key))

    def advance_scan(
        self, scan: ScanState, key: tuple[str, int], max_events: int, offsets_back: int
    ) -> set[Session]:
        """Continue a scan at an offset that is `offsets_back` earlier; return the released."""
        topic, partition = key
        next_to_read = scan.next_offsets[key]
        if not self.is_reading(*key):
            return set()
        if obstacle := self.unreadable(*key, next_to_read):
            reason = None if obstacle[0] == "expired" else obstacle[0]
            return set(self.catch_up.drop_partition(scan, topic, partition, reason))
        partition_log = self.world.topics[topic].partitions[partition]
        first_offset = max(next_to_read - offsets_back, partition_log.start)
        if any(partition_log.corrupt_end(offset) for offset in range(first_offset, next_to_read)):
            first_offset = next_to_read
        events, next_offset = partition_log.read(first_offset, max_events)
        scan.bytes_by_topic[topic] += EVENT_BYTES * len(events)
        routed = DecodedBatch(
            topic, partition, [it.to_event() for it in events], next_offset, 0, []
        )
        return set(self.catch_up.deliver_scanned(scan, routed))

    def end_scan(self, scan: ScanState) -> None:
        """End a pass, wherever it is."""
        self.scans.remove(scan)
        for key, stretch in scan.backfills.items():
            self.hub.journal.prepend_backfill(*key, stretch)
        for session in tuple(scan.subscriptions.all_sessions):
            self.catch_up.leave_scan(session)
