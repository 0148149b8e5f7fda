"""Decodes a broker's bytes into committed records.

Rules: aborted records are skipped (KIP-98). Holes in offsets are no losses. Unreadable bytes raise
`CorruptBatch`, with the offset behind them if their header still has it.
"""

from __future__ import annotations

import struct
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bridge.core.protocol.record import UndecodableRecord
from bridge.kafka.client.aiokafka_internals import (
    ABORT_MARKER,
    ControlRecord,
    DefaultRecordBatch,
    MemoryRecords,
)
from bridge.kafka.client.inflation import InflatesTooLarge, inflate
from bridge.kafka.client.record_recovery import BatchHeader, recover_records

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bridge.core.protocol.record import Record


class CorruptBatch(Exception):
    """Bytes that are no records. `next_offset` is the offset behind them, or None if unknown."""

    def __init__(self, message: str, next_offset: int | None) -> None:
        super().__init__(message)
        self.next_offset = next_offset


class BatchTooLarge(CorruptBatch):
    """A batch that inflates to more than is allowed; `next_offset` is behind it."""


#: The most that a batch may inflate to, unless a setting says otherwise.
MAX_BATCH_BYTES: Final = 64 * 1024 * 1024
# Inflating so much takes a few milliseconds.
_INLINE_BYTES: Final = 1024 * 1024
# Offset, length, leader epoch, magic, checksum, attributes, last offset delta, first and largest
# timestamp, producer id and epoch, sequence, count: the header of a batch in version 2.
_HEADER: Final = struct.Struct(">qiibIhiqqqhii")
_RECORD_OVERHEAD_BYTES: Final = 100
_LENGTH_END, _MAGIC_AT, _MAGIC_2, _ATTRIBUTES_AT = 12, 16, 2, 22
_LEGACY_ATTRIBUTES_AT, _LEGACY_KEY_AT, _CODEC_MASK = 17, 18, 0x07

#: Records and bytes per chunk. The event loop runs nothing else while one chunk is delivered. Bytes
#: count too: a record may name thousands of rooms.
MAX_CHUNK_RECORDS = 500
MAX_CHUNK_BYTES = 256 * 1024


class RecordChunk(NamedTuple):
    """Some consecutive records, and the offset that follows them.

    `first_offset` is above the previous chunk's `next_offset` if there is a hole between two
    batches. `ends_batch` is True for the last chunk of a batch. `size_bytes` is about the memory of
    the records.
    """

    records: list[Record]
    next_offset: int
    first_offset: int
    ends_batch: bool
    size_bytes: int


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


