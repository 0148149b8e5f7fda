"""One record that cannot be decoded costs itself alone; all others of its batch are read."""

from __future__ import annotations

import struct
import tracemalloc
from typing import TYPE_CHECKING

import pytest
from aiokafka.record.util import calc_crc32c, encode_varint

from bridge.core.protocol.record import Batch, UndecodableRecord
from bridge.core.routes.decoder import native_decoder
from bridge.kafka.client.records.record_batches import (
    AbortedTransactions,
    CorruptBatch,
    RecordChunk,
    decode_batches,
    decode_in_steps,
)
from bridge.kafka.client.records.record_recovery import (
    LARGE_RECORD_BYTES,
    MAX_UNKNOWN_BYTES,
    MAX_UNKNOWN_RECORDS,
    PAUSE_AFTER_RECORDS,
)

if TYPE_CHECKING:
    from bridge.core.protocol.record import Record

_HEADER = struct.Struct(">qiibIhiqqqhii")
_CRC_AT, _CRC_END = 17, 21
VALUE = b'{"all":true}'


def varint(number: int) -> bytes:
    out = bytearray()
    encode_varint(number, out.append)
    return bytes(out)


def body(
    delta: int, value: bytes = VALUE, headers: bytes = varint(0), key: bytes = varint(-1)
) -> bytes:
    """A record without its length."""
    return b"\0" + varint(0) + varint(delta) + key + varint(len(value)) + value + headers


def framed(record: bytes) -> bytes:
    return varint(len(record)) + record


def header(name: bytes, value: bytes = b"v") -> bytes:
    return varint(len(name)) + name + varint(len(value)) + value


def batch(records: bytes, count: int, *, last: int | None = None, attributes: int = 0) -> bytes:
    """A batch in version 2 whose checksum is right, whatever its records are."""
    last = count - 1 if last is None else last
    fields = (attributes, last, 1000, 2000, -1, -1, -1, count)
    head = _HEADER.pack(0, _HEADER.size - 12 + len(records), 0, 2, 0, *fields)
    crc = calc_crc32c(head[_CRC_END:] + records)
    return head[:_CRC_AT] + struct.pack(">I", crc) + head[_CRC_END:] + records


def read(data: bytes, offset: int = 0) -> list[Record]:
    chunks = decode_batches(data, offset, 1 << 40, AbortedTransactions([]))
    return [record for chunk in chunks for record in chunk.records]


BAD_RECORDS = {
    "a header's name in Latin-1": body(1, headers=varint(1) + header("Größe".encode("latin-1"))),
    "a header without a name": body(1, headers=varint(1) + varint(-1) + varint(0)),
    "more headers than there are": body(1, headers=varint(5) + header(b"a")),
    "a negative number of headers": body(1, headers=varint(-3)),
    "a number of headers beyond all": body(1, headers=varint(2**31)),
    "a key that reaches beyond the record": body(1, key=varint(5000)),
    "a value that reaches beyond the record": b"\0"
    + varint(0)
    + varint(1)
    + varint(-1)
    + b"\xfe\x7f",
    "bytes left over": body(1) + b"left over",
    "an offset of another batch": body(700),
    "an offset that was there before": body(0),
    "an offset further on in its batch": body(3),
    "the last offset of its batch": body(4),
    "a varint without an end": b"\0" + b"\xff" * 12,
    "only attributes": b"\0",
}


@pytest.mark.parametrize("bad", BAD_RECORDS.values(), ids=BAD_RECORDS)
def test_one_record_that_cannot_be_decoded_is_dead_and_its_batch_is_not(bad: bytes) -> None:
    good = [framed(body(delta, b'{"all":true,"data":%d}' % delta)) for delta in range(5)]
    records = read(batch(good[0] + framed(bad) + b"".join(good[2:]), 5))
    assert [record.offset for record in records] == [0, 1, 2, 3, 4]
    decoded = native_decoder(1000).decode(Batch("t", 0, records, 5))
    assert [event.offset for event in decoded.events] == [0, 2, 3, 4]
    assert [each.error.reason for each in decoded.unusable] == ["bad_record"]
    dead = decoded.unusable[0].record
    assert isinstance(dead, UndecodableRecord)
    assert dead.raw == bad


