"""No batch takes more memory than its limit, whatever its producer wrote."""

from __future__ import annotations

import tracemalloc

import pytest
from aiokafka import codec
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder

from bridge.kafka.client.inflation import InflatesTooLarge, inflate
from bridge.kafka.client.record_batches import (
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
