"""Reads what one broker leads, one request after another, and hands it on.

Rule: no record or batch stops the ones behind it, and what the sink has not taken yet delays the
next request: that is the back-pressure.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final, Protocol

from bridge.core.protocol.envelope import Batch
from bridge.kafka.client.client import EARLIEST, LATEST, REQUEST_ERRORS, FetchErrorCode
from bridge.kafka.client.record_batches import (
    MAX_CHUNK_RECORDS,
    AbortedTransactions,
    CorruptBatch,
    decode_batches,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from bridge.kafka.client.client import FetchedPartition, KafkaClient, TopicPartition
    from bridge.kafka.partitions import AssignedPartitions, PartitionState


class RecordSink(Protocol):
    """Topics are the public ones."""

    def start_reading(self, topic: str, topic_id: bytes, offsets: Mapping[int, int]) -> None:
        """Reading starts at `offsets`; or these partitions were added, or it is another topic."""

    def report_gap(self, topic: str, reason: str, offsets: Mapping[int, int]) -> None:
        """What is below `offsets` can not be read; `reason` is a gap's."""

    def deactivate(self, topic: str, topic_id: bytes) -> None:
        """This topic, read on demand, is not read now, and is of this identity."""

    def deliver(self, batches: Sequence[Batch]) -> Awaitable[None]:
        """Records, in order per partition. The feed waits for it: that is its back-pressure."""


class PendingBatches:
    """What was read and is handed on together."""

    def __init__(self, sink: RecordSink) -> None:
        self._sink = sink
        self._batches: list[Batch] = []
        self._record_count = 0
        self.total_records = 0  #: records, from the start on

    def add(self, batch: Batch) -> None:
        """Take in a batch."""
        self._batches.append(batch)
        self._record_count += len(batch.records)
        self.total_records += len(batch.records)

    @property
    def is_full(self) -> bool:
        """Whether it should be handed on before more is added."""
        return self._record_count >= MAX_CHUNK_RECORDS

    async def deliver(self) -> None:
        """Hand on what there is; return when it was taken."""
        if self._batches:
            batches, self._batches, self._record_count = self._batches, [], 0
            await self._sink.deliver(batches)


_log = logging.getLogger(__name__)

#: Failures in a row to read one batch before it is given up.
MAX_ATTEMPTS = 3


