"""Decodes a broker's bytes into committed records.

Rules: aborted records are skipped (KIP-98). Holes in offsets are no losses. Unreadable bytes raise
`CorruptBatch`, with the offset behind them if their header still has it.
"""

from __future__ import annotations

import struct
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from bridge.core.protocol.record import UndecodableRecord
from bridge.kafka.client.aiokafka_internals import (
    ABORT_MARKER,
    ControlRecord,
    DefaultRecordBatch,
)
from bridge.kafka.client.records.inflation import InflatesTooLarge, inflate
from bridge.kafka.client.records.legacy_records import (
    CODEC_MASK,
    LegacyBatch,
    decode_message,
    decode_wrapper,
    wrapped_body,
)
from bridge.kafka.client.records.record_recovery import (
    LARGE_RECORD_BYTES,
    PAUSE_AFTER_RECORDS,
    BatchHeader,
    UnreadableRest,
    has_large_record,
    highest_first_offset,
    recover_records,
)

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
# Inflating so much takes a few milliseconds. The body counts too: one of 32 KiB may consist of
# 1,600 empty gzip members or 6,500 snappy blocks: 2 and 14 ms. A thread costs 0.1 ms.
_INLINE_BYTES: Final = 1024 * 1024
_INLINE_BODY_BYTES: Final = 32 * 1024
# Offset, length, leader epoch, magic, checksum, attributes, last offset delta, first and largest
# timestamp, producer id and epoch, sequence, count: the header of a batch in version 2.
_HEADER: Final = struct.Struct(">qiibIhiqqqhii")
_RECORD_COUNT_AT: Final = 57
_unpack_record_count: Final = struct.Struct(">i").unpack_from
_RECORD_OVERHEAD_BYTES: Final = 100
_LENGTH_AT, _LENGTH_END, _MAGIC_AT, _MAGIC_2, _ATTRIBUTES_AT = 8, 12, 16, 2, 22

#: Records and bytes per chunk. The event loop runs nothing else while one chunk is delivered. Bytes
#: count too: a record may name thousands of rooms.
MAX_CHUNK_RECORDS = 500
MAX_CHUNK_BYTES = LARGE_RECORD_BYTES


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
    """A batch whose inflation takes more time than the event loop has: run it in a thread.

    Whoever decodes in steps gets it first. Decoding goes on with its result.
    """

    def __init__(self, codec: int, body: memoryview, max_bytes: int, *, prefix: bytes) -> None:
        """`prefix` goes before the inflated bytes in the result."""
        self._codec = codec
        self._body = body
        self._max_bytes = max_bytes
        self._prefix = prefix
        self._outcome: memoryview | Exception | None = None

    def run_if_small(self) -> bool:
        """Inflate now if that takes little time; return whether it is done."""
        if len(self._body) <= _INLINE_BODY_BYTES:
            self._run(min(_INLINE_BYTES, self._max_bytes))
        if isinstance(self._outcome, InflatesTooLarge):
            self._outcome = None
        return self._outcome is not None

    def run(self) -> None:
        """Inflate; an error is kept for `result`."""
        self._run(self._max_bytes)

    def _run(self, max_bytes: int) -> None:
        try:
            inflated = inflate(self._codec, self._body, max_bytes)
            self._outcome = memoryview(b"".join((self._prefix, inflated)))
        except Exception as error:  # noqa: BLE001 - raised by `result`
            self._outcome = error

    def result(self) -> memoryview:
        """Return the prefix and the inflated body; raise what `inflate` has raised."""
        if self._outcome is None:
            self.run()
        if isinstance(self._outcome, memoryview):
            return self._outcome
        raise self._outcome or InflatesTooLarge


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
) -> Iterator[RecordChunk | Inflation | None]:
    """Yield the records in `data` from `offset` on; `high_watermark` is the log's.

    `at_batch_boundary` means that a batch ends before `offset`. Then no batch may reach across it.
    A large compressed batch is yielded as an `Inflation` first. The caller may run it in a thread.
    None is yielded amid long work that gives no record: the event loop can have its turn.

    Raises:
        CorruptBatch: If a batch cannot be read. The chunks before it are good.
        BatchTooLarge: If a batch inflates to more than `max_batch_bytes`, likewise.
    """
    position = 0
    while position < len(data):
        size = _LENGTH_END + int.from_bytes(
            data[position + _LENGTH_AT : position + _LENGTH_END], "big"
        )
        raw = memoryview(data)[position : position + size]
        if len(raw) < size:
            if position == 0:
                # Brokers send the first batch complete, whatever its size (KIP-74).
                raise CorruptBatch("the length of a batch is wrong", None)
            return
        position += size
        batch, first_offset = _check_batch(
            raw, offset, high_watermark, at_batch_boundary=at_batch_boundary
        )
        try:
            for item in _decode_batch(
                batch, raw, offset, aborted, max_batch_bytes, at_batch_boundary=at_batch_boundary
            ):
                if item is None or isinstance(item, Inflation):
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
            raise CorruptBatch(_unreadable(error), batch.next_offset) from error
        at_batch_boundary = True


