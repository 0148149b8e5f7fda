"""WebSocket's frames after the handshake (RFC 6455, section 5), as few bytes of memory as can be.

Rules: what the bridge sends is never masked, fragmented or compressed, so a frame is a header
and the text, made once for all its readers. What a client sends is read strictly: anything that
breaks section 5 is a `Violation` with the close code that the RFC asks for.
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
_SHORT: Final = 125
_LENGTH_16: Final = 126
_MAX_16: Final = 0xFFFF

_HEAD_16: Final = Struct("!BBH").pack
PROTOCOL_ERROR: Final = 1002
BAD_TEXT: Final = 1007
TOO_BIG: Final = 4502
NORMAL: Final = 1000
_NO_CODE: Final = 1005
# RFC 6455, 7.4.1, and IANA's registry since; 3000 and more are frameworks' and applications'.
_REGISTERED: Final = frozenset(range(1000, 1015)) - {1004, _NO_CODE, 1006}


class Message(NamedTuple):
    """One whole message, or one control frame."""

    opcode: int
    payload: bytes


class Violation(Exception):
    """A client broke the protocol; `code` is what to close with."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def frame(opcode: int, payload: bytes) -> bytes:
    """Return one unmasked frame that carries all of `payload`."""
    size = len(payload)
    if size <= _SHORT:
        return bytes((_FIN | opcode, size)) + payload
    if size <= _MAX_16:
        return _HEAD_16(_FIN | opcode, _LENGTH_16, size) + payload
    return bytes((_FIN | opcode, _LENGTH_16 + 1)) + size.to_bytes(8, "big") + payload


def text(payload: bytes) -> bytes:
    """Return the frame of a text message."""
    return frame(TEXT, payload)


def closing(code: int, reason: str = "") -> bytes:
    """Return a close frame; a reason that is too long for it is cut, between two characters."""
    told = reason.encode()[: _SHORT - 2].decode(errors="ignore")
    return frame(CLOSE, code.to_bytes(2, "big") + told.encode())


PING_FRAME: Final = frame(PING, b"")


class Inbound:
    """Turns what a client sends into messages; holds bytes only between two halves of one."""

    __slots__ = ("_buffer", "_max_bytes", "_opcode", "_parts", "_size")

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._buffer = b""
        self._opcode = _CONTINUATION  # of the message whose parts are being gathered
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[Message]:
        """Return the messages that `data` completes.

        Raises:
            Violation: If the client broke the protocol; what came before it is lost too.
        """
        buffer = self._buffer + data if self._buffer else data
        at = 0
        messages: list[Message] = []
        while (found := self._cut(buffer, at)) is not None:
            first, payload, at = found
            message = self._gather(first, payload)
            if message is not None:
                messages.append(message)
        self._buffer = buffer[at:]
        return messages

    def _cut(self, buffer: bytes, at: int) -> tuple[int, bytes, int] | None:
        """Cut one frame out of `buffer`: its first byte, its payload, and where the next begins."""
        if len(buffer) < at + 2:
            return None
        first, second = buffer[at], buffer[at + 1]
        size = second & ~_MASK
        at += 2
        if size > _SHORT:
            width = 2 if size == _LENGTH_16 else 8
            if len(buffer) < at + width:
                return None
            size = int.from_bytes(buffer[at : at + width], "big")
            at += width
            if size <= (_SHORT if width == 2 else _MAX_16):  # noqa: PLR2004
                raise Violation(PROTOCOL_ERROR, "a length is written longer than it has to be")
        self._check(first, second, size)
        start = at + 4
        if len(buffer) < start + size:
            return None
        payload = apply_mask(buffer[start : start + size], buffer[at:start])
        return first, bytes(payload), start + size

    def _check(self, first: int, second: int, size: int) -> None:
        opcode = first & 0x0F
        if first & 0x70 or opcode not in {_CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG}:
            raise Violation(PROTOCOL_ERROR, "a reserved bit or opcode is used")
        if not second & _MASK:
            raise Violation(PROTOCOL_ERROR, "a client's frame is not masked")
        if opcode >= CLOSE:
            if size > _SHORT or not first & _FIN:
                raise Violation(PROTOCOL_ERROR, "a control frame is too long or fragmented")
        elif self._size + size > self._max_bytes:
            raise Violation(
                TOO_BIG,
                f"more than {self._max_bytes} bytes in a frame (BRIDGE_LIMITS__FRAME_BYTES)",
            )

    def _gather(self, first: int, payload: bytes) -> Message | None:
        opcode = first & 0x0F
        if opcode >= CLOSE:
            return Message(opcode, payload)
        if (opcode == _CONTINUATION) != bool(self._opcode):
            raise Violation(PROTOCOL_ERROR, "a fragment is out of its order")
        if not first & _FIN:
            self._opcode = self._opcode or opcode
            if payload:  # empty fragments would pile up without ever reaching the limit
                self._parts.append(payload)
                self._size += len(payload)
            return None
        if self._opcode:
            opcode, payload = self._opcode, b"".join([*self._parts, payload])
            self._opcode, self._parts, self._size = _CONTINUATION, [], 0
        if opcode == TEXT and not payload.isascii():
            _check_text(payload)
        return Message(opcode, payload)


def _check_text(payload: bytes) -> None:
    try:
        payload.decode()
    except UnicodeDecodeError:
        raise Violation(BAD_TEXT, "a text is not UTF-8") from None


def close_code(payload: bytes) -> int:
    """Return the code in a client's close frame (RFC 6455, 7.1.5), 1005 where it has none.

    Raises:
        Violation: If the frame is malformed.
    """
    if not payload:
        return _NO_CODE
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or not (code in _REGISTERED or 3000 <= code <= 4999):  # noqa: PLR2004
        raise Violation(PROTOCOL_ERROR, "a close frame has no such code")
    _check_text(payload[2:])
    return code
