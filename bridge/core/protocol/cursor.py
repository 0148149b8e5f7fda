"""Places in the log: one record's position, and the cursor over all of a client's topics.

Rule: a cursor is Kafka's own offsets with the identity of each topic, so any instance can resume
any client. It grants nothing and is checked like any other input: a checksum refuses what a
terminal, a column or a typing hand has cut short, instead of believing half of it.
"""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from bridge.core.protocol.names import is_topic

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

VERSION: Final = 1
#: Bytes of Kafka's 16-byte topic id in a cursor: enough to tell two lives of a topic apart.
IDENTITY_BYTES: Final = 8
_MAX_OFFSET: Final = 2**63 - 1
_MAX_PARTITION: Final = 2**31 - 1
_CHECKSUM_BYTES: Final = 4
_MAX_VARINT_BYTES: Final = 10


class Malformed(ValueError):
    """Text that is no cursor. The message is for the client that sent it."""


class Position(NamedTuple):
    """One record's place: `topic:partition:offset`."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}:{self.partition}:{self.offset}"


class Place(NamedTuple):
    """Where a reader stands in one topic: its `identity`, and by partition the next offset to read.

    `identity` is the start of Kafka's topic id; empty where the broker tells none, or where the
    topic does not exist yet.
    """

    identity: bytes
    offsets: Mapping[int, int]


#: A place in each of a client's topics.
Cursor: TypeAlias = "dict[str, Place]"


def pack_place(topic: str, place: Place) -> bytes:
    """Return the part of a cursor that tells of one topic; the hub keeps these between changes."""
    name = topic.encode()
    parts = [bytes((len(name),)), name, bytes((len(place.identity),)), place.identity]
    parts.append(_varint(len(place.offsets)))
    expected = 0
    for partition in sorted(place.offsets):
        # Partitions are numbered from 0 without holes, so the difference is nearly always 0.
        parts.append(_varint(partition - expected))
        parts.append(_varint(place.offsets[partition]))
        expected = partition + 1
    return b"".join(parts)


def join_places(packed: Iterable[bytes]) -> str:
    """Return the cursor made of these packed places: URL-safe text without a comma."""
    return _cursor_text(bytes((VERSION,)) + b"".join(packed))


@lru_cache(maxsize=64)  # all who follow the same topics have the same, until something is read
def _cursor_text(body: bytes) -> str:
    checksum = binascii.crc32(body).to_bytes(_CHECKSUM_BYTES, "big")
    return urlsafe_b64encode(body + checksum).rstrip(b"=").decode()


def write_cursor(cursor: Cursor) -> str:
    """Return `cursor` as text."""
    return join_places(pack_place(topic, cursor[topic]) for topic in sorted(cursor))


def read_cursor(text: str) -> Cursor:
    """Read a cursor, alone or followed by positions: `CURSOR,orders:3:1842,orders:5:77`.

    A position says that its record has been seen, so it moves its partition on, never back.

    Raises:
        Malformed: If `text` is not that.
    """
    head, *positions = text.split(",")
    cursor = _read_places(_decode(head))
    # Copied once, not for each position: a hello can hold ten thousand of both.
    moved = {topic: dict(place.offsets) for topic, place in cursor.items()}
    for position in positions:
        topic, partition, offset = read_position(position)
        if topic not in moved:
            raise Malformed(f"the cursor does not cover the topic of {position[:300]!r}")
        moved[topic][partition] = max(offset + 1, moved[topic].get(partition, 0))
    return {topic: Place(place.identity, moved[topic]) for topic, place in cursor.items()}


def read_position(text: str) -> Position:
    """Read `topic:partition:offset`.

    Raises:
        Malformed: If `text` is not that.
    """
    parts = text.split(":")
    if len(parts) != 3 or not is_topic(parts[0]):  # noqa: PLR2004
        raise Malformed("a position is topic:partition:offset")
    partition, offset = _number(parts[1], _MAX_PARTITION), _number(parts[2], _MAX_OFFSET - 1)
    return Position(parts[0], partition, offset)


def _number(text: str, most: int) -> int:
    if not (
        text.isascii() and text.isdigit() and len(text) <= len(str(most)) and int(text) <= most
    ):
        raise Malformed("a position is topic:partition:offset")
    return int(text)


def _decode(text: str) -> bytes:
    if not text:
        raise Malformed("the cursor is empty")
    try:
        raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        raise Malformed("the cursor is garbled or cut short") from None
    body, checksum = raw[:-_CHECKSUM_BYTES], raw[-_CHECKSUM_BYTES:]
    if (
        not body
        or binascii.crc32(body).to_bytes(_CHECKSUM_BYTES, "big") != checksum
        # urlsafe_b64decode passes over what is not in its alphabet, so look at the way back too.
        or urlsafe_b64encode(raw).rstrip(b"=").decode() != text
    ):
        raise Malformed("the cursor is garbled or cut short")
    if body[0] != VERSION:
        raise Malformed("the cursor is of a version that this instance does not know")
    return body[1:]


def _read_places(body: bytes) -> Cursor:
    cursor: Cursor = {}
    scan = _Scan(body)
    while scan.left():
        topic = scan.take(scan.byte()).decode("ascii", "replace")
        identity = scan.take(scan.byte())
        if not is_topic(topic) or topic in cursor or len(identity) not in {0, IDENTITY_BYTES}:
            raise Malformed("the cursor is garbled")
        cursor[topic] = Place(identity, dict(scan.offsets()))
    return cursor


class _Scan:
    """Reads the fields of a cursor in turn; every shortage is `Malformed`."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    def left(self) -> bool:
        return self._at < len(self._body)

    def take(self, count: int) -> bytes:
        taken = self._body[self._at : self._at + count]
        if len(taken) != count:
            raise Malformed("the cursor is cut short")
        self._at += count
        return taken

    def byte(self) -> int:
        return self.take(1)[0]

    def varint(self, most: int) -> int:
        value = 0
        for shift in range(0, 7 * _MAX_VARINT_BYTES, 7):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:  # noqa: PLR2004
                if value <= most:
                    return value
                break
        raise Malformed("the cursor has a number that is too large")

    def offsets(self) -> Iterator[tuple[int, int]]:
        partition = 0
        for _ in range(self.varint(_MAX_PARTITION)):
            partition += self.varint(_MAX_PARTITION)
            if partition > _MAX_PARTITION:
                raise Malformed("the cursor has a number that is too large")
            yield partition, self.varint(_MAX_OFFSET)
            partition += 1


def _varint(value: int) -> bytes:
    """Return `value` in seven-bit groups, lowest first (as Protocol Buffers write it)."""
    out = bytearray()
    while value > 0x7F:  # noqa: PLR2004
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