class _Portion(NamedTuple):
    """Some records of a batch, and the offset that follows them. The last one ends the batch."""

    records: list[Record]
    next_offset: int
    size_bytes: int


def _check_batch(
    raw: memoryview, offset: int, high_watermark: int, *, at_batch_boundary: bool
) -> tuple[Any, int]:
    """Return the batch in `raw`, checked, and the offset of its first record.

    The formats before version 2 do not contain that offset.
    """
    next_offset: int | None = None
    try:
        if len(raw) < _HEADER.size and raw[_MAGIC_AT] >= _MAGIC_2:
            raise ValueError  # noqa: TRY301
        batch = DefaultRecordBatch(raw) if raw[_MAGIC_AT] >= _MAGIC_2 else LegacyBatch(raw)
        first_offset = getattr(batch, "base_offset", offset)
        # The checksum does not cover a batch's first offset.
        is_plausible = offset < batch.next_offset <= high_watermark
        next_offset = batch.next_offset if is_plausible else None
        is_in_place = is_plausible and (first_offset >= offset or not at_batch_boundary)
        if is_in_place and batch.validate_crc():
            return batch, first_offset
    except Exception as error:
        raise CorruptBatch(_unreadable(error), next_offset) from error
    raise CorruptBatch("a batch has a wrong checksum or is out of its place", next_offset)


def _unreadable(error: Exception) -> str:
    """Describe `error` for the log; the text of some exceptions quotes the bytes."""
    reason = str(error) if isinstance(error, UnreadableRest) else type(error).__name__
    return f"a batch cannot be read: {reason}"


def _decode_batch(
    batch: Any,
    raw: memoryview,
    offset: int,
    aborted: AbortedTransactions,
    max_bytes: int,
    *,
    at_batch_boundary: bool,
) -> Iterator[_Portion | Inflation | None]:
    """Yield the committed records of `batch` from `offset` on, in portions."""
    if isinstance(batch, LegacyBatch):
        yield from _decode_legacy(
            batch, raw, offset, max_bytes, at_batch_boundary=at_batch_boundary
        )
        return
    is_control = batch.is_control_batch
    if (
        not is_control
        and batch.is_transactional
        and aborted.is_aborted(batch.producer_id, batch.next_offset - 1)
    ):
        yield _Portion([], batch.next_offset, 0)
        return
    if codec := raw[_ATTRIBUTES_AT] & CODEC_MASK:
        inflation = Inflation(
            codec, raw[_HEADER.size :], max_bytes, prefix=_without_codec(raw[: _HEADER.size])
        )
        if not inflation.run_if_small():
            yield inflation
        raw = inflation.result()
        batch = DefaultRecordBatch(raw)
    if is_control:
        if ControlRecord.parse(next(batch).key) == ABORT_MARKER:
            aborted.end_transaction(batch.producer_id)
        yield _Portion([], batch.next_offset, 0)
        return
    records = _decode_records(batch, raw, offset)
    if len(raw) > MAX_CHUNK_BYTES or batch.base_offset < offset:
        yield from _divide_by_size(records, batch.next_offset)
    else:
        yield from _divide_by_count(records, batch.next_offset, len(raw))


def _decode_legacy(
    batch: LegacyBatch, raw: memoryview, offset: int, max_bytes: int, *, at_batch_boundary: bool
) -> Iterator[_Portion | Inflation | None]:
    """Yield the records of a batch in a format before version 2: a message or a wrapper."""
    if not batch.codec:
        yield _Portion([decode_message(raw)], batch.next_offset, len(raw))
        return
    inflation = Inflation(batch.codec, wrapped_body(raw), max_bytes, prefix=b"")
    if not inflation.run_if_small():
        yield inflation
    inflated = inflation.result()
    messages = decode_wrapper(raw, inflated, offset, at_batch_boundary=at_batch_boundary)
    yield from _divide_by_size(_from_offset(messages, offset), batch.next_offset)


