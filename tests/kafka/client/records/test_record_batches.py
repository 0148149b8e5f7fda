"""Any bytes are records or `CorruptBatch`; and what was aborted is passed over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from hypothesis import given
from hypothesis import strategies as st

from bridge.kafka.client.records.record_batches import (
    MAX_CHUNK_RECORDS,
    AbortedTransactions,
    CorruptBatch,
    decode_batches,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

END = 2**40
ABORT, COMMIT = b"\x00\x00\x00\x00", b"\x00\x00\x00\x01"
_CONTROL_BIT, _ATTRIBUTES_AT, _CRC_AT = 0x20, 21, 17

Plain = tuple[int, bytes | None, bytes | None, list[tuple[str, bytes | None]]]


def batch(
    values: Sequence[bytes | None],
    first: int = 0,
    *,
    producer: int = -1,
    transactional: bool = False,
    compression: int = 0,
    keys: Sequence[bytes | None] | None = None,
    headers: Sequence[list[tuple[str, bytes | None]]] | None = None,
) -> bytes:
    """A batch as a broker sends it, from offset `first` on."""
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=compression,
        is_transactional=transactional,
        producer_id=producer,
        producer_epoch=0,
        base_sequence=0,
        batch_size=10**9,
    )
    for n, value in enumerate(values):
        key = keys[n] if keys else None
        said = headers[n] if headers else []
        assert builder.append(n, 1_700_000_000_000 + n, key, value, said) is not None
    data = bytearray(builder.build())
    data[:8] = first.to_bytes(8, "big")  # the checksum does not cover it: brokers write it anew
    return bytes(data)


def marker(kind: bytes, first: int, producer: int) -> bytes:
    """The control batch that ends a transaction."""
    data = bytearray(
        batch([b"\x00" * 6], first, producer=producer, transactional=True, keys=[kind])
    )
    data[_ATTRIBUTES_AT + 1] |= _CONTROL_BIT
    data[_CRC_AT:_ATTRIBUTES_AT] = crc32c(bytes(data[_ATTRIBUTES_AT:])).to_bytes(4, "big")
    return bytes(data)


def crc32c(data: bytes) -> int:
    """Castagnoli's checksum, bit by bit: nothing of aiokafka's."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def read(
    data: bytes, offset: int = 0, end: int = END, aborted: Sequence[tuple[int, int]] = (), **more
) -> tuple[list[Plain], int, CorruptBatch | None]:
    """The records, the offset that follows them, and what stopped the reading, if anything did."""
    records: list[Plain] = []
    try:
        for chunk in decode_batches(data, offset, end, AbortedTransactions(aborted), **more):
            assert len(chunk.records) <= MAX_CHUNK_RECORDS
            assert offset <= chunk.first_offset < chunk.next_offset
            offset = chunk.next_offset
            records += [(r.offset, r.key, r.value, list(r.headers)) for r in chunk.records]
    except CorruptBatch as corrupt:
        return records, offset, corrupt
    return records, offset, None


def offsets(*arguments, **more) -> list[int]:
    records, _, corrupt = read(*arguments, **more)
    assert corrupt is None, corrupt
    return [record[0] for record in records]


some_bytes = st.binary(max_size=40)
maybe_bytes = st.none() | some_bytes
said_headers = st.lists(st.tuples(st.text(max_size=8), maybe_bytes), max_size=3)
contents = st.lists(st.tuples(maybe_bytes, maybe_bytes, said_headers), min_size=1, max_size=8)


@given(contents, st.integers(0, 2**35), st.integers(0, 4))
def test_what_was_written_is_read(content, first, compression):
    data = batch(
        [value for _, value, _ in content],
        first,
        compression=compression,
        keys=[key for key, _, _ in content],
        headers=[said for _, _, said in content],
    )
    records, following, corrupt = read(data, first)
    assert corrupt is None
    assert following == first + len(content)
    assert records == [(first + n, k, v, said) for n, (k, v, said) in enumerate(content)]


@given(st.binary(max_size=400))
def test_any_bytes_are_records_or_corrupt(data):
    """By chance they are no records: that would take a right length, and a right checksum."""
    records, _, corrupt = read(data)
    assert records == []
    assert corrupt is not None or not data


@given(st.binary(min_size=8, max_size=8), st.binary(max_size=300), st.integers(-40, 40))
def test_any_bytes_of_about_the_right_length_are_corrupt(first, body, wrong):
    length = max(0, len(body) + wrong).to_bytes(4, "big")
    records, _, corrupt = read(first + length + body)
    assert records == []
    assert corrupt is not None


two_batches = batch([b"a" * 30, b"b" * 30]) + batch([b"c" * 30, b"d" * 30], 2)
INTACT = read(two_batches)[0]


