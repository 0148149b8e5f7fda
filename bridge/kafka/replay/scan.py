"""One scan of a range of Kafka's records, shared by all sessions that need it.

Rules: it reads from the sessions' lowest offset up to the journal, and stores what it reads there.
It releases sessions that have all they need, and ends with the last. Partitions fail separately.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from bridge.core.protocol.record import Batch
from bridge.core.replay.catchup import ScanState
from bridge.kafka.client.client import (
    REQUEST_ERRORS,
    BrokerConnection,
    TopicPartition,
)
from bridge.kafka.partition_reader import (
    RETRY_SECONDS,
    PartitionReader,
    ReadProgress,
    ReadStatus,
)

if TYPE_CHECKING:
    import uuid
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence

    from bridge.core.protocol.record import DecodedBatch, Record
    from bridge.core.protocol.topic_catalogue import TopicCatalogue
    from bridge.core.replay.catchup import CatchUp
    from bridge.core.sessions.session import Session
    from bridge.kafka.client.client import FetchedPartition, KafkaClient
    from bridge.kafka.client.records.record_batches import RecordChunk


class NodesOfPartitions(Protocol):
    """Where partitions can be read. Both return -1 if a partition has no leader."""

    def leader_of(self, partition: TopicPartition) -> int:
        """The node that leads `partition`."""

    def node_of(self, partition: TopicPartition) -> int:
        """The node that the consumer reads it from: the leader, or a replica in our rack."""


class NodeChoice:
    """Chooses the nodes that one reader reads from: the consumer's, or leaders after a failure.

    Rule: no answer of a follower is final. It may lack what its leader has (KIP-392).
    """

    def __init__(self, partitions: NodesOfPartitions) -> None:
        self._partitions = partitions
        self._from_leader: set[TopicPartition] = set()

    def node_of(self, partition: TopicPartition) -> int:
        """The node to read `partition` from, or -1 if it has no leader."""
        if partition in self._from_leader:
            return self._partitions.leader_of(partition)
        return self._partitions.node_of(partition)

    def leave_follower(self, partition: TopicPartition) -> bool:
        """Read `partition` from its leader from now on; return whether that is another node."""
        is_follower = self.node_of(partition) != self._partitions.leader_of(partition)
        if is_follower:
            self._from_leader.add(partition)
        return is_follower


class ScanSource:
    """What scans read from: the brokers, with the consumer's metadata. Counts records and bytes."""

    def __init__(
        self,
        client: KafkaClient,
        catalogue: TopicCatalogue,
        topic_ids: Mapping[str, uuid.UUID | None],
        partitions: NodesOfPartitions,
        decode: Callable[[Batch], DecodedBatch],
    ) -> None:
        """`topic_ids` and `partitions` are the consumer's."""
        self.client = client
        self.public_names = catalogue.public_names
        self.kafka_names = catalogue.kafka_names
        self.topic_ids = topic_ids
        self.partitions = partitions
        self.decode = decode
        self.records_read = self.bytes_read = self.scans_started = 0


_log = logging.getLogger(__name__)

MAX_SCAN_FETCH_BYTES = 2 * 1024 * 1024
#: Most frames that are sent before the event loop gets a turn.
MAX_PORTION_FRAMES = 10_000
_GAP_REASONS: Final = {ReadStatus.UNREADABLE: "corrupt", ReadStatus.TOO_LARGE: "limit"}


class ReleaseSessions(Protocol):
    """Returns sessions to the scheduler. With `outbox_full`, their clients must read first."""

    def __call__(self, sessions: Iterable[Session], *, outbox_full: bool) -> None: ...  # noqa: D102