def _divide_by_count(
    records: Iterator[Record | None], next_offset: int, size_bytes: int
) -> Iterator[_Portion | None]:
    """Divide the records of a batch of `size_bytes`, which is small; C code does most of it."""
    portion: list[Record] = []
    error: UnreadableRest | None = None
    while error is None:
        items: list[Record | None] = []
        try:
            items.extend(islice(records, MAX_CHUNK_RECORDS))  # keeps those before an error
        except UnreadableRest as rest:
            error = rest
        if not items:
            break
        if portion:
            yield _Portion(portion, portion[-1].offset + 1, size_bytes)
        if all(items):  # in C: almost always
            portion = cast("list[Record]", items)
            continue
        portion = [*filter(None, items)]
        yield None
    yield from _last_portion(portion, next_offset, size_bytes, error)


def _divide_by_size(
    records: Iterator[Record | None], next_offset: int
) -> Iterator[_Portion | None]:
    """Divide the records of a batch that is large, or has much to pass over."""
    portion: list[Record] = []
    size_bytes = 0
    error: UnreadableRest | None = None
    try:
        for record in records:
            if record is None:
                yield None
                continue
            if portion and (len(portion) >= MAX_CHUNK_RECORDS or size_bytes > MAX_CHUNK_BYTES):
                yield _Portion(portion, portion[-1].offset + 1, size_bytes)
                portion, size_bytes = [], 0
            portion.append(record)
            size_bytes += _RECORD_OVERHEAD_BYTES + _size(record)
    except UnreadableRest as rest:
        error = rest
    yield from _last_portion(portion, next_offset, size_bytes, error)


def _last_portion(
    portion: list[Record], next_offset: int, size_bytes: int, error: UnreadableRest | None
) -> Iterator[_Portion]:
    """Yield the portion that ends a batch at `next_offset`; or the last before `error`, raised."""
    if error is None:
        yield _Portion(portion, next_offset, size_bytes)
        return
    if portion:
        yield _Portion(portion, portion[-1].offset + 1, size_bytes)
    raise error


def _size(record: Record) -> int:
    if isinstance(record, UndecodableRecord):
        return len(record.raw)
    headers = sum(len(name) + len(value or b"") for name, value in record.headers)
    return len(record.key or b"") + len(record.value or b"") + headers


def _decode_records(batch: Any, raw: memoryview, offset: int) -> Iterator[Record | None]:
    """Yield the records of a batch in version 2, undecodable ones in their places."""
    last = -1
    highest = highest_first_offset(
        batch.base_offset, batch.next_offset - 1, *_unpack_record_count(raw, _RECORD_COUNT_AT)
    )
    body = raw[_HEADER.size :]
    is_large = len(raw) > MAX_CHUNK_BYTES and (yield from has_large_record(body))
    if not is_large:
        try:
            for record in batch:
                if not last < record.offset <= highest:
                    raise ValueError  # noqa: TRY301 - a record's offset is wrong, as its bytes may be
                last = record.offset
                highest += 1
                if last >= offset:
                    yield record
                elif not last % PAUSE_AFTER_RECORDS:
                    yield None
            return  # noqa: TRY300
        except Exception:  # noqa: BLE001, S110 - any: a producer wrote these bytes
            pass
    base, _, _, _, _, attributes, delta, first_time, max_time, *_, number = _HEADER.unpack_from(raw)
    header = BatchHeader(base, base + delta, attributes, first_time, max_time, number)
    yield from _from_offset(recover_records(header, body, last), offset)


def _from_offset(records: Iterator[Record | None], offset: int) -> Iterator[Record | None]:
    """Leave out the records below `offset`; yield None instead of many of these."""
    skipped = 0
    for record in records:
        if record is None or record.offset >= offset:
            yield record
        else:
            skipped += 1
            if not skipped % PAUSE_AFTER_RECORDS:
                yield None


def _without_codec(raw: memoryview) -> bytes:
    """Return the header of a batch whose body is not compressed."""
    header = bytearray(raw)
    header[_ATTRIBUTES_AT] &= ~CODEC_MASK & 0xFF
    return bytes(header)
