"""Reads one fetch response: records, a retry later, or bytes that cannot be read.

Rule: live reading, replays and history pages read through this one class, so that they retry alike.
It does not decide what follows from bytes that cannot be read: each caller does.
"""

from __future__ import annotations

import asyncio
import logging
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from bridge.kafka.client.client import REQUEST_ERRORS, FetchErrorCode
from bridge.kafka.client.records.record_batches import (
    AbortedTransactions,
    BatchTooLarge,
    CorruptBatch,
    Inflation,
    decode_in_steps,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bridge.kafka.client.client import FetchedPartition, KafkaClient
    from bridge.kafka.client.records.record_batches import RecordChunk

    #: Receives a chunk and the offset behind the one before it. Returns, or resolves to, whether it
    #: wants more. A plain bool costs the event loop nothing.
    AcceptChunk: TypeAlias = Callable[[RecordChunk, int], bool | Awaitable[bool]]

_log = logging.getLogger(__name__)

#: The pause after a failed request. It doubles with each failure in a row to read a batch.
RETRY_SECONDS = 0.2
#: Failures in a row to read one batch before it is given up.
MAX_ATTEMPTS = 3


class ReadProgress:
    """One reader's state in one partition: last batch end, failures in a row, and pause."""

    __slots__ = ("batch_end", "failed_attempts", "paused_until")

    def __init__(self) -> None:
        self.batch_end = -1  #: an offset at which a batch is known to end, -1 if none is
        self.failed_attempts = 0  #: failures to read one batch, in a row
        self.paused_until = 0.0  #: on the loop's clock

    def pause(self, seconds: float) -> None:
        """Allow the next request `seconds` from now."""
        self.paused_until = asyncio.get_running_loop().time() + seconds


class ReadStatus(Enum):
    """The outcome of one fetch response."""

    READ = auto()  #: the caller has all chunks, or wanted no more
    RETRY = auto()  #: the broker cannot answer now; the partition is paused
    OUT_OF_RANGE = auto()  #: the offset is not in the log
    DAMAGED = auto()  #: bytes could not be read; the partition is paused and tried again
    UNREADABLE = auto()  #: bytes could not be read `MAX_ATTEMPTS` times in a row
    TOO_LARGE = auto()  #: a batch inflates to more than is allowed; it is to be passed over


class ReadResult(NamedTuple):
    """The outcome of one fetch response, and where reading can continue behind damaged bytes."""

    status: ReadStatus
    reason: str = ""
    next_offset: int | None = None  #: the offset behind the damaged batch, if its header has it
    max_offset: int | None = None  #: an offset at which the log can be read again


_READ: Final = ReadResult(ReadStatus.READ)
_RETRY: Final = ReadResult(ReadStatus.RETRY)
_OUT_OF_RANGE: Final = ReadResult(ReadStatus.OUT_OF_RANGE)


class PartitionReader:
    """Classifies, decodes and checks fetch responses. `purpose` prefixes its log lines."""

    def __init__(self, client: KafkaClient, purpose: str, retry_seconds: float) -> None:
        self._client = client
        self._purpose = purpose
        self._retry_seconds = retry_seconds

    async def read(
        self,
        fetched: FetchedPartition,
        progress: ReadProgress,
        accept: AcceptChunk,
        *,
        before_request: Callable[[], Awaitable[object]] | None = None,
    ) -> ReadResult:
        """Pass the records of one response to `accept`, chunk by chunk.

        `before_request` is awaited before a request to the broker about a hole.
        """
        if fetched.error_code:
            return self._classify_error(fetched, progress)
        offset = fetched.fetch_offset
        try:
            for chunk in decode_in_steps(
                fetched.data,
                offset,
                fetched.high_watermark,
                AbortedTransactions(fetched.aborted_transactions),
                at_batch_boundary=progress.batch_end == offset,
                max_batch_bytes=self._client.max_batch_bytes,
            ):
                if chunk is None:
                    await asyncio.sleep(0)
                    continue
                if isinstance(chunk, Inflation):
                    await asyncio.to_thread(chunk.run)
                    continue
                if chunk.first_offset > offset and (
                    hole := await self._check_hole(
                        fetched, progress, chunk.first_offset, before_request
                    )
                ):
                    return hole
                progress.failed_attempts = 0
                if chunk.ends_batch:
                    progress.batch_end = chunk.next_offset
                wants_more = accept(chunk, offset)
                if wants_more is not True and (wants_more is False or not await wants_more):
                    return _READ
                offset = chunk.next_offset
        except BatchTooLarge as too_large:
            progress.failed_attempts = 0
            return ReadResult(ReadStatus.TOO_LARGE, str(too_large), too_large.next_offset)
        except CorruptBatch as corrupt:
            return self._count_failure(fetched, progress, str(corrupt), corrupt.next_offset)
        return _READ

    def _classify_error(self, fetched: FetchedPartition, progress: ReadProgress) -> ReadResult:
        match fetched.error_code:
            case FetchErrorCode.OFFSET_OUT_OF_RANGE:
                return _OUT_OF_RANGE
            case FetchErrorCode.CORRUPT:
                return self._count_failure(fetched, progress, "the broker calls a batch corrupt")
            case _:  # the leader has moved or the topic is gone: the next metadata shows it
                self._log_debug(fetched, f"error {fetched.error_code}")
                progress.pause(self._retry_seconds)
                return _RETRY

    async def _check_hole(
        self,
        fetched: FetchedPartition,
        progress: ReadProgress,
        first_offset: int,
        before_request: Callable[[], Awaitable[object]] | None,
    ) -> ReadResult | None:
        """Return None if the hole before `first_offset`, between two batches, is no loss.

        Only compaction leaves holes. In a topic without compaction, a damaged batch has hidden
        others from the broker, or `first_offset` itself is damaged.
        """
        if before_request is not None:
            await before_request()
        try:
            if await self._client.is_compacted(fetched.partition.topic):
                return None
        except REQUEST_ERRORS as error:
            self._log_debug(fetched, f"the cleanup policy is not known: {error!r}")
            progress.pause(self._retry_seconds)
            return _RETRY
        return self._count_failure(
            fetched, progress, "the broker leaves out a batch", max_offset=first_offset
        )

    def _count_failure(
        self,
        fetched: FetchedPartition,
        progress: ReadProgress,
        reason: str,
        next_offset: int | None = None,
        *,
        max_offset: int | None = None,
    ) -> ReadResult:
        self._log_debug(fetched, reason)
        progress.failed_attempts += 1
        status = ReadStatus.UNREADABLE
        if progress.failed_attempts < MAX_ATTEMPTS:
            status = ReadStatus.DAMAGED
            progress.pause(self._retry_seconds * 2**progress.failed_attempts)
        return ReadResult(status, reason, next_offset, max_offset)

    def _log_debug(self, fetched: FetchedPartition, what: str) -> None:
        _log.debug("%s: %s:%d: %s", self._purpose, *fetched.partition, what)