class Scan:
    """A scan from `start_offsets`, by public topic and partition. `add` adds sessions to it."""

    def __init__(
        self,
        catch_up: CatchUp,
        source: ScanSource,
        start_offsets: Mapping[tuple[str, int], int],
        *,
        release: ReleaseSessions,
    ) -> None:
        self._catch_up = catch_up
        self._journal = catch_up.journal
        self._source = source
        self._release = release
        # The journal may hold some partitions completely by now.
        start_offsets = {
            key: offset
            for key, offset in start_offsets.items()
            if offset < self._journal.start_offset(*key)
        }
        self._state = ScanState(start_offsets)
        self._tails = {key: self._journal.partition(*key) for key in start_offsets}
        for key, offset in start_offsets.items():
            self._state.backfills[key] = self._journal.start_backfill(offset)
        self._remaining_topics = {topic for topic, _ in start_offsets}  # not read completely yet
        self._reader = PartitionReader(source.client, "replay", RETRY_SECONDS)
        self._nodes = NodeChoice(source.partitions)
        self._progress: defaultdict[TopicPartition, ReadProgress] = defaultdict(ReadProgress)
        self._chunks_read = 0

    @property
    def sessions(self) -> Iterable[Session]:
        """The sessions in this scan."""
        return tuple(self._state.subscriptions.all_sessions)

    @property
    def remaining_records(self) -> int:
        """The approximate number of records that are not read yet."""
        next_offsets = self._state.next_offsets.items()
        return sum(
            max(0, self._journal.start_offset(*key) - offset) for key, offset in next_offsets
        )

    @property
    def fits_journal(self) -> bool:
        """Whether the journal still holds everything that this scan has read."""
        return all(map(self._journal.has_backfill, self._state.backfills.values()))

    def accepts(self, session: Session) -> bool:
        """Whether `session` can still join."""
        return self._catch_up.can_serve(self._state, session)

    def will_cover(self, missing: Mapping[tuple[str, int], tuple[int, int]]) -> bool:
        """Whether the journal will hold `missing` after this scan, unless it drops records."""
        return all(
            key in self._state.next_offsets
            and self._state.start_offsets[key] <= start_offset
            and self._journal.has_backfill(self._state.backfills[key])
            for key, (start_offset, _) in missing.items()
        )

    def add(self, session: Session) -> None:
        """Serve `session` too. Its replay must have started."""
        self._catch_up.join_scan(self._state, session)

    async def run(self, flush: Callable[[], Awaitable[None]], stall_seconds: float) -> None:
        """Read until the journal has the rest, or no session is left.

        Raises:
            TimeoutError: If nothing could be read for `stall_seconds` seconds.

        Cancellation: safe; the sessions stay where they are.
        """
        now = asyncio.get_running_loop().time
        progressed_at = now()
        try:
            while offsets := self._offsets_to_read():
                chunks_before = self._chunks_read
                await self._fetch(offsets, flush)
                if self._chunks_read > chunks_before:
                    progressed_at = now()
                elif now() - progressed_at > stall_seconds:
                    raise TimeoutError(f"nothing could be read for {stall_seconds:g} s")
                else:
                    await asyncio.sleep(RETRY_SECONDS)
        finally:
            self._release_replaced_logs()
            for key, stretch in self._state.backfills.items():
                self._journal.prepend_backfill(*key, stretch)

    def _offsets_to_read(self) -> dict[TopicPartition, int]:
        """Return the next offsets of unfinished partitions, those with the fewest records first.

        Sessions that need none of these partitions are released.
        """
        self._release_replaced_logs()
        for key in [key for key in self._state.next_offsets if self._catch_up.is_waiting(*key)]:
            # Nobody can read it now. Its sessions go on without it.
            self._journal.remove_backfill(self._state.backfills.pop(key))
            self._release(self._catch_up.drop_partition(self._state, *key, None), outbox_full=False)
        remaining = {
            key: self._journal.start_offset(*key) - offset
            for key, offset in self._state.next_offsets.items()
        }
        keys = sorted((key for key in remaining if remaining[key] > 0), key=remaining.__getitem__)
        topics = {topic for topic, _ in keys}
        if topics != self._remaining_topics:
            self._remaining_topics = topics
            finished = [session for session in self.sessions if topics.isdisjoint(session.topics)]
            for session in finished:
                self._catch_up.leave_scan(session)
            self._release(finished, outbox_full=False)
        if not self._state.subscriptions.all_sessions:
            return {}
        offsets: dict[TopicPartition, int] = {}
        for topic, number in keys:
            partition = TopicPartition(self._source.kafka_names[topic], number)
            offset = self._state.next_offsets[topic, number]
            offsets[partition] = min(offset, offsets.get(partition, offset))
        return offsets

    def _release_replaced_logs(self) -> None:
        """Drop partitions whose log was replaced: it may be a recreated topic of the same name."""
        for key in tuple(self._state.next_offsets):
            if not self._is_same_log(key):
                self._journal.remove_backfill(self._state.backfills.pop(key))
                self._release(
                    self._catch_up.drop_partition(self._state, *key, None), outbox_full=False
                )

    def _is_same_log(self, key: tuple[str, int]) -> bool:
        return self._journal.is_current(*key, self._tails[key])

    def _public_key(self, partition: TopicPartition) -> tuple[str, int] | None:
        """Return the public topic and the number of `partition`; None if it is not read now."""
        key = self._source.public_names.get(partition.topic, ""), partition.number
        is_read = key in self._state.next_offsets and self._is_same_log(key)
        return key if is_read else None

    async def _fetch(
        self, offsets: Mapping[TopicPartition, int], flush: Callable[[], Awaitable[None]]
    ) -> None:
        now = asyncio.get_running_loop().time
        by_node: dict[int, dict[TopicPartition, int]] = {}
        for partition, offset in offsets.items():
            if self._progress[partition].paused_until <= now():
                by_node.setdefault(self._nodes.node_of(partition), {})[partition] = offset
        by_node.pop(-1, None)
        for node, node_offsets in by_node.items():
            try:
                fetched_partitions = await self._source.client.fetch(
                    node,
                    node_offsets,
                    self._source.topic_ids,
                    # Below the limit of every session, plus the one batch that Kafka adds.
                    max_bytes=max(
                        1, min(MAX_SCAN_FETCH_BYTES, self._catch_up.remaining_bytes(self._state))
                    ),
                    wait_ms=0,
                    connection=BrokerConnection.REPLAY,
                )
            except REQUEST_ERRORS as error:
                _log.debug("replay: node %d: %r", node, error)
                for partition in node_offsets:
                    self._nodes.leave_follower(partition)
                    self._progress[partition].pause(RETRY_SECONDS)
                continue
            for fetched in fetched_partitions:
                self._source.bytes_read += len(fetched.data)
                if (key := self._public_key(fetched.partition)) is not None:
                    self._state.bytes_by_topic[key[0]] += len(fetched.data)
                await self._handle_fetched(fetched, flush)
            if over_limit := self._catch_up.sessions_over_byte_limit(self._state):
                for session in over_limit:
                    self._catch_up.send_limit_gaps(session)
                self._release(over_limit, outbox_full=False)

    async def _handle_fetched(
        self, fetched: FetchedPartition, flush: Callable[[], Awaitable[None]]
    ) -> None:
        partition = fetched.partition
        if self._public_key(partition) is None:
            return  # replaced while the response was in flight
        result = await self._reader.read(
            fetched, self._progress[partition], partial(self._add_chunk, partition, flush)
        )
        if result.status is not ReadStatus.READ and self._nodes.leave_follower(partition):
            self._progress[partition].failed_attempts = 0
        elif result.status is ReadStatus.OUT_OF_RANGE:
            # Sessions that need it are admitted anew: their offset is not in the log now.
            self._drop_partition(partition, None)
        elif gap_reason := _GAP_REASONS.get(result.status):
            _log.error("replay: %s:%d cannot be read: %s", *partition, result.reason)
            self._drop_partition(partition, gap_reason)

    async def _add_chunk(
        self,
        partition: TopicPartition,
        flush: Callable[[], Awaitable[None]],
        chunk: RecordChunk,
        offset: int,
    ) -> bool:
        """Send a chunk to the sessions; return whether any of them needs more."""
        self._chunks_read += 1
        self._source.records_read += len(chunk.records)
        for records, next_offset in self._portions(chunk):
            key = self._public_key(partition)
            # A topic whose journal start has moved up needs earlier offsets first.
            if key is not None and self._state.next_offsets[key] < offset:
                key = None
            if key is not None:
                decoded = self._source.decode(Batch(*key, records, next_offset))
                if blocked := self._catch_up.deliver_scanned(self._state, decoded):
                    self._release(blocked, outbox_full=True)
            offset = next_offset
            await asyncio.sleep(0)
        await flush()
        has_sessions = key is not None and bool(self._state.subscriptions.all_sessions)
        return has_sessions and self._has_more(partition)

    def _portions(self, chunk: RecordChunk) -> Iterator[tuple[Sequence[Record], int]]:
        """Yield the records of `chunk` in portions, each with the offset that follows it.

        Each record may go to every session, so portions are smaller with more sessions.
        """
        size = max(1, MAX_PORTION_FRAMES // max(1, len(self._state.subscriptions.all_sessions)))
        end = len(chunk.records)
        for stop in range(size, end, size):
            yield chunk.records[stop - size : stop], chunk.records[stop].offset
        yield chunk.records[(end - 1) // size * size if end else 0 :], chunk.next_offset

    def _has_more(self, partition: TopicPartition) -> bool:
        """Whether `partition` has records below the journal that are not read yet."""
        key = self._public_key(partition)
        return key is not None and self._state.next_offsets[key] < self._journal.start_offset(*key)

    def _drop_partition(self, partition: TopicPartition, reason: str | None) -> None:
        if (key := self._public_key(partition)) is not None:
            self._release(
                self._catch_up.drop_partition(self._state, *key, reason), outbox_full=False
            )
