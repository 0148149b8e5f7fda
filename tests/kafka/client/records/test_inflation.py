"""No batch takes more memory than its limit, whatever its producer wrote."""

from __future__ import annotations

import contextlib
import random
import struct
import time
import tracemalloc
import zlib

import cramjam
import pytest
from aiokafka import codec
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

from bridge.kafka.client.records.inflation import InflatesTooLarge, inflate
from bridge.kafka.client.records.record_batches import (
    MAX_CHUNK_BYTES,
    AbortedTransactions,
    BatchTooLarge,
    Inflation,
    RecordChunk,
    decode_in_steps,
)

CODECS = {
    "gzip": (1, codec.gzip_encode),
    "snappy": (2, codec.snappy_encode),
    "snappy-raw": (2, lambda data: bytes(codec.snappy_encode(data, xerial_compatible=False))),
    "lz4": (3, codec.lz4_encode),
    "zstd": (4, codec.zstd_encode),
}
ZEROS = bytes(3_000_000)
each_codec = pytest.mark.parametrize(("number", "encode"), CODECS.values(), ids=CODECS)


@each_codec
@pytest.mark.parametrize("data", [b"", b"a", bytes(range(256)) * 3000, ZEROS])
def test_what_was_compressed_comes_back(number, encode, data):
    assert bytes(inflate(number, memoryview(encode(data)), 1 << 24)) == data


@each_codec
def test_the_limit_is_exact(number, encode):
    compressed = memoryview(encode(ZEROS))
    assert len(inflate(number, compressed, len(ZEROS))) == len(ZEROS)
    with pytest.raises(InflatesTooLarge):
        inflate(number, compressed, len(ZEROS) - 1)


@each_codec
def test_memory_stays_near_the_limit(number, encode):
    compressed, limit = memoryview(encode(bytes(1 << 27))), 1 << 20
    tracemalloc.start()
    with pytest.raises(InflatesTooLarge):
        inflate(number, compressed, limit)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * limit + 2 * len(compressed)


@each_codec
def test_damaged_bytes_are_an_error_and_not_too_large(number, encode):
    compressed = encode(bytes(range(256)) * 30)
    for damaged in (compressed[:-5], b"\xff" * 40):
        with pytest.raises(Exception) as error:  # noqa: PT011 - each codec has its own
            inflate(number, memoryview(damaged), 1 << 20)
        assert not isinstance(error.value, InflatesTooLarge)


def test_members_of_a_gzip_body_count_together():
    compressed = codec.gzip_encode(bytes(600)) * 2
    assert bytes(inflate(1, memoryview(compressed), 1200)) == bytes(1200)
    with pytest.raises(InflatesTooLarge):
        inflate(1, memoryview(compressed), 1199)


def zeros_batch(compression: int, size: int) -> bytes:
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=compression,
        is_transactional=0,
        producer_id=-1,
        producer_epoch=0,
        base_sequence=0,
        batch_size=1 << 30,
    )
    builder.append(0, 0, None, bytes(size), [])
    return bytes(builder.build())


def steps(data: bytes, **options):
    return [*decode_in_steps(data, 0, 1 << 40, AbortedTransactions([]), **options)]


@pytest.mark.parametrize("compression", [1, 2, 3, 4])
def test_a_batch_that_inflates_beyond_the_limit_is_passed_over(compression):
    data = zeros_batch(compression, 5_000_000)
    with pytest.raises(BatchTooLarge) as error:
        steps(data, max_batch_bytes=2_000_000)
    assert error.value.next_offset == 1
    (inflation, chunk) = steps(data)
    assert isinstance(inflation, Inflation)
    assert isinstance(chunk, RecordChunk)
    assert len(chunk.records[0].value or b"") == 5_000_000


@pytest.mark.parametrize("compression", [1, 2])
def test_a_wrapper_message_of_an_old_format_has_the_limit_too(compression):
    builder = LegacyRecordBatchBuilder(magic=1, compression_type=compression, batch_size=1 << 30)
    builder.append(0, timestamp=0, key=None, value=bytes(5_000_000))
    data = bytes(builder.build())
    with pytest.raises(BatchTooLarge):
        steps(data, max_batch_bytes=2_000_000)
    assert [r.value for each in steps(data) if isinstance(each, RecordChunk) for r in each.records]


def test_a_small_batch_is_inflated_at_once():
    (chunk,) = steps(zeros_batch(4, 1000))
    assert isinstance(chunk, RecordChunk)


def zstd_frame(window_log: int) -> bytes:
    """An empty frame that asks for a window of so many bytes."""
    return b"\x28\xb5\x2f\xfd" + bytes([0, window_log - 10 << 3]) + b"\1\0\0"


