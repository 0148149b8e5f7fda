"""Positions in Kafka's log: of one record, and of a client in all of its topics (the cursor).

Rule: a cursor holds Kafka's own offsets and topic ids, so any instance can resume any client.
It grants nothing. A checksum rejects one that a terminal, a column or a typo cut short.
"""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from bridge.core.protocol.names import is_valid_topic

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

#: The form without a time, which earlier versions of the bridge wrote. It is still read.
UNDATED_VERSION: Final = 1
CURSOR_VERSION: Final = 2
#: Bytes of Kafka's 16-byte topic id in a cursor: enough to detect that a topic was recreated.
TOPIC_ID_BYTES: Final = 8
_MAX_OFFSET: Final = 2**63 - 1
_MAX_PARTITION: Final = 2**31 - 1
_CHECKSUM_BYTES: Final = 4
_MAX_VARINT_BYTES: Final = 10
_MAX_SECONDS: Final = 253_402_300_799  # the end of the year 9999


class InvalidCursor(ValueError):
    """Text is not a cursor or a position. The message goes to the client that sent it."""


class Position(NamedTuple):
    """Where one record is: `topic:partition:offset` as text."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}:{self.partition}:{self.offset}"


#: The usual value of `TopicOffsets.awaited`.
NOTHING_AWAITED: Final[Mapping[int, int]] = MappingProxyType({})


class TopicOffsets(NamedTuple):
    """A reader's position in one topic: the next offset to read, by partition.

    `topic_id` is the first 8 bytes of Kafka's topic id. It is empty if the broker has no topic
    ids, or if the topic does not exist yet. `awaited` has the partitions that were never read: each
    starts at its first record that is not older than this time, in seconds since 1970.
    """

    topic_id: bytes
    offsets: Mapping[int, int]
    awaited: Mapping[int, int] = NOTHING_AWAITED

    def with_offsets(self, offsets: Mapping[int, int]) -> TopicOffsets:
        """Replace the offsets; a partition that now has one is awaited no more."""
        awaited = self.awaited
        if awaited and not offsets.keys().isdisjoint(awaited):
            awaited = {p: seconds for p, seconds in awaited.items() if p not in offsets}
        return self._replace(offsets=offsets, awaited=awaited)


#: A client's position in each of its topics, by public topic.
Cursor: TypeAlias = "dict[str, TopicOffsets]"


class DatedCursor(dict[str, TopicOffsets]):
    """A cursor with the time when it was made, in seconds since 1970; None if it has no time."""

    made_at: int | None = None


def cursor_time(cursor: Cursor) -> int | None:
    """Return when `cursor` was made, in seconds since 1970; None if that is not known."""
    return cursor.made_at if isinstance(cursor, DatedCursor) else None


def pack_topic_offsets(topic: str, topic_offsets: TopicOffsets) -> bytes:
    """Encode one topic's part of a cursor, so that a caller can cache it until an offset moves.

    The time is no part of it.
    """
    return _pack_undated(topic, topic_offsets) + _pack_numbers(topic_offsets.awaited)


def _pack_undated(topic: str, topic_offsets: TopicOffsets) -> bytes:
    name = topic.encode()
    parts = [
        bytes((len(name),)),
        name,
        bytes((len(topic_offsets.topic_id),)),
        topic_offsets.topic_id,
        _pack_numbers(topic_offsets.offsets),
    ]
    return b"".join(parts)


def _pack_numbers(by_partition: Mapping[int, int]) -> bytes:
    parts = [_encode_varint(len(by_partition))]
    expected = 0
    for partition in sorted(by_partition):
        # Partitions are numbered from 0 without holes, so this is nearly always 0: one byte.
        parts.append(_encode_varint(partition - expected))
        parts.append(_encode_varint(by_partition[partition]))
        expected = partition + 1
    return b"".join(parts)


def join_topic_offsets(packed: Iterable[bytes], made_at: int) -> str:
    """Build a cursor from the parts of its topics: URL-safe text without a comma."""
    return _encode_body(bytes((CURSOR_VERSION,)) + _encode_varint(made_at) + b"".join(packed))


@lru_cache(maxsize=64)  # sessions with the same topics have one cursor until the next read
def _encode_body(body: bytes) -> str:
    checksum = binascii.crc32(body).to_bytes(_CHECKSUM_BYTES, "big")
    return urlsafe_b64encode(body + checksum).rstrip(b"=").decode()


def encode_cursor(cursor: Cursor, made_at: int | None = None) -> str:
    """Encode `cursor` as URL-safe text, its topics sorted by name.

    Without the time `made_at` the text is what earlier versions wrote: nothing is awaited in it.
    """
    if made_at is None:
        packed = (_pack_undated(topic, cursor[topic]) for topic in sorted(cursor))
        return _encode_body(bytes((UNDATED_VERSION,)) + b"".join(packed))
    return join_topic_offsets(
        (pack_topic_offsets(topic, cursor[topic]) for topic in sorted(cursor)), made_at
    )


def decode_cursor(text: str) -> Cursor:
    """Parse a cursor, alone or followed by positions: `CURSOR,orders:3:1842,orders:5:77`.

    A position marks its record as seen: it moves its partition forward, never back.

    Raises:
        InvalidCursor: If `text` is malformed, or a position's topic is not in the cursor.
    """
    cursor_text, *positions = text.split(",")
    cursor = _decode_topics(_decode_body(cursor_text))
    # Copied once, not once for each position: a hello can hold ten thousand of both.
    offsets_by_topic = {
        topic: dict(topic_offsets.offsets) for topic, topic_offsets in cursor.items()
    }
    for position in positions:
        topic, partition, offset = parse_position(position)
        if topic not in offsets_by_topic:
            raise InvalidCursor(f"the cursor does not cover the topic of {position[:300]!r}")
        offsets_by_topic[topic][partition] = max(
            offset + 1, offsets_by_topic[topic].get(partition, 0)
        )
    for topic, topic_offsets in cursor.items():
        cursor[topic] = topic_offsets.with_offsets(offsets_by_topic[topic])
    return cursor


def parse_position(text: str) -> Position:
    """Parse `topic:partition:offset`.

    Raises:
        InvalidCursor: If `text` has another form, or a number is out of Kafka's range.
    """
    parts = text.split(":")
    if len(parts) != 3 or not is_valid_topic(parts[0]):  # noqa: PLR2004
        raise InvalidCursor("a position is topic:partition:offset")
    partition, offset = (
        _parse_number(parts[1], _MAX_PARTITION),
        _parse_number(parts[2], _MAX_OFFSET - 1),
    )
    return Position(parts[0], partition, offset)


def _parse_number(text: str, max_value: int) -> int:
    if not (
        text.isascii()
        and text.isdigit()
        and len(text) <= len(str(max_value))
        and int(text) <= max_value
    ):
        raise InvalidCursor("a position is topic:partition:offset")
    return int(text)


def _decode_body(text: str) -> bytes:
    if not text:
        raise InvalidCursor("the cursor is empty")
    try:
        raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        raise InvalidCursor("the cursor is garbled or cut short") from None
    body, checksum = raw[:-_CHECKSUM_BYTES], raw[-_CHECKSUM_BYTES:]
    if (
        not body
        or binascii.crc32(body).to_bytes(_CHECKSUM_BYTES, "big") != checksum
        # urlsafe_b64decode skips characters outside its alphabet, so compare the way back too.
        or urlsafe_b64encode(raw).rstrip(b"=").decode() != text
    ):
        raise InvalidCursor("the cursor is garbled or cut short")
    if body[0] not in {UNDATED_VERSION, CURSOR_VERSION}:
        raise InvalidCursor("the cursor is of a version that this instance does not know")
    return body


def _decode_topics(body: bytes) -> Cursor:
    cursor = DatedCursor()
    reader = _CursorReader(body)
    is_dated = reader.read_byte() == CURSOR_VERSION
    cursor.made_at = reader.read_varint(_MAX_SECONDS) if is_dated else None
    while reader.has_more():
        topic = reader.read_bytes(reader.read_byte()).decode("ascii", "replace")
        topic_id = reader.read_bytes(reader.read_byte())
        if not is_valid_topic(topic) or topic in cursor or len(topic_id) not in {0, TOPIC_ID_BYTES}:
            raise InvalidCursor("the cursor is garbled")
        offsets = dict(reader.read_numbers(_MAX_OFFSET))
        awaited = dict(reader.read_numbers(_MAX_SECONDS)) if is_dated else {}
        if not offsets.keys().isdisjoint(awaited):
            raise InvalidCursor("the cursor is garbled")
        cursor[topic] = TopicOffsets(topic_id, offsets, awaited or NOTHING_AWAITED)
    return cursor


class _CursorReader:
    """Reads the fields of a cursor one after the other; raises `InvalidCursor` at its end."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._index = 0

    def has_more(self) -> bool:
        return self._index < len(self._body)

    def read_bytes(self, count: int) -> bytes:
        chunk = self._body[self._index : self._index + count]
        if len(chunk) != count:
            raise InvalidCursor("the cursor is cut short")
        self._index += count
        return chunk

    def read_byte(self) -> int:
        return self.read_bytes(1)[0]

    def read_varint(self, max_value: int) -> int:
        value = 0
        for shift in range(0, 7 * _MAX_VARINT_BYTES, 7):
            byte = self.read_byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:  # noqa: PLR2004
                if value <= max_value:
                    return value
                break
        raise InvalidCursor("the cursor has a number that is too large")

    def read_numbers(self, max_value: int) -> Iterator[tuple[int, int]]:
        partition = 0
        for _ in range(self.read_varint(_MAX_PARTITION)):
            partition += self.read_varint(_MAX_PARTITION)
            if partition > _MAX_PARTITION:
                raise InvalidCursor("the cursor has a number that is too large")
            yield partition, self.read_varint(max_value)
            partition += 1


def _encode_varint(value: int) -> bytes:
    """Encode `value` in groups of seven bits, lowest first, as Protocol Buffers do."""
    encoded = bytearray()
    while value > 0x7F:  # noqa: PLR2004
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
