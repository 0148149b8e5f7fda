"""Decodes a broker's bytes into committed records.

Rules: aborted records are skipped (KIP-98). Holes in offsets are no losses. Unreadable bytes raise
`CorruptBatch`, with the offset behind them if their header still has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from bridge.kafka.client.aiokafka_internals import ABORT_MARKER, ControlRecord, MemoryRecords

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bridge.core.protocol.envelope import Record


class CorruptBatch(Exception):
    """Bytes that are no records. `next_offset` is the offset behind them, or None if unknown."""

    def __init__(self, message: str, next_offset: int | None) -> None:
        super().__init__(message)
        self.next_offset = next_offset


#: Records per chunk. The event loop runs nothing else while one chunk is delivered.
MAX_CHUNK_RECORDS = 500


class RecordChunk(NamedTuple):
    """Some consecutive records, and the offset that follows them.

    `first_offset` is above the previous chunk's `next_offset` if there is a hole between two
    batches. `ends_batch` is True for the last chunk of a batch.
    """

    records: list[Record]
    next_offset: int
    first_offset: int
    ends_batch: bool


class AbortedTransactions:
    """The producers whose transactions are aborted at a reader's position."""

    def __init__(self, transactions: Sequence[tuple[int, int]]) -> None:
        """`transactions` are (producer id, first offset)."""
        self._upcoming = sorted(transactions, key=lambda transaction: -transaction[1])
        self._aborted_producers: set[int] = set()

    def is_aborted(self, producer_id: int, last_offset: int) -> bool:
        """Whether a batch of `producer_id` that ends at `last_offset` is aborted."""
        while self._upcoming and self._upcoming[-1][1] <= last_offset:
            self._aborted_producers.add(self._upcoming.pop()[0])
        return producer_id in self._aborted_producers

    def end_transaction(self, producer_id: int) -> None:
        """Apply the abort marker of `producer_id`: its transaction ends here."""
        self._aborted_producers.discard(producer_id)


def decode_batches(
    data: bytes,
    offset: int,
    high_watermark: int,
    aborted: AbortedTransactions,
    *,
    at_batch_boundary: bool = False,
) -> Iterator[RecordChunk]:
    """Yield the records in `data` from `offset` on; `high_watermark` is the log's.

    `at_batch_boundary` means that a batch ends before `offset`. Then no batch may reach across it.

    Raises:
        CorruptBatch: If a batch cannot be read. The chunks before it are good.
    """
    batches = MemoryRecords(data)
    if data and not batches.has_next():
        # Brokers send the first batch complete, whatever its size (KIP-74). So this is no batch.
        raise CorruptBatch("the length of a batch is wrong", None)
    while batches.has_next():
        records, next_offset, first_offset, _ = _decode_next(
            batches, offset, high_watermark, aborted, at_batch_boundary=at_batch_boundary
        )
        while len(records) > MAX_CHUNK_RECORDS:
            chunk, records = records[:MAX_CHUNK_RECORDS], records[MAX_CHUNK_RECORDS:]
            yield RecordChunk(chunk, chunk[-1].offset + 1, first_offset, ends_batch=False)
            first_offset = chunk[-1].offset + 1
        yield RecordChunk(records, next_offset, first_offset, ends_batch=True)
        offset, at_batch_boundary = next_offset, True


def _decode_next(
    batches: MemoryRecords,
    offset: int,
    high_watermark: int,
    aborted: AbortedTransactions,
    *,
    at_batch_boundary: bool,
) -> RecordChunk:
    next_offset: int | None = None
    try:
        batch = batches.next_batch()
        # The formats before version 2 do not contain the first offset of a batch.
        first_offset = getattr(batch, "base_offset", offset)
        # The checksum does not cover a batch's first offset.
        is_plausible = offset < batch.next_offset <= high_watermark
        next_offset = batch.next_offset if is_plausible else None
        is_in_place = is_plausible and (first_offset >= offset or not at_batch_boundary)
        if is_in_place and batch.validate_crc():
            records = _committed_records(batch, offset, aborted)
            return RecordChunk(
                records, batch.next_offset, max(first_offset, offset), ends_batch=True
            )
    except Exception as error:
        # Decompression and record parsing raise any exception on damaged bytes.
        raise CorruptBatch(f"a batch cannot be read: {error!r}", next_offset) from error
    raise CorruptBatch("a batch has a wrong checksum or is out of its place", next_offset)


def _committed_records(batch: Any, offset: int, aborted: AbortedTransactions) -> list[Record]:
    if batch.is_control_batch:
        if ControlRecord.parse(next(batch).key) == ABORT_MARKER:
            aborted.end_transaction(batch.producer_id)
        return []
    if batch.is_transactional and aborted.is_aborted(batch.producer_id, batch.next_offset - 1):
        return []
    return [record for record in batch if record.offset >= offset]