XERIAL = b"\x82SNAPPY\0" + bytes(8)
SKIPPABLE = struct.pack("<II", 0x184D2A50, 0)
#: Codec, the start of a body, and a part that may be repeated without end and gives hardly a byte.
TINY_PARTS = {
    "gzip, empty members": (1, b"", codec.gzip_encode(b"")),
    "gzip, members of a byte": (1, b"", codec.gzip_encode(b"a")),
    "snappy, empty blocks": (2, XERIAL, b"\0\0\0\1\0"),
    "snappy, blocks of a byte": (2, XERIAL, b"\0\0\0\3\1\0a"),
    "lz4, empty frames": (3, b"", bytes(cramjam.lz4.compress(b""))),
    "lz4, skippable frames": (3, bytes(cramjam.lz4.compress(b"")), SKIPPABLE),
    "zstd, empty frames": (4, b"", bytes(cramjam.zstd.compress(b""))),
    "zstd, skippable frames": (4, b"", SKIPPABLE),
    "zstd, windows of 128 MiB": (4, b"", zstd_frame(27) + zstd_frame(10)),
    "zstd, empty blocks": (4, zstd_frame(10)[:6], b"\0\0\0"),
}


def tiny_parts(start: bytes, part: bytes, size: int) -> memoryview:
    return memoryview(start + part * (size // len(part)))


@pytest.mark.parametrize(("number", "start", "part"), TINY_PARTS.values(), ids=TINY_PARTS)
def test_time_is_in_proportion_to_the_body(number, start, part):
    def seconds(size: int) -> float:
        body, times = tiny_parts(start, part, size), []
        for _ in range(3):
            started = time.thread_time()
            with contextlib.suppress(Exception):  # of the body without a last block
                inflate(number, body, 1 << 26)
            times.append(time.thread_time() - started)
        return min(times)

    few, many = seconds(100_000), seconds(800_000)
    assert many < 0.01 or many < 24 * few, "8 times as much; 64 times would be the square"


@pytest.mark.parametrize(("number", "start", "part"), TINY_PARTS.values(), ids=TINY_PARTS)
def test_a_body_of_many_tiny_parts_is_not_inflated_in_the_event_loop(number, start, part):
    large = Inflation(number, tiny_parts(start, part, 40_000), 1 << 26, prefix=b"")
    assert not large.run_if_small()
    small = Inflation(number, tiny_parts(start, part, 4_000), 1 << 26, prefix=b"")
    assert small.run_if_small(), "its result may be an error"


def test_a_member_of_gzip_is_passed_on_once(monkeypatch):
    fed = []
    make = zlib.decompressobj

    class Counting:
        def __init__(self, bits):
            self._inflater = make(bits)

        def decompress(self, data, size):
            fed.append(len(data))
            return self._inflater.decompress(data, size)

        def __getattr__(self, name):
            return getattr(self._inflater, name)

    monkeypatch.setattr(zlib, "decompressobj", Counting)
    body = codec.gzip_encode(b"") * 5_000
    inflate(1, memoryview(body), 1000)
    assert sum(fed) <= 1024 * 5_000
    fed.clear()
    body = codec.gzip_encode(random.Random(1).randbytes(3_000_000))
    inflate(1, memoryview(body), 1 << 24)
    assert len(fed) < 30, "a large member is not passed on in small pieces"


def test_a_compression_type_that_is_none_is_an_error():
    with pytest.raises(ValueError, match="no compression type 7"):
        inflate(7, memoryview(b"abc"), 1000)


def test_a_control_batch_has_the_limit_too():
    data = bytearray(zeros_batch(4, 5_000_000))
    data[22] |= 0x20
    data[17:21] = calc_crc32c(bytes(data[21:])).to_bytes(4, "big")
    with pytest.raises(BatchTooLarge):
        steps(bytes(data), max_batch_bytes=2_000_000)


def test_a_chunk_is_bounded_in_bytes():
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=0,
        is_transactional=0,
        producer_id=-1,
        producer_epoch=0,
        base_sequence=0,
        batch_size=1 << 30,
    )
    for number in range(20):
        builder.append(number, 0, None, bytes(MAX_CHUNK_BYTES // 2), [])
    chunks = steps(bytes(builder.build()))
    assert [record.offset for chunk in chunks for record in chunk.records] == [*range(20)]
    assert max(len(chunk.records) for chunk in chunks) == 2
    assert [chunk.ends_batch for chunk in chunks] == [False] * 9 + [True]
