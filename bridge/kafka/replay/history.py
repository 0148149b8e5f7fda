"""Builds one history page: from the journal, and from Kafka for older records.

Rules: a page is limited in records, bytes and time. Unreadable records lie before a page, never
within it. Live delivery gets a turn between any two portions.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from bridge.core.protocol.cursor import DatedCursor, cursor_time
from bridge.core.protocol.record import Batch
from bridge.core.replay.history import (
    HistoryConstraints,
    HistoryUnavailable,
    TopicChanged,
    start_page,
)
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
from bridge.kafka.replay.scan import MAX_SCAN_FETCH_BYTES, NodeChoice

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from bridge.core.replay.history import HistoryPage, HistoryRequest, PartitionCursor
    from bridge.core.replay.retention import ReplayLimits
    from bridge.core.sessions.hub import Hub
    from bridge.kafka.client.client import FetchedPartition
    from bridge.kafka.client.records.record_batches import RecordChunk
    from bridge.kafka.offsets import LogOffsets
    from bridge.kafka.replay.scan import ScanSource
    from bridge.kafka.replay.scheduler import ScanLimits

_log = logging.getLogger(__name__)

#: A page with progress ends after this time.
MAX_PAGE_SECONDS = 10.0
#: A cursor may be this much older than the replay limit: pages start exactly at that limit.
GRACE_SECONDS = 600.0
#: Records that the consumer has not read yet are left to it for this long.
CONSUMER_WAIT_SECONDS = 0.5
#: Seconds of journal reading before the event loop gets a turn.
YIELD_AFTER_SECONDS = 0.005
_POLL_SECONDS = 0.01


class HistoryDependencies(NamedTuple):
    """What pages are built from. `stale_seconds` is the time without Kafka; None if reachable."""

    hub: Hub
    log_offsets: LogOffsets
    source: ScanSource
    stale_seconds: Callable[[], float | None]


class _RestartPage(Exception):
    """The page must be started again: its bounds are outdated."""


class _EndPage(Exception):
    """The page must end at its current position."""


class HistoryScan:
    """Builds one page. `acquire_slot` waits until it may read from Kafka."""

    def __init__(
        self,
        dependencies: HistoryDependencies,
        wait_seconds: float,
        replay_limits: ReplayLimits,
        acquire_slot: Callable[[], Awaitable[object]],
    ) -> None:
        """`wait_seconds` limits the wait for a slot, and then the wait for first records."""
        self._dependencies = dependencies
        self._wait_seconds = wait_seconds
        self._replay_limits = replay_limits
        self._acquire_slot: Callable[[], Awaitable[object]] | None = acquire_slot
        self._clock = asyncio.get_running_loop().time
        self._started_at = self._last_yield_at = self._clock()
        self._readable_from: dict[tuple[str, int], tuple[int, str]] = {}
        self._reader = PartitionReader(dependencies.source.client, "history", RETRY_SECONDS)
        self._progress: defaultdict[TopicPartition, ReadProgress] = defaultdict(ReadProgress)
        self._nodes = NodeChoice(dependencies.source.partitions)
        self._records_read = 0
        self._bytes_read = 0
        self._removed: frozenset[str] = frozenset()  # topics that went since the request came

    async def run(self, request: HistoryRequest) -> HistoryPage:
        """Return the page that `request` describes.

        Raises:
            HistoryUnavailable: If Kafka is away, or no slot is free in time.
        """
        while True:
            page = await self._start_page(request)
            try:
                try:
                    await self._fill(page)
                except _EndPage:
                    page.finish_early()
                page.check_topics()
            except (_RestartPage, TopicChanged):
                self._check_time(None)
                continue
            return page

    # -- start -----------------------------------------------------------------------------------

    async def _start_page(self, request: HistoryRequest) -> HistoryPage:
        log_offsets = self._dependencies.log_offsets
        while True:
            topics = request.session.topics
            try:
                since = (
                    {}
                    if request.since_ms is None
                    else await log_offsets.cursor_at(topics, request.since_ms)
                )
                request = await self._find_awaited(request)
                bounds = await log_offsets.log_bounds(
                    topics, grace_seconds=GRACE_SECONDS if request.cursor else 0
                )
                constraints = HistoryConstraints(
                    bounds, self._replay_limits, since, self._readable_from
                )
            except REQUEST_ERRORS as error:
                _log.debug("history: bounds: %r", error)
                self._check_reachable()
            else:
                request = self._drop_removed(request)
                page = start_page(self._dependencies.hub, request, constraints)
                if page is not None:
                    return page
            self._check_time(None)
            await asyncio.sleep(RETRY_SECONDS)

    def _drop_removed(self, request: HistoryRequest) -> HistoryRequest:
        """Return the request without topics that went, or that its reader may not read any more."""
        hub, session = self._dependencies.hub, request.session
        removed = {topic for topic in session.topics if not hub.may_read(session, topic)}
        session.topics -= removed
        self._removed |= removed
        return request._replace(removed=request.removed | self._removed)

    async def _find_awaited(self, request: HistoryRequest) -> HistoryRequest:
        """Replace times in the cursor by offsets, for partitions that can be read now.

        Raises:
            One of `REQUEST_ERRORS`.
        """
        cursor, topics = request.cursor, request.session.topics
        awaited = {t: p.awaited for t, p in (cursor or {}).items() if p.awaited and t in topics}
        if cursor is None or not awaited:
            return request
        found = await self._dependencies.log_offsets.find_awaited(awaited)
        dated = DatedCursor(cursor)
        dated.made_at = cursor_time(cursor)
        for topic, offsets in found.items():
            dated[topic] = cursor[topic].with_offsets({**cursor[topic].offsets, **offsets})
        return request._replace(cursor=dated)

    def _check_reachable(self) -> None:
        if self._dependencies.stale_seconds() is not None:
            raise HistoryUnavailable("Kafka does not answer now")

    def _check_time(self, page: HistoryPage | None) -> None:
        """Enforce the time limits: end a page with progress, refuse one without."""
        elapsed_seconds = self._clock() - self._started_at
        if page is not None and page.has_progressed:
            if elapsed_seconds > MAX_PAGE_SECONDS:
                raise _EndPage
        elif elapsed_seconds > self._wait_seconds:
            raise HistoryUnavailable("Kafka does not answer in time")

    # -- reading ---------------------------------------------------------------------------------

    async def _fill(self, page: HistoryPage) -> None:
        journal = self._dependencies.hub.journal
        if not all(
            page.is_in_journal(s, journal) or page.is_ahead_of_consumer(s)
            for s in page.partitions_to_read()
        ):
            await self._wait_for_slot()  # a waiting page holds no events in memory
        while not page.merge():
            self._check_time(page)
            wanted = page.partitions_to_read()
            if any(map(page.is_waiting, wanted)):
                raise _EndPage if page.has_progressed else _RestartPage
            missing = [
                partition_cursor
                for partition_cursor in wanted
                if not await self._read_journal(page, partition_cursor)
            ]
            if len(missing) < len(wanted):
                continue
            waited_seconds = self._clock() - self._started_at
            if waited_seconds < CONSUMER_WAIT_SECONDS and all(
                page.is_ahead_of_consumer(partition_cursor) for partition_cursor in missing
            ):
                await asyncio.sleep(_POLL_SECONDS)
            else:
                await self._fetch(page, missing)

    async def _read_journal(self, page: HistoryPage, partition_cursor: PartitionCursor) -> bool:
        if self._clock() - self._last_yield_at > YIELD_AFTER_SECONDS:
            await asyncio.sleep(0)
            self._last_yield_at = self._clock()
        return page.read_from_journal(partition_cursor, self._dependencies.hub.journal)

    async def _fetch(self, page: HistoryPage, partition_cursors: Iterable[PartitionCursor]) -> None:
        """Read more records of these partitions from Kafka."""
        await self._wait_for_slot()
        source = self._dependencies.source
        by_node: dict[int, dict[TopicPartition, int]] = {}
        for partition_cursor in partition_cursors:
            page.check_topics()
            partition = TopicPartition(
                source.kafka_names[partition_cursor.topic], partition_cursor.partition
            )
            offsets = by_node.setdefault(self._nodes.node_of(partition), {})
            offsets[partition] = min(
                partition_cursor.read_offset, offsets.get(partition, partition_cursor.read_offset)
            )
        if not by_node.keys() - {-1}:
            await asyncio.sleep(RETRY_SECONDS)
        for node, offsets in by_node.items():
            if node < 0:
                continue
            self._check_limits()
            page.check_topics()
            try:
                if await self._fetch_from(page, node, offsets):
                    return
            except REQUEST_ERRORS as error:
                _log.debug("history: node %d: %r", node, error)
                for partition in offsets:
                    self._nodes.leave_follower(partition)
                if page.has_progressed and self._dependencies.stale_seconds() is not None:
                    raise _EndPage from None
                self._check_reachable()
                await asyncio.sleep(RETRY_SECONDS)

    async def _fetch_from(
        self, page: HistoryPage, node: int, offsets: Mapping[TopicPartition, int]
    ) -> bool:
        """Send one fetch to `node`; return whether the page is complete."""
        source, remaining_bytes = (
            self._dependencies.source,
            self._replay_limits.max_bytes - self._bytes_read,
        )
        fetched_partitions = await source.client.fetch(
            node,
            offsets,
            source.topic_ids,
            max_bytes=min(MAX_SCAN_FETCH_BYTES, remaining_bytes),
            wait_ms=0,
            connection=BrokerConnection.HISTORY,
        )
        for fetched in fetched_partitions:
            page.check_topics()
            await self._handle_fetched(page, fetched)
            self._bytes_read += len(fetched.data)
            source.bytes_read += len(fetched.data)
            if page.merge():
                return True
        if not any(fetched.data or fetched.error_code for fetched in fetched_partitions):
            await asyncio.sleep(RETRY_SECONDS)  # the bounds had records: the leader may be changing
        return False

    async def _wait_for_slot(self) -> None:
        """Acquire a slot for reads from Kafka, once per page. The page keeps it until it ends."""
        if self._acquire_slot is None:
            return
        try:
            async with asyncio.timeout(self._wait_seconds):
                await self._acquire_slot()
        except TimeoutError:
            raise HistoryUnavailable("too many history requests read from Kafka at once") from None
        self._acquire_slot = None
        self._started_at = self._clock()

    def _check_limits(self) -> None:
        if (
            self._records_read >= self._replay_limits.max_records
            or self._bytes_read >= self._replay_limits.max_bytes
        ):
            raise _EndPage

    # -- responses -------------------------------------------------------------------------------

    async def _handle_fetched(self, page: HistoryPage, fetched: FetchedPartition) -> None:
        partition, progress = fetched.partition, self._progress[fetched.partition]
        result = await self._reader.read(
            fetched, progress, partial(self._add_chunk, page, partition)
        )
        if result.status is not ReadStatus.READ and self._nodes.leave_follower(partition):
            progress.failed_attempts = 0
            return
        match result.status:
            case ReadStatus.OUT_OF_RANGE:
                if page.has_progressed:
                    raise _EndPage
                await asyncio.sleep(RETRY_SECONDS)
                raise _RestartPage
            case ReadStatus.RETRY:
                await asyncio.sleep(progress.paused_until - self._clock())
            case ReadStatus.DAMAGED:
                self._cursor_at_start(page, partition)
                await asyncio.sleep(progress.paused_until - self._clock())
            case ReadStatus.UNREADABLE:
                self._skip_unreadable(page, partition, result.next_offset, "corrupt")
            case ReadStatus.TOO_LARGE:
                self._skip_unreadable(page, partition, result.next_offset, "limit")

    async def _add_chunk(
        self, page: HistoryPage, partition: TopicPartition, chunk: RecordChunk, offset: int
    ) -> bool:
        if not self._add_records(page, partition, offset, chunk) or page.merge():
            return False
        await asyncio.sleep(0)
        self._last_yield_at = self._clock()
        self._check_time(page)
        return True

    def _add_records(
        self, page: HistoryPage, partition: TopicPartition, offset: int, chunk: RecordChunk
    ) -> bool:
        """Add a chunk to `page`, up to its record limit; return whether it needs more."""
        page.check_topics()
        source, remaining_records = (
            self._dependencies.source,
            self._replay_limits.max_records - self._records_read,
        )
        records, next_offset = chunk.records, chunk.next_offset
        if len(records) > remaining_records:
            records = records[:remaining_records]
            next_offset = records[-1].offset + 1
        self._records_read += len(records)
        source.records_read += len(records)
        newest_timestamp = max((record.timestamp for record in records), default=None)
        needs_more = False
        name = source.public_names.get(partition.topic, "")
        partition_cursor = page.partition_cursor(name, partition.number)
        if partition_cursor is not None and offset <= partition_cursor.read_offset < next_offset:
            decoded = source.decode(Batch(name, partition.number, records, next_offset))
            needs_more = page.add_events(
                partition_cursor, decoded.events, offset, next_offset, newest_timestamp
            ) and not page.is_in_journal(partition_cursor, self._dependencies.hub.journal)
        self._check_limits()
        return needs_more

    def _cursor_at_start(
        self, page: HistoryPage, partition: TopicPartition
    ) -> PartitionCursor | None:
        """Return the page's cursor of a damaged partition; end a page that has read from it.

        So missing records lie before a page, never within it.
        """
        name = self._dependencies.source.public_names.get(partition.topic, "")
        partition_cursor = page.partition_cursor(name, partition.number)
        if (
            partition_cursor is not None
            and partition_cursor.read_offset > partition_cursor.start_offset
        ):
            raise _EndPage
        return partition_cursor

    def _skip_unreadable(
        self,
        page: HistoryPage,
        partition: TopicPartition,
        next_offset: int | None,
        gap_reason: str,
    ) -> None:
        """Restart the page behind bytes that cannot be read."""
        partition_cursor = self._cursor_at_start(page, partition)
        if partition_cursor is not None:
            read_offset, key = (
                partition_cursor.read_offset,
                (partition_cursor.topic, partition_cursor.partition),
            )
            _log.error("history: %s:%d cannot be read at %d", *partition, read_offset)
            journal_start = self._dependencies.hub.journal.start_offset(*key)
            fallback_offset = (
                journal_start if read_offset < journal_start else partition_cursor.end_offset
            )
            self._readable_from[key] = next_offset or fallback_offset, gap_reason
        raise _RestartPage


#: Concurrent requests, including those that wait.
MAX_REQUESTS = 100


class KafkaHistoryReader:
    """Builds pages. At most `scan_limits.max_scans` of them read from Kafka at a time."""

    def __init__(
        self,
        dependencies: HistoryDependencies,
        scan_limits: ScanLimits,
        replay_limits: ReplayLimits,
    ) -> None:
        self._dependencies = dependencies
        self._scan_limits = scan_limits
        self._replay_limits = replay_limits
        self._scan_slots = asyncio.Semaphore(scan_limits.max_scans)
        self.active_requests = 0

    async def read_page(self, request: HistoryRequest) -> HistoryPage:
        """Return the page that `request` describes.

        Raises:
            HistoryUnavailable: If Kafka is away, or there are too many requests.

        Cancellation: safe. Nothing more is read for the page.
        """
        if self.active_requests >= MAX_REQUESTS:
            raise HistoryUnavailable("too many history requests at once")
        self.active_requests += 1
        try:
            async with contextlib.AsyncExitStack() as slot:
                scan = HistoryScan(
                    self._dependencies,
                    self._scan_limits.max_wait_seconds,
                    self._replay_limits,
                    lambda: slot.enter_async_context(self._scan_slots),
                )
                return await scan.run(request)
        finally:
            self.active_requests -= 1
