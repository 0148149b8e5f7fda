"""Decodes the records of one batch one by one, where a decoder gave up on the whole batch.

Rule: a record that cannot be decoded costs itself alone. The checksum was right, so a producer
wrote these bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from bridge.core.protocol.record import UndecodableRecord
from bridge.kafka.client.aiokafka_internals import decode_varint

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Records behind a wrong length that are set aside one by one.
MAX_UNKNOWN_RECORDS: Final = 10_000
_LOG_APPEND_TIME: Final = 0x08


class RecoveredRecord(NamedTuple):
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

    def timestamp(self, delta: int) -> int:
        """Return a record's time, in milliseconds since 1970."""
        if self.attributes & _LOG_APPEND_TIME:
            return self.max_timestamp
        return self.first_timestamp + delta


def recover_records(
    header: BatchHeader, body: bytes
) -> Iterator[RecoveredRecord | UndecodableRecord]:
    """Yield every record of `body`, in order of offsets; undecodable ones in their places.

    Behind a wrong length nothing can be found: each offset there is an undecodable record.
    """
    position, offset = 0, header.base_offset - 1
    while position < len(body):
        bounds = _record_bounds(body, position)
        if bounds is None:
            break
        start, position = bounds
        record = _decode_record(header, body[start:position], offset)
        offset = record.offset
        yield record
    else:
        return
    last = min(header.last_offset, offset + MAX_UNKNOWN_RECORDS)
    for unknown in range(offset + 1, last + 1):
        raw = body[position:] if unknown == offset + 1 else b""
        yield UndecodableRecord(
            unknown, header.timestamp(0), raw, "it stands behind a record with a wrong length"
        )


def _record_bounds(body: bytes, position: int) -> tuple[int, int] | None:
    """Return where the record at `position` starts and ends; None if its length is wrong."""
    try:
        length, start = decode_varint(body, position)
    except (IndexError, ValueError):
        return None
    return (start, start + length) if 0 < length <= len(body) - start else None


def _decode_record(
    header: BatchHeader, raw: bytes, previous: int
) -> RecoveredRecord | UndecodableRecord:
    """Decode the record that follows offset `previous`."""
    offset, timestamp = previous + 1, header.timestamp(0)
    try:
        time_delta, position = decode_varint(raw, 1)  # behind the attributes, which mean nothing
        offset_delta, position = decode_varint(raw, position)
        timestamp = header.timestamp(time_delta)
        if not previous < header.base_offset + offset_delta <= header.last_offset:
            return UndecodableRecord(offset, timestamp, raw, "its offset is not in its batch")
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
    return RecoveredRecord(offset, timestamp, key, value, headers)


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
    headers = []
    for _ in range(count):
        name, position = _decode_bytes(raw, position)
        if name is None:
            raise ValueError("a header has no name")
        value, position = _decode_bytes(raw, position)
        headers.append((name.decode(), value))
    return headers, position