def test_a_record_ahead_of_its_place_hides_none_in_a_large_batch_either() -> None:
    large = framed(body(2, bytes(LARGE_RECORD_BYTES + 1)))
    records = read(batch(framed(body(0)) + framed(body(3)) + large + framed(body(3)), 4))
    assert [record.offset for record in records] == [0, 1, 2, 3]
    assert [isinstance(record, UndecodableRecord) for record in records] == [False, True] + [
        False
    ] * 2


def test_compaction_leaves_offsets_further_on() -> None:
    records = read(batch(framed(body(0)) + framed(body(4)), 2, last=9))
    assert [(record.offset, record.value) for record in records] == [(0, VALUE), (4, VALUE)]


def test_behind_a_wrong_length_every_offset_is_dead_and_none_is_silent() -> None:
    records = read(batch(framed(body(0)) + varint(9000) + body(1) + framed(body(2)), 3))
    assert [record.offset for record in records] == [0, 1, 2]
    assert [isinstance(record, UndecodableRecord) for record in records] == [False, True, True]


def read_until_corrupt(data: bytes, offset: int = 0) -> tuple[list[Record], CorruptBatch | None]:
    records: list[Record] = []
    try:
        for chunk in decode_batches(data, offset, 1 << 40, AbortedTransactions([])):
            assert offset <= chunk.first_offset < chunk.next_offset
            offset = chunk.next_offset
            records += chunk.records
    except CorruptBatch as corrupt:
        return records, corrupt
    return records, None


def test_as_many_offsets_as_the_limit_behind_a_wrong_length_are_dead() -> None:
    data = batch(framed(body(0)) + varint(9000), 1, last=MAX_UNKNOWN_RECORDS)
    records, corrupt = read_until_corrupt(data)
    assert corrupt is None
    assert [record.offset for record in records] == [*range(MAX_UNKNOWN_RECORDS + 1)]


@pytest.mark.parametrize("count", [1, 700])
def test_more_offsets_behind_a_wrong_length_are_a_gap_behind_the_good_records(count: int) -> None:
    good = b"".join(framed(body(number)) for number in range(count))
    last = count + MAX_UNKNOWN_RECORDS
    records, corrupt = read_until_corrupt(batch(good + varint(9000), count + 1, last=last))
    assert [record.offset for record in records] == [*range(count)]
    assert corrupt is not None
    assert corrupt.next_offset == last + 1, "what is passed over becomes a gap up to here"
    records, again = read_until_corrupt(batch(good + varint(9000), count + 1, last=last), count)
    assert (records, again and again.next_offset) == ([], last + 1)


def test_a_batch_that_ends_before_its_last_record_hides_none() -> None:
    records, corrupt = read_until_corrupt(batch(framed(body(0)) + framed(body(1)), 4))
    assert corrupt is None
    assert [record.offset for record in records] == [0, 1, 2, 3]
    assert [isinstance(record, UndecodableRecord) for record in records] == [False] * 2 + [True] * 2


def test_no_record_gets_an_offset_of_the_next_batch() -> None:
    records, corrupt = read_until_corrupt(batch(framed(b"\0") * 5, 2))
    assert corrupt is None
    assert [record.offset for record in records] == [0, 1]


def test_a_dead_letter_has_a_bounded_part_of_what_follows_a_wrong_length() -> None:
    data = batch(varint(1 << 40) + bytes(3 * MAX_UNKNOWN_BYTES), 1)
    (record,) = read(data)
    assert isinstance(record, UndecodableRecord)
    assert len(record.raw) == MAX_UNKNOWN_BYTES


