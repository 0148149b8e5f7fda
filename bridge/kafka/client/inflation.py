"""Inflates the body of a record batch within a limit.

Rule: no more memory than the limit, whatever a producer wrote: a batch of a kilobyte can hold
gigabytes of zeros.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

import cramjam

if TYPE_CHECKING:
    from collections.abc import Callable

_GZIP_WINDOW_BITS: Final = 31  # zlib's number for a gzip header and the largest window
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
    return _INFLATERS[codec](body, max_bytes)


def _inflate_gzip(body: memoryview, max_bytes: int) -> bytearray:
    inflated, rest = bytearray(), bytes(body)
    while rest:  # of several members
        inflater = zlib.decompressobj(_GZIP_WINDOW_BITS)
        inflated += inflater.decompress(rest, max_bytes - len(inflated) + 1)
        if len(inflated) > max_bytes:
            raise InflatesTooLarge
        if not inflater.eof:
            raise zlib.error("the body ends within a member")
        rest = inflater.unused_data
    return inflated


def _inflate_snappy(body: memoryview, max_bytes: int) -> bytearray:
    inflated = bytearray()
    for block in _snappy_blocks(body):
        if len(inflated) + cramjam.snappy.decompress_raw_len(block) > max_bytes:
            raise InflatesTooLarge
        inflated += memoryview(cramjam.snappy.decompress_raw(block))
    return inflated


def _snappy_blocks(body: memoryview) -> list[bytes]:
    """Return the blocks of a body: Java's clients frame them (xerial), others write one."""
    if bytes(body[: len(_XERIAL_MAGIC)]) != _XERIAL_MAGIC:
        return [bytes(body)]
    blocks, start = [], _XERIAL_HEADER_BYTES
    while start < len(body):
        size = int.from_bytes(body[start : start + 4], "big")
        if start + 4 + size > len(body):
            raise ValueError("a block is longer than the body")
        blocks.append(bytes(body[start + 4 : start + 4 + size]))
        start += 4 + size
    return blocks


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