class FetchErrors:
    """Answers what a fetch can go wrong with. `wake` asks for a new look at the topics."""

    def __init__(
        self,
        client: KafkaClient,
        public_names: Mapping[str, Sequence[str]],
        sink: RecordSink,
        refresh_requested: asyncio.Event,
    ) -> None:
        self._client = client
        self._public_names = public_names
        self._sink = sink
        self._refresh_requested = refresh_requested
        self._compacted_topics: set[str] = set()

    async def handle(self, fetched: FetchedPartition, state: PartitionState) -> None:
        """Answer an error that the broker told."""
        match fetched.error_code:
            case FetchErrorCode.OFFSET_OUT_OF_RANGE:
                await self._handle_out_of_range(fetched.partition, state)
            case FetchErrorCode.CORRUPT:
                self.count_failure(fetched, state, None, "the broker calls a batch corrupt")
            case _:
                # Leaders move, topics go: a look at the topics tells which.
                _log.debug("%s:%d: error %d", *fetched.partition, fetched.error_code)
                self._pause(state, _RETRY_SECONDS)
                self._refresh_requested.set()

    def count_failure(
        self,
        fetched: FetchedPartition,
        state: PartitionState,
        next_offset: int | None,
        reason: str,
        *,
        max_offset: int | None = None,
    ) -> None:
        """Count a failure to read the batch at `reading.offset`; pass it after some.

        `next_offset` is the offset that follows it. Where that can not be told, ever longer steps look
        for what can be read again, up to `max_offset`.
        """
        state.failed_attempts += 1
        if state.failed_attempts < MAX_ATTEMPTS:
            self._pause(state, _RETRY_SECONDS * 2**state.failed_attempts)
            return
        step = 2 ** (state.failed_attempts - MAX_ATTEMPTS)
        resume_offset = next_offset if next_offset is not None else state.offset + step
        if max_offset is None and fetched.high_watermark > state.offset:
            max_offset = fetched.high_watermark
        resume_offset = resume_offset if max_offset is None else min(resume_offset, max_offset)
        _log.error(
            "%s:%d: %s; passing offsets %d to %d",
            *fetched.partition,
            reason,
            state.offset,
            resume_offset - 1,
        )
        self._skip(fetched.partition, state, "corrupt", resume_offset)

    async def is_compaction_hole(
        self, fetched: FetchedPartition, state: PartitionState, first_offset: int
    ) -> bool:
        """Whether the hole from `reading.offset` to `first_offset`, between two batches, is no loss.

        Compaction leaves holes, and nothing else does: where a topic is not compacted, a damaged
        batch has hidden others from the broker, or `first_offset` itself is damaged.
        """
        partition = fetched.partition
        if partition.topic in self._compacted_topics:
            return True
        try:
            is_compacted = await self._client.is_compacted(partition.topic)
        except REQUEST_ERRORS as error:
            _log.debug("%s:%d: not known whether it is compacted: %r", *partition, error)
            self._pause(state, _RETRY_SECONDS)
            return False
        if is_compacted:
            self._compacted_topics.add(partition.topic)
        else:
            self.count_failure(
                fetched, state, None, "the broker leaves out a batch", max_offset=first_offset
            )
        return is_compacted

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
            _log.error("%s:%d: the log was cut off at %d", *partition, end_offset)
            self._skip(partition, state, "truncated", end_offset)
        else:
            self._pause(state, _RETRY_SECONDS)

    def _skip(
        self, partition: TopicPartition, state: PartitionState, reason: str, offset: int
    ) -> None:
        if state.is_dropped:
            return  # while it was asked what is the matter
        state.offset, state.at_batch_boundary = offset, False
        if reason == "truncated":  # what was to be caught up with is no more
            state.catch_up_offset = min(state.catch_up_offset, offset)
        for name in self._public_names[partition.topic]:
            self._sink.report_gap(name, reason, {partition.number: offset})

    def _pause(self, state: PartitionState, seconds: float) -> None:
        state.paused_until = asyncio.get_running_loop().time() + seconds


MAX_FETCH_BYTES: Final = 8 * 1024 * 1024
#: So long at least from one request to the next: what comes in between comes together.
MIN_FETCH_INTERVAL_SECONDS: Final = 0.004
#: After fewer records than this, rest for as long as the sink took for them, but no longer than
#: this: ten frames joined cost a socket hardly more than one.
SMALL_FETCH_RECORDS: Final = 10
MAX_SMALL_FETCH_DELAY_SECONDS: Final = 0.005
_RETRY_SECONDS: Final = 0.2


def fetch_delay(request_seconds: float, delivery_seconds: float, record_count: int) -> float:
    """Return the seconds to wait before the next request, if they are more than none.

    The last one took `request_seconds` seconds, of which `delivery_seconds` were the sink's, for its `record_count`.
    """
    min_delay_seconds = MIN_FETCH_INTERVAL_SECONDS - request_seconds
    return (
        max(min_delay_seconds, min(delivery_seconds, MAX_SMALL_FETCH_DELAY_SECONDS))
        if record_count < SMALL_FETCH_RECORDS
        else min_delay_seconds
    )


