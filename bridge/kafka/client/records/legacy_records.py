"""Decodes messages of Kafka's formats before version 2: magic 0 and 1.

Rule: a message that cannot be decoded costs itself alone. A message with a codec is a wrapper: its
value holds the others, and its checksum covers them.
"""

from __future__ import annotations

import struct
from binascii import crc32
from typing import TYPE_CHECKING, Final

from bridge.core.protocol.record import UndecodableRecord
from bridge.kafka.client.records.record_recovery import (
    PAUSE_AFTER_RECORDS,
    DecodedRecord,
    unknown_records,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

#: The bits of the attributes that name a codec, and that with which the broker sets timestamps.
CODEC_MASK: Final = 0x07
_LOG_APPEND_TIME: Final = 0x08
_START: Final = struct.Struct(">qi")  # offset, length of what follows
_HEADER: Final = struct.Struct(">qiIbb")  # the same, checksum, magic, attributes
_CHECKSUM_END: Final = 16
_TIMESTAMP: Final = struct.Struct(">q")
_LENGTH: Final = struct.Struct(">i")
_NO_TIMESTAMP: Final = -1  # as Kafka writes it; magic 0 has no timestamps


class LegacyBatch:
    """A message or a wrapper, as far as a batch is checked before it is decoded."""

    def __init__(self, message: memoryview) -> None:
        """Raise struct.error if `message` is too short."""
        self._checksum: int
        offset, _, self._checksum, _, attributes = _HEADER.unpack_from(message)
        self._message = message
        self.next_offset: int = offset + 1
        self.codec: int = attributes & CODEC_MASK  #: 0 if it is not compressed

    def validate_crc(self) -> bool:
        """Whether its checksum is right."""
        return crc32(self._message[_CHECKSUM_END:]) == self._checksum


def wrapped_body(wrapper: memoryview) -> memoryview:
    """Return the compressed value of a wrapper.

    Raises:
        ValueError: If it has none, or a length in it is wrong.
    """
    position = _skip_bytes(wrapper, _fields_at(wrapper))
    end = _skip_bytes(wrapper, position)
    if end != len(wrapper):
        raise ValueError("a compressed message has a wrong length")
    return wrapper[position + _LENGTH.size :]


def decode_message(message: memoryview) -> DecodedRecord | UndecodableRecord:
    """Decode a message that is not compressed."""
    return _decode(message, _START.unpack_from(message)[0], None)


def decode_wrapper(
    wrapper: memoryview, inflated: memoryview, offset: int, *, at_batch_boundary: bool
) -> Iterator[DecodedRecord | UndecodableRecord | None]:
    """Yield the messages in `inflated`, the value of `wrapper`, in order of offsets.

    Since magic 1 their offsets are relative. The last one's is that of the wrapper. If it cannot be
    found, the first one's is `offset`, as far as a batch is known to end there.

    Raises:
        UnreadableRest: If a wrong length hides too many offsets.
    """
    last_offset, _, _, magic, attributes = _HEADER.unpack_from(wrapper)
    base: int | None = 0
    if magic:
        last = yield from _last_relative_offset(inflated)
        base = offset if at_batch_boundary or offset == 0 else None
        if last is not None and last <= last_offset:
            base = last_offset - last
    time = _timestamp(wrapper)
    wrapper_time = time if attributes & _LOG_APPEND_TIME else None
    previous, position = (base or 0) - 1, 0
    while base is not None and previous < last_offset:
        end = _message_end(inflated, position)
        if end is None:
            break
        message, position = inflated[position:end], end
        message_offset = base + _START.unpack_from(message)[0]
        if previous < message_offset <= last_offset:
            yield _decode(message, message_offset, wrapper_time)
            previous = message_offset
        else:
            previous += 1
            reason = "its offset is not in its batch"
            yield UndecodableRecord(previous, time, bytes(message), reason)
    rest = inflated[position:]
    yield from unknown_records(max(previous + 1, offset), last_offset, time, rest)


def _last_relative_offset(inflated: memoryview) -> Generator[None, None, int | None]:
    """Return the offset of the last message; None if it cannot be found."""
    position, count, last = 0, 0, None
    while position < len(inflated):
        end = _message_end(inflated, position)
        if end is None:
            return None
        last = int(_START.unpack_from(inflated, position)[0])
        position, count = end, count + 1
        if not count % PAUSE_AFTER_RECORDS:
            yield
    return last


def _message_end(messages: memoryview, position: int) -> int | None:
    """Return where the message at `position` ends; None if its length is wrong."""
    if len(messages) - position < _HEADER.size:
        return None
    _, length = _START.unpack_from(messages, position)
    end = position + _START.size + int(length)
    return end if position + _HEADER.size <= end <= len(messages) else None


def _decode(
    message: memoryview, offset: int, time: int | None
) -> DecodedRecord | UndecodableRecord:
    """Decode a message at `offset`; `time` is that of its wrapper, if it counts."""
    timestamp = _NO_TIMESTAMP if time is None else time
    try:
        if LegacyBatch(message).codec:
            raise ValueError("it is compressed within a compressed message")  # noqa: TRY301
        if time is None:
            timestamp = _timestamp(message)
        key_at = _fields_at(message)
        value_at = _skip_bytes(message, key_at)
        end = _skip_bytes(message, value_at)
    except (ValueError, struct.error) as error:
        reason = f"its bytes are no message: {error}"
        return UndecodableRecord(offset, timestamp, bytes(message), reason)
    if end != len(message):
        reason = "bytes are left over behind its value"
        return UndecodableRecord(offset, timestamp, bytes(message), reason)
    key, value = _bytes_at(message, key_at), _bytes_at(message, value_at)
    return DecodedRecord(offset, timestamp, key, value, [])


def _timestamp(message: memoryview) -> int:
    _, _, _, magic, _ = _HEADER.unpack_from(message)
    if not magic:
        return _NO_TIMESTAMP
    return int(_TIMESTAMP.unpack_from(message, _HEADER.size)[0])


def _fields_at(message: memoryview) -> int:
    """Return where the length of the key stands."""
    _, _, _, magic, _ = _HEADER.unpack_from(message)
    if magic not in {0, 1}:
        raise ValueError("its format is not known")
    return _HEADER.size + (_TIMESTAMP.size if magic else 0)


def _skip_bytes(message: memoryview, position: int) -> int:
    """Return the position behind the bytes whose length stands at `position`."""
    (length,) = _LENGTH.unpack_from(message, position)
    position += _LENGTH.size
    if length > len(message) - position:
        raise ValueError("a length reaches beyond the message")
    return position + max(0, int(length))


def _bytes_at(message: memoryview, position: int) -> bytes | None:
    (length,) = _LENGTH.unpack_from(message, position)
    start = position + _LENGTH.size
    return None if length < 0 else bytes(message[start : start + length])
