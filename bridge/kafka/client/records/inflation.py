"""Inflates the body of a record batch within a limit.

Rule: no more memory than the limit, and time in proportion to the body, whatever a producer wrote.
A batch of a kilobyte can hold gigabytes of zeros, and a megabyte 50,000 empty gzip members.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

import cramjam

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_GZIP_WINDOW_BITS: Final = 31  # zlib's number for a gzip header and the largest window
# zlib returns what follows a member as a copy. So a body is passed to it in pieces: the first ones
# of a member are small, else many small members would take quadratic time.
_FIRST_PIECE_BYTES: Final = 1024
_LARGEST_PIECE_BYTES: Final = 256 * 1024
_XERIAL_MAGIC: Final = b"\x82SNAPPY\x00"
_XERIAL_HEADER_BYTES: Final = 16
_FIRST_GUESS_BYTES: Final = 64 * 1024
_GROWTH: Final = 4
# What cramjam says of an output that is full.
_OUTPUT_IS_FULL: Final = "failed to write whole buffer"


class InflatesTooLarge(Exception):
    """The body has more bytes than the limit."""


def inflate(codec: int, body: memoryview, max_bytes: int) -> bytes | bytearray | memoryview:
    """Return what `body` inflates to; `codec` is a batch's compression type, 1 to 4.

    Raises:
        InflatesTooLarge: If it has more than `max_bytes` bytes.
        Exception: Whatever the codec raises, if the body is damaged.
    """
    inflater = _INFLATERS.get(codec)
    if inflater is None:
        raise ValueError(f"there is no compression type {codec}")
    return inflater(body, max_bytes)


def _inflate_gzip(body: memoryview, max_bytes: int) -> bytearray:
    inflated, position = bytearray(), 0
    while position < len(body):  # of several members
        inflater, piece_bytes = zlib.decompressobj(_GZIP_WINDOW_BITS), _FIRST_PIECE_BYTES
        while not inflater.eof:
            piece = body[position : position + piece_bytes]
            if not piece:
                raise zlib.error("the body ends within a member")
            inflated += inflater.decompress(piece, max_bytes - len(inflated) + 1)
            if len(inflated) > max_bytes:
                raise InflatesTooLarge
            position += len(piece)
            piece_bytes = min(2 * piece_bytes, _LARGEST_PIECE_BYTES)
        position -= len(inflater.unused_data)
    return inflated


def _inflate_snappy(body: memoryview, max_bytes: int) -> bytearray:
    inflated = bytearray()
    for block in _snappy_blocks(bytes(body)):
        if len(inflated) + cramjam.snappy.decompress_raw_len(block) > max_bytes:
            raise InflatesTooLarge
        inflated += memoryview(cramjam.snappy.decompress_raw(block))
    return inflated


def _snappy_blocks(body: bytes) -> Iterator[bytes]:
    """Yield the blocks of a body: Java's clients frame them (xerial), others write one."""
    if not body.startswith(_XERIAL_MAGIC):
        yield body
        return
    start = _XERIAL_HEADER_BYTES
    while start < len(body):
        end = start + 4 + int.from_bytes(body[start : start + 4], "big")
        if end > len(body):
            raise ValueError("a block is longer than the body")
        yield body[start + 4 : end]
        start = end


def _inflate_into(
    decompress_into: Callable[[bytes, bytearray], int],
) -> Callable[[memoryview, int], memoryview]:
    """Return an inflater that tries larger outputs: the format does not tell the size."""

    def inflate_into(body: memoryview, max_bytes: int) -> memoryview:
        compressed = bytes(body)
        size = min(max(_FIRST_GUESS_BYTES, _GROWTH * len(compressed)), max_bytes)
        while True:
            output = bytearray(size)
            try:
                return memoryview(output)[: decompress_into(compressed, output)]
            except cramjam.DecompressionError as error:
                if _OUTPUT_IS_FULL not in str(error):
                    raise
            if size == max_bytes:
                raise InflatesTooLarge
            size = min(_GROWTH * size, max_bytes)

    return inflate_into


_INFLATERS: Final[dict[int, Callable[[memoryview, int], bytes | bytearray | memoryview]]] = {
    1: _inflate_gzip,
    2: _inflate_snappy,
    3: _inflate_into(cramjam.lz4.decompress_into),
    4: _inflate_into(cramjam.zstd.decompress_into),
}