def headers_record(delta: int, count: int, value: bytes = VALUE) -> bytes:
    return body(delta, value, varint(count) + b"\0\0" * count)


def test_a_large_record_with_too_many_headers_is_dead_without_their_memory() -> None:
    count = LARGE_RECORD_BYTES
    data = batch(framed(body(0)) + framed(headers_record(1, count)) + framed(body(2)), 3)
    tracemalloc.start()
    records = read(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [isinstance(record, UndecodableRecord) for record in records] == [False, True, False]
    assert peak < 3 * len(data)


def test_a_large_record_with_few_headers_is_read() -> None:
    value = bytes(LARGE_RECORD_BYTES)
    (record,) = read(batch(framed(headers_record(0, 2, value)), 1))
    assert (record.value, record.headers) == (value, [("", b""), ("", b"")])


@pytest.mark.parametrize("bad", [b"", b"\0"], ids=["sound", "with a bad record at the end"])
def test_passing_over_many_records_gives_the_event_loop_its_turn(bad: bytes) -> None:
    count = 30 * PAUSE_AFTER_RECORDS
    good = b"".join(framed(body(number, b"v")) for number in range(count))
    data = batch(good + (framed(bad) if bad else b""), count + len(bad))
    steps = [*decode_in_steps(data, count - 1, 1 << 40, AbortedTransactions([]))]
    assert steps.count(None) >= 60 - 1 + 30 * len(bad), "searched, passed over, and found again"
    records = [
        record for chunk in steps if isinstance(chunk, RecordChunk) for record in chunk.records
    ]
    assert [record.offset for record in records] == [*range(count - 1, count + len(bad))]


def test_reading_within_a_small_bad_batch_gives_the_event_loop_its_turn() -> None:
    count = 3 * PAUSE_AFTER_RECORDS
    records = framed(b"\0") + b"".join(framed(body(n, b"v")) for n in range(1, count))
    data = batch(records, count)
    assert len(data) < LARGE_RECORD_BYTES
    steps = [*decode_in_steps(data, count - 1, 1 << 40, AbortedTransactions([]))]
    assert steps.count(None) >= 2


@pytest.mark.parametrize("count", [1, 9])
def test_a_wrong_number_of_records_loses_none(count: int) -> None:
    records = read(batch(framed(body(0)) + framed(body(1)), count, last=1))
    assert [(record.offset, record.value) for record in records] == [(0, VALUE), (1, VALUE)]


def test_reading_goes_on_in_the_middle_of_such_a_batch() -> None:
    data = batch(framed(body(0)) + framed(BAD_RECORDS["bytes left over"]) + framed(body(2)), 3)
    assert [record.offset for record in read(data, 1)] == [1, 2]
    assert [record.offset for record in read(data, 2)] == [2]


def test_a_recovered_record_is_as_aiokafka_would_have_decoded_it() -> None:
    record = body(
        1, headers=varint(2) + header(b"a") + varint(1) + b"b" + varint(-1), key=varint(1) + b"k"
    )
    _, plain = read(batch(framed(body(0)) + framed(record), 2))
    _, recovered = read(batch(framed(b"\0") + framed(record), 2))
    assert type(plain) is not type(recovered)
    for field in ("offset", "timestamp", "key", "value", "headers"):
        assert [*map(tuple, plain.headers)] == [*map(tuple, recovered.headers)]
        if field != "headers":
            assert getattr(plain, field) == getattr(recovered, field)
    _, appended = read(batch(framed(body(0)) + framed(record), 2, attributes=0x08))
    _, recovered = read(batch(framed(b"\0") + framed(record), 2, attributes=0x08))
    assert appended.timestamp == recovered.timestamp == 2000


def test_a_wrong_checksum_is_still_a_corrupt_batch() -> None:
    data = bytearray(batch(framed(BAD_RECORDS["bytes left over"]), 1))
    data[-1] ^= 1
    with pytest.raises(CorruptBatch):
        read(bytes(data))
