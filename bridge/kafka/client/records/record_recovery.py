"""Decodes the records of one batch one by one, where a decoder gave up on the whole batch.

Rule: a record that cannot be decoded costs itself alone. The checksum was right, so a producer
wrote these bytes. No record and no offset is passed over in silence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from bridge.core.protocol.record import UndecodableRecord
from bridge.kafka.client.aiokafka_internals import decode_varint

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

#: Offsets behind a wrong length that are set aside one by one. With more, the rest is unreadable.
MAX_UNKNOWN_RECORDS: Final = 10_000
#: After so many records that are passed over, a decoder yields None: the event loop has its turn.
PAUSE_AFTER_RECORDS: Final = 2_000
#: A larger record is decoded here, where its headers are counted first.
LARGE_RECORD_BYTES: Final = 256 * 1024
#: Headers of a large record. 64 MiB can hold 32 million of them, which take 2 GB when decoded.
MAX_HEADERS: Final = 20_000
#: What a dead letter has of the bytes behind a wrong length.
MAX_UNKNOWN_BYTES: Final = 1024 * 1024
_LOG_APPEND_TIME: Final = 0x08


class UnreadableRest(Exception):
    """What follows the last record cannot be divided into records."""


class DecodedRecord(NamedTuple):
    """A record as aiokafka's decoder returns it."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]


class BatchHeader(NamedTuple):
    """What a batch's records are counted from."""

    base_offset: int
    last_offset: int
    attributes: int
    first_timestamp: int
    max_timestamp: int
    record_count: int

    def timestamp(self, delta: int) -> int:
        """Return a record's time, in milliseconds since 1970."""
        if self.attributes & _LOG_APPEND_TIME:
            return self.max_timestamp
        return self.first_timestamp + delta


def highest_first_offset(base_offset: int, last_offset: int, record_count: int) -> int:
    """Return the highest offset of a batch's first record that leaves room for the others.

    That of the next record is one higher. If no record was compacted away, the first has its
    batch's own. If the number of records is wrong, it can be any.
    """
    highest = last_offset + 1 - record_count
    return highest if highest >= base_offset else last_offset


def recover_records(
    header: BatchHeader, body: memoryview, last_read: int
) -> Iterator[DecodedRecord | UndecodableRecord | None]:
    """Yield the records of `body` behind offset `last_read`, undecodable ones in their places.

    Behind a wrong length nothing can be found: each offset there is an undecodable record. So it
    is where the batch ends before its last record. `last_read` is -1 if no record was read.

    Raises:
        UnreadableRest: If more than `MAX_UNKNOWN_RECORDS` offsets cannot be found.
    """
    position, count = yield from _skip_records(header, body, last_read)
    offset = max(last_read, header.base_offset - 1)
    base, last, number = header.base_offset, header.last_offset, header.record_count
    highest_first = highest_first_offset(base, last, number)
    while position < len(body) and offset < last:
        bounds = _record_bounds(body, position)
        if bounds is None:
            break
        start, position = bounds
        highest = min(last, highest_first + count)
        record = _decode_record(header, bytes(body[start:position]), offset, highest)
        offset, count = record.offset, count + 1
        yield record
    if position < len(body) or count < number:
        rest = body[position:]
        yield from unknown_records(offset + 1, last, header.timestamp(0), rest)


def unknown_records(
    first_offset: int, last_offset: int, timestamp: int, raw: memoryview
) -> Iterator[UndecodableRecord]:
    """Yield an undecodable record for each offset behind a wrong length; the first one has `raw`.

    Raises:
        UnreadableRest: If these are more than `MAX_UNKNOWN_RECORDS`.
    """
    if last_offset - first_offset >= MAX_UNKNOWN_RECORDS:
        raise UnreadableRest("a record has a wrong length")
    reason = "a record before it has a wrong length"
    for offset in range(first_offset, last_offset + 1):
        content = bytes(raw[:MAX_UNKNOWN_BYTES]) if offset == first_offset else b""
        yield UndecodableRecord(offset, timestamp, content, reason)


def has_large_record(body: memoryview) -> Generator[None, None, bool]:
    """Return whether a record has more than `LARGE_RECORD_BYTES`, or a wrong length."""
    position, count = 0, 0
    while position < len(body):
        bounds = _record_bounds(body, position)
        if bounds is None or bounds[1] - position > LARGE_RECORD_BYTES:
            return True
        position, count = bounds[1], count + 1
        if not count % PAUSE_AFTER_RECORDS:
            yield
    return False


def _skip_records(
    header: BatchHeader, body: memoryview, last_read: int
) -> Generator[None, None, tuple[int, int]]:
    """Return where the record behind offset `last_read` starts, and how many are before it."""
    position, count, offset = 0, 0, -1
    while offset < last_read and (bounds := _record_bounds(body, position)):
        _, delta_at = decode_varint(body, bounds[0] + 1)  # behind the attributes
        offset = header.base_offset + decode_varint(body, delta_at)[0]
        position, count = bounds[1], count + 1
        if not count % PAUSE_AFTER_RECORDS:
            yield
    return position, count


def _record_bounds(body: memoryview, position: int) -> tuple[int, int] | None:
    """Return where the record at `position` starts and ends; None if its length is wrong."""
    try:
        length, start = decode_varint(body, position)
    except (IndexError, ValueError):
        return None
    return (start, start + length) if 0 < length <= len(body) - start else None


def _decode_record(
    header: BatchHeader, raw: bytes, previous: int, highest: int
) -> DecodedRecord | UndecodableRecord:
    """Decode the record that follows offset `previous`, and whose own is at most `highest`."""
    offset, timestamp = previous + 1, header.timestamp(0)
    try:
        time_delta, position = decode_varint(raw, 1)  # behind the attributes, which mean nothing
        offset_delta, position = decode_varint(raw, position)
        timestamp = header.timestamp(time_delta)
        if not previous < header.base_offset + offset_delta <= highest:
            return UndecodableRecord(offset, timestamp, raw, "its offset is not in its place")
        offset = header.base_offset + offset_delta
        key, position = _decode_bytes(raw, position)
        value, position = _decode_bytes(raw, position)
        headers, position = _decode_headers(raw, position)
    except UnicodeDecodeError:
        return UndecodableRecord(offset, timestamp, raw, "a header's name is not UTF-8")
    except (IndexError, ValueError) as error:
        return UndecodableRecord(offset, timestamp, raw, f"its bytes are no record: {error}")
    if position != len(raw):
        return UndecodableRecord(offset, timestamp, raw, "bytes are left over behind its headers")
    return DecodedRecord(offset, timestamp, key, value, headers)


def _decode_bytes(raw: bytes, position: int) -> tuple[bytes | None, int]:
    length, position = decode_varint(raw, position)
    if length < 0:
        return None, position
    if length > len(raw) - position:
        raise ValueError("a length reaches beyond the record")
    return raw[position : position + length], position + length


def _decode_headers(raw: bytes, position: int) -> tuple[list[tuple[str, bytes | None]], int]:
    count, position = decode_varint(raw, position)
    if not 0 <= count <= len(raw) - position:
        raise ValueError("the number of headers is wrong")
    if count > MAX_HEADERS:
        raise ValueError(f"it has more than {MAX_HEADERS} headers")
    headers = []
    for _ in range(count):
        name, position = _decode_bytes(raw, position)
        if name is None:
            raise ValueError("a header has no name")
        value, position = _decode_bytes(raw, position)
        headers.append((name.decode(), value))
    return headers, position
