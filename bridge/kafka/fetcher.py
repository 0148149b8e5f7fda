"""Fetches the partitions of one broker, one request after another, and delivers their records.

Rules: no record or batch stops the ones behind it. The next request waits until the sink has
accepted the records: that is the back-pressure.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from bridge.core.protocol.cursor import TOPIC_ID_BYTES
from bridge.core.protocol.record import Batch
from bridge.kafka.client.client import EARLIEST, LATEST, REQUEST_ERRORS
from bridge.kafka.client.fetch_sessions import FetchSession
from bridge.kafka.client.records.record_batches import MAX_CHUNK_BYTES, MAX_CHUNK_RECORDS
from bridge.kafka.partition_reader import (
    MAX_ATTEMPTS,
    RETRY_SECONDS,
    PartitionReader,
    ReadStatus,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from bridge.kafka.client.client import FetchedPartition, KafkaClient, TopicPartition
    from bridge.kafka.client.records.record_batches import RecordChunk
    from bridge.kafka.partition_reader import ReadResult
    from bridge.kafka.partitions import AssignedPartitions, PartitionState


class RecordSink(Protocol):
    """Receives records and gaps. All topic names are public ones."""

    def start_reading(self, topic: str, topic_id: bytes, offsets: Mapping[int, int]) -> None:
        """Start at `offsets`. The topic is new or recreated, or has these new partitions."""

    def report_gap(self, topic: str, reason: str, offsets: Mapping[int, int]) -> None:
        """Report that records below `offsets` cannot be read. `reason` is a gap reason."""

    def set_waiting(
        self, topic: str, topic_id: bytes, since: Mapping[int, float], unread: Mapping[int, int]
    ) -> None:
        """Report all partitions that wait for a leader, and since when.

        `unread` are those that were never read, with the time of the last look at them. Times are
        in seconds since 1970.
        """

    def deactivate(self, topic: str, topic_id: bytes) -> None:
        """Report that an on-demand topic is not read now, and its current id."""

    def deliver(self, batches: Sequence[Batch]) -> Awaitable[None]:
        """Deliver records, in order per partition. The fetcher awaits this: its back-pressure."""


class PendingBatches:
    """Collects batches, so that the sink receives them together."""

    def __init__(self, sink: RecordSink) -> None:
        self._sink = sink
        self._batches: list[tuple[Batch, PartitionState]] = []
        self._record_count = self._size_bytes = 0
        self.total_records = 0  #: all records since this object was created

    def add(self, batch: Batch, state: PartitionState, size_bytes: int) -> None:
        """Append `batch`, of about `size_bytes`, to the next delivery.

        It is left out if `state`, its partition's, is dropped before.
        """
        self._batches.append((batch, state))
        self._size_bytes += size_bytes
        self._record_count += len(batch.records)
        self.total_records += len(batch.records)

    @property
    def is_full(self) -> bool:
        """Whether to deliver before more is added."""
        return self._record_count >= MAX_CHUNK_RECORDS or self._size_bytes >= MAX_CHUNK_BYTES

    async def deliver(self) -> None:
        """Deliver the collected batches, and wait until the sink has accepted them."""
        if self._batches:
            batches = [batch for batch, state in self._batches if not state.is_dropped]
            self._batches = []
            self._record_count = self._size_bytes = 0
            await self._sink.deliver(batches)


_log = logging.getLogger(__name__)


class FetchErrors:
    """Reacts to what live reading cannot read: skips it with a gap, or requests new metadata."""

    def __init__(
        self,
        client: KafkaClient,
        public_names: Mapping[str, str],
        sink: RecordSink,
        refresh_requested: asyncio.Event,
    ) -> None:
        """`refresh_requested` is set to request new metadata."""
        self._client = client
        self._public_names = public_names
        self._sink = sink
        self._refresh_requested = refresh_requested

    async def handle(
        self, fetched: FetchedPartition, state: PartitionState, result: ReadResult
    ) -> None:
        """React to a result other than `READ`."""
        match result.status:
            case ReadStatus.OUT_OF_RANGE:
                await self._handle_out_of_range(fetched.partition, state)
            case ReadStatus.UNREADABLE:
                self.skip_unreadable(fetched, state, result, "corrupt")
            case ReadStatus.TOO_LARGE:
                self.skip_unreadable(fetched, state, result, "limit")
            case ReadStatus.RETRY if fetched.error_code:
                self._refresh_requested.set()

    def skip_unreadable(
        self,
        fetched: FetchedPartition,
        state: PartitionState,
        result: ReadResult,
        gap_reason: str,
    ) -> None:
        """Continue behind the batch at `state.offset`, which cannot be read; tell a gap.

        If its end is unknown, each call skips twice as many offsets as the one before, up to an
        offset that can be read.
        """
        resume_offset, max_offset = result.next_offset, result.max_offset
        if resume_offset is None:
            resume_offset = state.offset + 2 ** max(0, state.failed_attempts - MAX_ATTEMPTS)
        if max_offset is None and fetched.high_watermark > state.offset:
            max_offset = fetched.high_watermark
        resume_offset = resume_offset if max_offset is None else min(resume_offset, max_offset)
        _log.error(
            "%s:%d: %s; skipping offsets %d to %d",
            *fetched.partition,
            result.reason,
            state.offset,
            resume_offset - 1,
        )
        self._skip(fetched.partition, state, gap_reason, resume_offset)

    async def _handle_out_of_range(self, partition: TopicPartition, state: PartitionState) -> None:
        leaders = {partition: state.leader}
        try:
            start_offset = (await self._client.list_offsets({partition: EARLIEST}, leaders)).get(
                partition
            )
            end_offset = (await self._client.list_offsets({partition: LATEST}, leaders)).get(
                partition
            )
        except REQUEST_ERRORS:
            start_offset = end_offset = None
        if start_offset is not None and state.offset < start_offset:
            _log.error("%s:%d: offsets below %d have expired unread", *partition, start_offset)
            self._skip(partition, state, "expired", start_offset)
        elif end_offset is not None and state.offset > end_offset:
            _log.error("%s:%d: the log was truncated at %d", *partition, end_offset)
            self._skip(partition, state, "truncated", end_offset)
        else:
            state.pause(RETRY_SECONDS)

    def _skip(
        self, partition: TopicPartition, state: PartitionState, reason: str, offset: int
    ) -> None:
        if state.is_dropped:
            return  # the topic was recreated or deactivated during the request
        state.offset, state.batch_end = offset, -1
        if reason == "truncated":  # the records up to the catch-up offset do not exist any more
            state.catch_up_offset = min(state.catch_up_offset, offset)
        name = self._public_names[partition.topic]
        self._sink.report_gap(name, reason, {partition.number: offset})


MAX_FETCH_BYTES: Final = 8 * 1024 * 1024
#: After a replica in our rack has failed, leaders are not told the rack for this long. They would
#: name the same replica again: they learn later that it is gone.
FOLLOWER_RETRY_SECONDS: Final = 30.0
#: Fetches are at least this far apart. Records that arrive meanwhile share one response.
MIN_FETCH_INTERVAL_SECONDS: Final = 0.004
#: After a fetch of fewer records, the next one also waits as long as their delivery took, at most
#: `MAX_SMALL_FETCH_DELAY_SECONDS`. Ten joined frames cost a socket hardly more than one.
SMALL_FETCH_RECORDS: Final = 10
MAX_SMALL_FETCH_DELAY_SECONDS: Final = 0.005


def fetch_delay(request_seconds: float, delivery_seconds: float, record_count: int) -> float:
    """Return the seconds to wait before the next fetch. Zero or less means no wait.

    The last fetch took `request_seconds`, including the delivery of its records to the sink.
    """
    min_delay_seconds = MIN_FETCH_INTERVAL_SECONDS - request_seconds
    return (
        max(min_delay_seconds, min(delivery_seconds, MAX_SMALL_FETCH_DELAY_SECONDS))
        if record_count < SMALL_FETCH_RECORDS
        else min_delay_seconds
    )


class Fetcher:
    """Reads `partitions`. `public_names` maps Kafka's topic names to the public ones."""

    def __init__(
        self,
        client: KafkaClient,
        partitions: AssignedPartitions,
        public_names: Mapping[str, str],
        sink: RecordSink,
        fetch_errors: FetchErrors,
        *,
        on_reachable: Callable[[], None],
        request_refresh: Callable[[], None],
        on_delivered: Callable[[], None],
    ) -> None:
        """Callbacks: a broker has answered; other nodes are to be read; records were delivered."""
        self._warm_up = partitions.warm_up
        self._client = client
        self._partitions = partitions
        self._public_names = public_names
        self._sink = sink
        self._fetch_errors = fetch_errors
        self._reader = PartitionReader(client, "live", RETRY_SECONDS)
        self._on_reachable = on_reachable
        self._request_refresh = request_refresh
        self._rack_hidden_until = float("-inf")  # on the loop's clock
        self._on_delivered = on_delivered
        self._rotation = 0
        self.internal_errors = 0  #: unexpected exceptions that reading survived

    async def fetch_from(self, node: int) -> None:
        """Read those partitions that are read from `node`, until there are none.

        Cancellation: safe. Records that were not delivered are fetched again by the next loop.
        """
        try:
            await self._fetch_loop(node)
        except Exception:  # noqa: BLE001 - logged, counted and restarted
            # A bug must not end the stream. The next metadata refresh starts this loop again.
            _log.exception("reading from node %d failed", node)
            self.internal_errors += 1

    async def _fetch_loop(self, node: int) -> None:
        now = asyncio.get_running_loop().time
        session: FetchSession[TopicPartition] = FetchSession()
        while states := self._partitions.read_from(node):
            requested_at = now()
            offsets = {p: r.offset for p, r in states.items() if r.paused_until <= requested_at}
            if not offsets:
                await asyncio.sleep(RETRY_SECONDS / 2)
                continue
            try:
                fetched_partitions = await self._fetch(node, offsets, session)
            except REQUEST_ERRORS as error:
                _log.debug("node %d: %r", node, error)
                self._leave_followers(states.values())
                self._request_refresh()
                await asyncio.sleep(RETRY_SECONDS)
                continue
            self._on_reachable()
            received_at = now()
            record_count = await self._deliver(node, fetched_partitions)
            delivered_at = now()
            if (
                delay_seconds := fetch_delay(
                    delivered_at - requested_at, delivered_at - received_at, record_count
                )
            ) > 0:
                await asyncio.sleep(delay_seconds)

    async def _fetch(
        self, node: int, offsets: dict[TopicPartition, int], session: FetchSession[TopicPartition]
    ) -> list[FetchedPartition]:
        is_rack_hidden = asyncio.get_running_loop().time() < self._rack_hidden_until
        return await self._client.fetch(
            node,
            offsets if session.is_incremental else self._rotated(offsets),
            self._partitions.topic_ids,
            max_bytes=self._max_fetch_bytes(),
            # The limit of bytes of a partition is the session's. During the warm-up it changes.
            session=session if self._warm_up.is_used_up else None,
            rack="" if is_rack_hidden else self._client.rack,
        )

    def _leave_followers(self, states: Iterable[PartitionState]) -> None:
        """Read those of `states` from their leaders that are read from a follower."""
        for state in states:
            if state.reads_follower:
                state.read_from_leader()
                self._rack_hidden_until = asyncio.get_running_loop().time() + FOLLOWER_RETRY_SECONDS

    def _rotated(self, offsets: dict[TopicPartition, int]) -> dict[TopicPartition, int]:
        """Let each partition be first in turn: a broker fills its response in request order."""
        self._rotation += 1
        shift = self._rotation % len(offsets)
        items = list(offsets.items())
        return dict(items[shift:] + items[:shift])

    def _max_fetch_bytes(self) -> int:
        if self._warm_up.is_used_up:
            return MAX_FETCH_BYTES
        return max(1, min(MAX_FETCH_BYTES, self._warm_up.remaining_bytes))

    def _skip_warm_up(self, node: int) -> None:
        """Continue nearer to the end with partitions of `node` that would exceed the warm-up."""
        if self._warm_up.is_used_up:
            return
        for partition, offset in self._warm_up.pop_skips(self._partitions.read_from(node)).items():
            state = self._partitions.states[partition]
            _log.info(
                "%s:%d: skipping from offset %d to %d, more than the journal holds",
                *partition,
                state.offset,
                offset,
            )
            state.offset, state.batch_end = offset, -1
            topic_id = self._partitions.topic_ids.get(partition.topic)
            identity = b"" if topic_id is None else topic_id.bytes[:TOPIC_ID_BYTES]
            name = self._public_names[partition.topic]
            self._sink.start_reading(name, identity, {partition.number: offset})

    async def _deliver(self, node: int, fetched_partitions: Sequence[FetchedPartition]) -> int:
        """Deliver the records of a response; return their number."""
        pending = PendingBatches(self._sink)
        for fetched in fetched_partitions:
            state = self._partitions.states.get(fetched.partition)
            if state is None or state.offset != fetched.fetch_offset or state.node != node:
                continue  # recreated, or read from another node, while the response was in flight
            if fetched.preferred_replica >= 0 and not fetched.error_code:
                state.node = fetched.preferred_replica
                self._request_refresh()  # which starts to read from that node
                continue
            state.end_offset = max(fetched.high_watermark, state.offset)
            self._warm_up.count(fetched.partition, len(fetched.data))
            if not (fetched.data or fetched.error_code):
                continue
            result = await self._reader.read(
                fetched,
                state,
                partial(self._add_chunk, fetched.partition, state, pending),
                before_request=pending.deliver,
            )
            if result.status is ReadStatus.READ:
                continue
            await pending.deliver()
            if state.reads_follower:  # the leader may have what the follower lacks
                self._leave_followers([state])
                self._request_refresh()
            else:
                await self._fetch_errors.handle(fetched, state, result)
        await pending.deliver()
        self._skip_warm_up(node)
        self._on_delivered()
        return pending.total_records

    def _add_chunk(
        self,
        partition: TopicPartition,
        state: PartitionState,
        pending: PendingBatches,
        chunk: RecordChunk,
        _offset: int,
    ) -> bool | Awaitable[bool]:
        if state.is_dropped or state.leader < 0:
            return False  # recreated, deactivated or without a leader since an await
        state.offset = chunk.next_offset
        name = self._public_names[partition.topic]
        batch = Batch(name, partition.number, chunk.records, chunk.next_offset)
        pending.add(batch, state, chunk.size_bytes)
        return self._deliver_full(state, pending) if pending.is_full else True

    async def _deliver_full(self, state: PartitionState, pending: PendingBatches) -> bool:
        await pending.deliver()
        await asyncio.sleep(0)  # others have their turn
        return not state.is_dropped
