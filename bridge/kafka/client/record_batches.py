"""Bytes that a broker sent to the committed records in them.

Rules: what was aborted is passed over (KIP-98), holes in offsets are no losses, and bytes that
can not be read are told apart from records: `CorruptBatch`, with the offset behind them where their
header still says it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from bridge.kafka.client.aiokafka_internals import ABORT_MARKER, ControlRecord, MemoryRecords

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bridge.core.protocol.envelope import Record


class CorruptBatch(Exception):
    """Bytes that are no records. `next` is the offset that follows them, or None if unknown."""

    def __init__(self, message: str, next_offset: int | None) -> None:
        super().__init__(message)
        self.next_offset = next_offset


#: Records handed on at a time: so long may one of them hold up everything else.
MAX_CHUNK_RECORDS = 500


class RecordChunk(NamedTuple):
    """Some consecutive records, and the offset that follows them.

    `first` is above the offset before them where there is a hole between two batches; `whole`
    says that no more of their batch follows.
    """

    records: list[Record]
    next_offset: int
    first_offset: int
    ends_batch: bool


class AbortedTransactions:
    """Which producers' transactions are aborted at the place where a reader stands."""

    def __init__(self, transactions: Sequence[tuple[int, int]]) -> None:
        """`transactions` are (producer id, first offset)."""
        self._upcoming = sorted(transactions, key=lambda transaction: -transaction[1])
        self._aborted_producers: set[int] = set()

    def is_aborted(self, producer_id: int, last_offset: int) -> bool:
        """Whether a batch of `producer_id` that ends at `last_offset` belongs to one of them."""
        while self._upcoming and self._upcoming[-1][1] <= last_offset:
            self._aborted_producers.add(self._upcoming.pop()[0])
        return producer_id in self._aborted_producers

    def end_transaction(self, producer_id: int) -> None:
        """Say that the marker of `producer_id`'s aborted transaction was read."""
        self._aborted_producers.discard(producer_id)


def decode_batches(
    data: bytes,
    offset: int,
    high_watermark: int,
    aborted: AbortedTransactions,
    *,
    at_batch_boundary: bool = False,
) -> Iterator[RecordChunk]:
    """Yield what `data` holds from `offset` on; `high_watermark` is the log's.

    `at_batch_boundary` says that a batch ends before `offset`, so that none may reach over it.

    Raises:
        Corrupt: Where a batch can not be read; the chunks before it are good.
    """
    batches = MemoryRecords(data)
    if data and not batches.has_next():
        # Brokers send a first batch whole, however large (KIP-74), so this is no batch.
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
        # The formats before version 2 do not say where a batch begins.
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
        # Decompression and record parsing raise whatever they like on bytes that are not theirs.
        raise CorruptBatch(f"a batch can not be read: {error!r}", next_offset) from error
    raise CorruptBatch("a batch has a wrong checksum or is out of its place", next_offset)


def _committed_records(batch: Any, offset: int, aborted: AbortedTransactions) -> list[Record]:
    if batch.is_control_batch:
        if ControlRecord.parse(next(batch).key) == ABORT_MARKER:
            aborted.end_transaction(batch.producer_id)
        return []
    if batch.is_transactional and aborted.is_aborted(batch.producer_id, batch.next_offset - 1):
        return []
    return [record for record in batch if record.offset >= offset]
