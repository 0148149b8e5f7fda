"""Encodes and parses WebSocket frames after the handshake (RFC 6455, section 5).

Rule: sent frames are never masked, fragmented or compressed, so one encoding serves all readers. A
received frame is parsed when the caller wants it, so that one read cannot hold up the event loop.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

from websockets.frames import apply_mask  # type: ignore[attr-defined]  # the faster of its two

TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA
_CONTINUATION: Final = 0x0
_FIN: Final = 0x80
_MASK: Final = 0x80
_MAX_SHORT_BYTES: Final = 125
_LENGTH_16_MARKER: Final = 126
_MAX_LENGTH_16: Final = 0xFFFF

_pack_header_16: Final = Struct("!BBH").pack
PROTOCOL_ERROR: Final = 1002
INVALID_PAYLOAD: Final = 1007
FRAME_TOO_LARGE: Final = 4502
NORMAL_CLOSURE: Final = 1000
_NO_STATUS_RECEIVED: Final = 1005
# RFC 6455, 7.4.1, and IANA's registry since; 3000 and more are frameworks' and applications'.
_REGISTERED_CLOSE_CODES: Final = frozenset(range(1000, 1015)) - {1004, _NO_STATUS_RECEIVED, 1006}


class WebSocketMessage(NamedTuple):
    """One whole message, one control frame, or `FRAGMENT`."""

    opcode: int
    payload: bytes


#: Stands for a data frame after which its message is not complete yet.
FRAGMENT: Final = WebSocketMessage(_CONTINUATION, b"")


class ProtocolViolation(Exception):
    """A client broke the protocol; `code` is the close code."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def encode_frame(opcode: int, payload: bytes) -> bytes:
    """Return one unmasked frame that carries all of `payload`."""
    size = len(payload)
    if size <= _MAX_SHORT_BYTES:
        return bytes((_FIN | opcode, size)) + payload
    if size <= _MAX_LENGTH_16:
        return _pack_header_16(_FIN | opcode, _LENGTH_16_MARKER, size) + payload
    return bytes((_FIN | opcode, _LENGTH_16_MARKER + 1)) + size.to_bytes(8, "big") + payload


def encode_text(payload: bytes) -> bytes:
    """Return the frame of a text message."""
    return encode_frame(TEXT, payload)


def encode_close(code: int, reason: str = "") -> bytes:
    """Return a close frame; a reason that is too long is cut between two characters."""
    truncated_reason = reason.encode()[: _MAX_SHORT_BYTES - 2].decode(errors="ignore")
    return encode_frame(CLOSE, code.to_bytes(2, "big") + truncated_reason.encode())


PING_FRAME: Final = encode_frame(PING, b"")


class FrameParser:
    """Parses what a client sends, frame by frame. It holds what was fed and not parsed yet."""

    __slots__ = ("_buffer", "_fragments", "_max_bytes", "_offset", "_opcode")

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._buffer = bytearray()
        self._offset = 0  # what lies before it is parsed
        self._opcode = _CONTINUATION  # of the fragmented message
        # One buffer: a list of single bytes would take eighty times their size.
        self._fragments = bytearray()

    def feed(self, data: bytes) -> None:
        """Add bytes for `pop` to parse."""
        if self._offset:
            del self._buffer[: self._offset]
            self._offset = 0
        self._buffer += data

    @property
    def has_bytes(self) -> bool:
        """Whether bytes are left, of a whole frame or of a part."""
        return self._offset < len(self._buffer)

    def pop(self) -> WebSocketMessage | None:
        """Parse the next frame; None if it has not come whole yet.

        Raises:
            ProtocolViolation: If the client broke the protocol. No later frame can be parsed.
        """
        buffer, offset = self._buffer, self._offset
        if len(buffer) < offset + 2:
            return None
        first_byte, second_byte = buffer[offset], buffer[offset + 1]
        size = second_byte & ~_MASK
        offset += 2
        if size > _MAX_SHORT_BYTES:
            length_bytes = 2 if size == _LENGTH_16_MARKER else 8
            if len(buffer) < offset + length_bytes:
                return None
            size = int.from_bytes(buffer[offset : offset + length_bytes], "big")
            offset += length_bytes
            if size <= (_MAX_SHORT_BYTES if length_bytes == 2 else _MAX_LENGTH_16):  # noqa: PLR2004
                raise ProtocolViolation(
                    PROTOCOL_ERROR, "a length is written longer than it has to be"
                )
        self._check_header(first_byte, second_byte, size)
        start = offset + 4
        if len(buffer) < start + size:
            return None
        payload = apply_mask(buffer[start : start + size], buffer[offset:start])
        if len(buffer) == start + size:
            buffer.clear()  # most reads are one frame; an idle connection holds nothing
            self._offset = 0
        else:
            self._offset = start + size
        return self._assemble(first_byte, bytes(payload))

    def _check_header(self, first_byte: int, second_byte: int, size: int) -> None:
        opcode = first_byte & 0x0F
        if first_byte & 0x70 or opcode not in {_CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG}:
            raise ProtocolViolation(PROTOCOL_ERROR, "a reserved bit or opcode is used")
        if not second_byte & _MASK:
            raise ProtocolViolation(PROTOCOL_ERROR, "a client's frame is not masked")
        if opcode >= CLOSE:
            if size > _MAX_SHORT_BYTES or not first_byte & _FIN:
                raise ProtocolViolation(PROTOCOL_ERROR, "a control frame is too long or fragmented")
        elif len(self._fragments) + size > self._max_bytes:
            raise ProtocolViolation(
                FRAME_TOO_LARGE,
                f"more than {self._max_bytes} bytes in a frame (BRIDGE_LIMITS__FRAME_BYTES)",
            )

    def _assemble(self, first_byte: int, payload: bytes) -> WebSocketMessage:
        opcode = first_byte & 0x0F
        if opcode >= CLOSE:
            return WebSocketMessage(opcode, payload)
        if (opcode == _CONTINUATION) != bool(self._opcode):
            raise ProtocolViolation(PROTOCOL_ERROR, "a fragment is out of its order")
        if not first_byte & _FIN:
            self._opcode = self._opcode or opcode
            self._fragments += payload
            return FRAGMENT
        if self._opcode:
            opcode, payload = self._opcode, bytes(self._fragments) + payload
            self._opcode, self._fragments = _CONTINUATION, bytearray()
        if opcode == TEXT and not payload.isascii():
            _check_utf8(payload)
        return WebSocketMessage(opcode, payload)


def _check_utf8(payload: bytes) -> None:
    try:
        payload.decode()
    except UnicodeDecodeError:
        raise ProtocolViolation(INVALID_PAYLOAD, "a text is not UTF-8") from None


def parse_close_code(payload: bytes) -> int:
    """Return the code in a client's close frame (RFC 6455, 7.1.5), 1005 if it has none.

    Raises:
        ProtocolViolation: If the frame is malformed.
    """
    if not payload:
        return _NO_STATUS_RECEIVED
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or not (code in _REGISTERED_CLOSE_CODES or 3000 <= code <= 4999):  # noqa: PLR2004
        raise ProtocolViolation(PROTOCOL_ERROR, "a close frame has no such code")
    _check_utf8(payload[2:])
    return code