class Inflation:
    """A batch that inflates to more than the event loop has time for: run it in a thread.

    Whoever decodes in steps gets it first. Decoding goes on with its result.
    """

    def __init__(self, codec: int, body: memoryview, max_bytes: int) -> None:
        self._codec = codec
        self._body = body
        self._max_bytes = max_bytes
        self._outcome: bytes | bytearray | memoryview | Exception | None = None

    def run(self) -> None:
        """Inflate; an error is kept for `result`."""
        try:
            self._outcome = inflate(self._codec, self._body, self._max_bytes)
        except Exception as error:  # noqa: BLE001 - raised by `result`
            self._outcome = error

    def result(self) -> bytes | bytearray | memoryview:
        """Return the inflated body; raise what `inflate` has raised."""
        outcome = self._outcome
        if outcome is None:
            return inflate(self._codec, self._body, self._max_bytes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def decode_batches(
    data: bytes,
    offset: int,
    high_watermark: int,
    aborted: AbortedTransactions,
    *,
    at_batch_boundary: bool = False,
) -> Iterator[RecordChunk]:
    """Yield the records in `data` from `offset` on, as `decode_in_steps`; inflate here."""
    for step in decode_in_steps(
        data, offset, high_watermark, aborted, at_batch_boundary=at_batch_boundary
    ):
        if isinstance(step, RecordChunk):
            yield step


def decode_in_steps(
    data: bytes,
    offset: int,
    high_watermark: int,
    aborted: AbortedTransactions,
    *,
    at_batch_boundary: bool = False,
    max_batch_bytes: int = MAX_BATCH_BYTES,
) -> Iterator[RecordChunk | Inflation]:
    """Yield the records in `data` from `offset` on; `high_watermark` is the log's.

    `at_batch_boundary` means that a batch ends before `offset`. Then no batch may reach across it.
    A large compressed batch is yielded as an `Inflation` first. The caller may run it in a thread.

    Raises:
        CorruptBatch: If a batch cannot be read. The chunks before it are good.
        BatchTooLarge: If a batch inflates to more than `max_batch_bytes`, likewise.
    """
    batches, position = MemoryRecords(data), 0
    if data and not batches.has_next():
        # Brokers send the first batch complete, whatever its size (KIP-74). So this is no batch.
        raise CorruptBatch("the length of a batch is wrong", None)
    while batches.has_next():
        size = _LENGTH_END + int.from_bytes(data[position + 8 : position + _LENGTH_END], "big")
        raw, position = memoryview(data)[position : position + size], position + size
        batch, first_offset = _next_batch(
            batches, offset, high_watermark, at_batch_boundary=at_batch_boundary
        )
        try:
            for item in _decode_batch(batch, raw, offset, aborted, max_batch_bytes):
                if isinstance(item, Inflation):
                    yield item
                    continue
                first_offset = max(first_offset, offset)
                next_offset = item.next_offset
                yield RecordChunk(
                    item.records,
                    next_offset,
                    first_offset,
                    next_offset == batch.next_offset,
                    item.size_bytes,
                )
                offset = first_offset = next_offset
        except InflatesTooLarge:
            raise BatchTooLarge(
                f"a batch inflates to more than {max_batch_bytes} bytes", batch.next_offset
            ) from None
        except Exception as error:
            # Decompression raises any exception on damaged bytes.
            raise CorruptBatch(f"a batch cannot be read: {error!r}", batch.next_offset) from error
        at_batch_boundary = True


class _Portion(NamedTuple):
    """Some records of a batch, and the offset that follows them. The last one ends the batch."""

    records: list[Record]
    next_offset: int
    size_bytes: int


def _next_batch(
    batches: MemoryRecords, offset: int, high_watermark: int, *, at_batch_boundary: bool
) -> tuple[Any, int]:
    """Return the next batch, checked, and the offset of its first record.

    The formats before version 2 do not contain that offset.
    """
    next_offset: int | None = None
    try:
        batch = batches.next_batch()
        first_offset = getattr(batch, "base_offset", offset)
        # The checksum does not cover a batch's first offset.
        is_plausible = offset < batch.next_offset <= high_watermark
        next_offset = batch.next_offset if is_plausible else None
        is_in_place = is_plausible and (first_offset >= offset or not at_batch_boundary)
        if is_in_place and batch.validate_crc():
            return batch, first_offset
    except Exception as error:
        raise CorruptBatch(f"a batch cannot be read: {error!r}", next_offset) from error
    raise CorruptBatch("a batch has a wrong checksum or is out of its place", next_offset)


def _decode_batch(
    batch: Any, raw: memoryview, offset: int, aborted: AbortedTransactions, max_bytes: int
) -> Iterator[_Portion | Inflation]:
    """Yield the committed records of `batch` from `offset` on, in portions."""
    if batch.is_control_batch:
        if ControlRecord.parse(next(batch).key) == ABORT_MARKER:
            aborted.end_transaction(batch.producer_id)
        yield _Portion([], batch.next_offset, 0)
        return
    if batch.is_transactional and aborted.is_aborted(batch.producer_id, batch.next_offset - 1):
        yield _Portion([], batch.next_offset, 0)
        return
    is_legacy = raw[_MAGIC_AT] < _MAGIC_2
    if codec := raw[_LEGACY_ATTRIBUTES_AT if is_legacy else _ATTRIBUTES_AT] & _CODEC_MASK:
        body = _legacy_body(raw) if is_legacy else raw[_HEADER.size :]
        try:
            inflated = inflate(codec, body, min(_INLINE_BYTES, max_bytes))
        except InflatesTooLarge:
            inflation = Inflation(codec, body, max_bytes)
            yield inflation
            inflated = inflation.result()
        if not is_legacy:
            raw = memoryview(_without_codec(raw) + bytes(inflated))
            batch = DefaultRecordBatch(raw)
    if is_legacy:
        records = [record for record in batch if record.offset >= offset]
        yield _Portion(records, batch.next_offset, len(raw))
        return
    yield from _portions(_readable_records(batch, raw, offset), batch.next_offset, len(raw))


def _portions(records: Iterator[Record], next_offset: int, size_bytes: int) -> Iterator[_Portion]:
    """Divide the records of a batch; the last portion ends at `next_offset`."""
    if size_bytes > MAX_CHUNK_BYTES:
        portion: list[Record] = []
        size_bytes = 0
        for record in records:
            if portion and (len(portion) >= MAX_CHUNK_RECORDS or size_bytes > MAX_CHUNK_BYTES):
                yield _Portion(portion, portion[-1].offset + 1, size_bytes)
                portion, size_bytes = [], 0
            portion.append(record)
            size_bytes += _RECORD_OVERHEAD_BYTES + _size(record)
    else:
        portion = list(islice(records, MAX_CHUNK_RECORDS))
        while following := list(islice(records, MAX_CHUNK_RECORDS)):
            yield _Portion(portion, portion[-1].offset + 1, size_bytes)
            portion = following
    yield _Portion(portion, next_offset, size_bytes)


def _size(record: Record) -> int:
    if isinstance(record, UndecodableRecord):
        return len(record.raw)
    headers = sum(len(name) + len(value or b"") for name, value in record.headers)
    return len(record.key or b"") + len(record.value or b"") + headers


def _readable_records(batch: Any, raw: memoryview, offset: int) -> Iterator[Record]:
    """Yield every record from `offset` on, undecodable ones in their places."""
    last, end = -1, batch.next_offset
    try:
        for record in batch:
            if not last < record.offset < end:
                raise ValueError  # noqa: TRY301 - a record's offset is wrong, as its bytes may be
            last = record.offset
            if last >= offset:
                yield record
    except Exception:  # noqa: BLE001 - any: a producer wrote these bytes
        base, _, _, _, _, attributes, delta, first_time, max_time, *_ = _HEADER.unpack_from(raw)
        header = BatchHeader(base, base + delta, attributes, first_time, max_time)
        for recovered in recover_records(header, bytes(raw[_HEADER.size :])):
            if recovered.offset >= offset and recovered.offset > last:
                yield recovered


def _legacy_body(raw: memoryview) -> memoryview:
    """Return the compressed value of a wrapper message (magic 0 or 1)."""
    position = _LEGACY_KEY_AT + (8 if raw[_MAGIC_AT] else 0)
    key_size = int.from_bytes(raw[position : position + 4], "big", signed=True)
    position += 8 + max(0, key_size)
    return raw[position:]


def _without_codec(raw: memoryview) -> bytes:
    """Return the header of a batch whose body is not compressed."""
    header = bytearray(raw[: _HEADER.size])
    header[_ATTRIBUTES_AT] &= ~_CODEC_MASK & 0xFF
    return bytes(header)