class Fetcher:
    """Reads `partitions`; `names` maps Kafka's names of topics to the public ones."""

    def __init__(
        self,
        client: KafkaClient,
        partitions: AssignedPartitions,
        public_names: Mapping[str, Sequence[str]],
        sink: RecordSink,
        fetch_errors: FetchErrors,
        *,
        on_reachable: Callable[[], None],
        on_unreachable: Callable[[], None],
        on_delivered: Callable[[], None],
    ) -> None:
        """`on_reachable` and `on_unreachable` are told of the broker, `on_delivered` that the sink has taken something."""
        self._client = client
        self._partitions = partitions
        self._public_names = public_names
        self._sink = sink
        self._fetch_errors = fetch_errors
        self._on_reachable = on_reachable
        self._on_unreachable = on_unreachable
        self._on_delivered = on_delivered
        self._rotation = 0
        self.internal_errors = 0  #: bugs of ours that reading met, and went on

    async def fetch_from(self, node: int) -> None:
        """Read what `node` leads until it leads nothing of it any more.

        Cancellation: safe; what was fetched and not handed on is fetched again by whoever goes on.
        """
        try:
            await self._fetch_loop(node)
        except Exception:  # noqa: BLE001 - logged, counted and begun anew
            # A bug of ours must not end the stream; the next look at the topics starts anew.
            _log.exception("reading from node %d failed", node)
            self.internal_errors += 1

    async def _fetch_loop(self, node: int) -> None:
        now = asyncio.get_running_loop().time
        while states := self._partitions.led_by(node):
            requested_at = now()
            offsets = {p: r.offset for p, r in states.items() if r.paused_until <= requested_at}
            if not offsets:
                await asyncio.sleep(_RETRY_SECONDS / 2)
                continue
            try:
                fetched_partitions = await self._client.fetch(
                    node,
                    self._rotated(offsets),
                    self._partitions.topic_ids,
                    max_bytes=MAX_FETCH_BYTES,
                )
            except REQUEST_ERRORS as error:
                _log.debug("node %d: %r", node, error)
                self._on_unreachable()
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            self._on_reachable()
            received_at = now()
            record_count = await self._deliver(fetched_partitions)
            delivered_at = now()
            if (
                delay_seconds := fetch_delay(
                    delivered_at - requested_at, delivered_at - received_at, record_count
                )
            ) > 0:
                await asyncio.sleep(delay_seconds)

    def _rotated(self, offsets: dict[TopicPartition, int]) -> dict[TopicPartition, int]:
        """A broker fills its answer in the order of the request: let each be first in turn."""
        self._rotation += 1
        shift = self._rotation % len(offsets)
        items = list(offsets.items())
        return dict(items[shift:] + items[:shift])

    async def _deliver(self, fetched_partitions: Sequence[FetchedPartition]) -> int:
        """Hand on what came; return how many records it was."""
        pending = PendingBatches(self._sink)
        for fetched in fetched_partitions:
            state = self._partitions.states.get(fetched.partition)
            if state is None or state.offset != fetched.fetch_offset:
                continue  # the topic was recreated while the answer was on its way
            state.end_offset = max(fetched.high_watermark, state.offset)
            if fetched.error_code:
                await pending.deliver()
                await self._fetch_errors.handle(fetched, state)
                continue
            try:
                await self._deliver_records(fetched, state, pending)
            except CorruptBatch as corrupt:
                await pending.deliver()
                self._fetch_errors.count_failure(fetched, state, corrupt.next_offset, str(corrupt))
        await pending.deliver()
        self._on_delivered()
        return pending.total_records

    async def _deliver_records(
        self, fetched: FetchedPartition, state: PartitionState, pending: PendingBatches
    ) -> None:
        partition, aborted = fetched.partition, AbortedTransactions(fetched.aborted_transactions)
        for chunk in decode_batches(
            fetched.data,
            state.offset,
            fetched.high_watermark,
            aborted,
            at_batch_boundary=state.at_batch_boundary,
        ):
            if chunk.first_offset > state.offset:
                await pending.deliver()
                if not await self._fetch_errors.is_compaction_hole(
                    fetched, state, chunk.first_offset
                ):
                    return
                if self._partitions.states.get(partition) is not state:
                    return
            state.offset, state.at_batch_boundary, state.failed_attempts = (
                chunk.next_offset,
                chunk.ends_batch,
                0,
            )
            for name in self._public_names[partition.topic]:
                pending.add(Batch(name, partition.number, chunk.records, chunk.next_offset))
            if pending.is_full:
                await pending.deliver()
                if self._partitions.states.get(partition) is not state:
                    return  # recreated meanwhile: the rest is of its former life
