"""Server frames in a buffer, by their lengths alone.

Rule: nothing is copied and nothing is parsed; what is not whole yet waits for the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

TEXT: Final = 0x81
CLOSE: Final = 0x88
PING: Final = 0x89
PONG: Final = 0x8A
_LENGTH_16, _LENGTH_64 = 126, 127


def frames(data: bytes, at: int = 0) -> Iterator[tuple[int, int, int]]:
    """Yield each whole frame from `at` on: its first byte, its payload's begin and end."""
    size = len(data)
    while at + 2 <= size:
        length = data[at + 1]
        body = at + 2
        if length == _LENGTH_16:
            body = at + 4
            length = int.from_bytes(data[at + 2 : body], "big")
        elif length == _LENGTH_64:
            body = at + 10
            length = int.from_bytes(data[at + 2 : body], "big")
        end = body + length
        if body > size or end > size:
            return
        yield data[at], body, end
        at = end


def text_frame(text: bytes) -> bytes:
    """Return `text` as a server sends it."""
    return framed(TEXT, text)


def framed(first: int, payload: bytes) -> bytes:
    """Return a frame that begins with `first`, not masked."""
    size = len(payload)
    if size < _LENGTH_16:
        return bytes((first, size)) + payload
    if size < 1 << 16:
        return bytes((first, _LENGTH_16)) + size.to_bytes(2, "big") + payload
    return bytes((first, _LENGTH_64)) + size.to_bytes(8, "big") + payload


def masked(first: int, payload: bytes = b"") -> bytes:
    """Return a client's frame of fewer than 126 bytes; the mask, of zeros, changes nothing."""
    return bytes((first, 0x80 | len(payload))) + b"\0\0\0\0" + payload