def flipped(bit: int) -> bytes:
    data = bytearray(two_batches)
    data[bit // 8] ^= 1 << bit % 8
    return bytes(data)


@given(st.integers(64, len(two_batches) * 8 - 1))
def test_a_flipped_bit_gives_corrupt_or_the_same_records(bit):
    """Anywhere but in the first offset, of which no checksum knows."""
    half = len(two_batches) // 2
    if half <= bit // 8 < half + 8:
        bit += 64
    records, following, corrupt = read(flipped(bit), end=4)
    assert records == INTACT[: len(records)], "records that came are the ones that were written"
    if corrupt is not None:
        assert corrupt.next_offset is None or following < corrupt.next_offset <= 4
        assert following == len(records)
    else:
        assert following == len(records), "nothing is passed over in silence"


@given(st.integers(0, 63), st.booleans())
def test_a_flipped_bit_in_an_offset_leaves_a_hole_or_is_corrupt(bit, second):
    data = flipped(bit + (len(two_batches) // 2 * 8 if second else 0))
    at = 0
    try:
        for chunk in decode_batches(data, 0, 4, AbortedTransactions([]), at_batch_boundary=True):
            if chunk.first_offset > at:
                return
            at = chunk.next_offset
    except CorruptBatch:
        return
    raise AssertionError("it was read as if nothing had been")


def test_a_hole_between_two_batches_shows():
    chunks = decode_batches(
        batch([b"a"], 3) + batch([b"b"], 7), 1, END, AbortedTransactions([]), at_batch_boundary=True
    )
    assert [(chunk.first_offset, chunk.next_offset) for chunk in chunks] == [(3, 4), (7, 8)]


def test_a_batch_that_reaches_over_what_was_read_is_out_of_its_place():
    records, following, corrupt = read(batch([b"a", b"b"]) + batch([b"c", b"d"], 1))
    assert [record[0] for record in records] == [0, 1]
    assert following == 2
    assert corrupt is not None
    assert corrupt.next_offset == 3


@given(st.integers(0, len(two_batches)))
def test_an_answer_that_is_cut_off_gives_what_is_whole(length):
    """A broker cuts the last batch where the answer is full; the rest is asked for next."""
    half = len(two_batches) // 2
    records, following, corrupt = read(two_batches[:length])
    assert records == INTACT[: 2 * (length // half)]
    assert following == len(records)
    assert (corrupt is not None) == (0 < length < half), "the first one must be whole"


def test_nothing_is_nothing():
    assert read(b"", 7) == ([], 7, None)


@pytest.mark.parametrize("compression", range(5))
def test_a_large_batch_comes_in_chunks(compression):
    count = 2 * MAX_CHUNK_RECORDS + 1
    data = batch([b"%d" % n for n in range(count)], 5, compression=compression)
    chunks = list(decode_batches(data, 5, END, AbortedTransactions([])))
    assert [len(chunk.records) for chunk in chunks] == [MAX_CHUNK_RECORDS, MAX_CHUNK_RECORDS, 1]
    assert [(chunk.first_offset, chunk.next_offset) for chunk in chunks] == [
        (5, 505),
        (505, 1005),
        (1005, 1006),
    ]
    assert [chunk.ends_batch for chunk in chunks] == [False, False, True]


def test_reading_may_begin_amid_a_batch():
    """But not where another batch has just ended there."""
    amid = batch([b"a", b"b", b"c"], 10)
    assert offsets(amid, 11) == [11, 12]
    records, _, corrupt = read(amid, 11, at_batch_boundary=True)
    assert (records, corrupt is not None) == ([], True)


def test_a_batch_from_before_is_out_of_its_place():
    """A broker never sends one: this would be the same records again."""
    records, following, corrupt = read(batch([b"a", b"b"], 3), 5)
    assert (records, following) == ([], 5)
    assert corrupt is not None
    assert corrupt.next_offset is None


def test_a_batch_from_beyond_the_end_is_out_of_its_place():
    *_, corrupt = read(batch([b"a", b"b"], 3), 3, end=4)
    assert corrupt is not None
    assert corrupt.next_offset is None


def test_a_damaged_batch_says_where_it_ends():
    good, bad = batch([b"a", b"b"]), bytearray(batch([b"c", b"d", b"e"], 2))
    bad[-1] ^= 1
    records, following, corrupt = read(good + bytes(bad) + batch([b"f"], 5))
    assert [record[0] for record in records] == [0, 1]
    assert following == 2
    assert corrupt is not None
    assert corrupt.next_offset == 5


def test_the_checksums_of_these_tests_are_right():
    assert crc32c(b"123456789") == 0xE3069283


def test_what_was_aborted_is_passed_over_and_what_follows_is_not():
    data = b"".join(
        [
            batch([b"a", b"a"], 0, producer=7, transactional=True),
            batch([b"plain"], 2),
            batch([b"other"], 3, producer=8, transactional=True),
            marker(ABORT, 4, 7),
            marker(COMMIT, 5, 8),
            batch([b"later"], 6, producer=7, transactional=True),
            marker(COMMIT, 7, 7),
        ]
    )
    records, following, corrupt = read(data, aborted=[(7, 0)])
    assert corrupt is None
    assert [record[2] for record in records] == [b"plain", b"other", b"later"]
    assert following == 8


def test_a_transaction_that_is_aborted_later_takes_nothing_with_it():
    data = batch([b"a"], 0, producer=7, transactional=True) + marker(COMMIT, 1, 7)
    data += batch([b"b"], 2, producer=7, transactional=True) + marker(ABORT, 3, 7)
    assert offsets(data, aborted=[(7, 2)]) == [0]


def test_two_aborted_ones_of_a_producer_in_a_row():
    data = b"".join(
        batch([b"a"], n, producer=7, transactional=True) + marker(ABORT, n + 1, 7) for n in (0, 2)
    )
    data += batch([b"b"], 4, producer=7, transactional=True) + marker(COMMIT, 5, 7)
    assert offsets(data, aborted=[(7, 2), (7, 0)]) == [4]


def test_reading_may_begin_amid_an_aborted_transaction():
    """Its beginning is below: the broker tells of it all the same."""
    data = batch([b"a"], 5, producer=7, transactional=True) + marker(ABORT, 6, 7)
    data += batch([b"b"], 7, producer=7, transactional=True)
    assert offsets(data, 5, aborted=[(7, 2)]) == [7]


def test_what_a_producer_writes_outside_of_transactions_is_not_aborted():
    data = batch([b"a"], 0, producer=7, transactional=True) + batch([b"b"], 1, producer=7)
    assert offsets(data, aborted=[(7, 0)]) == [1]
