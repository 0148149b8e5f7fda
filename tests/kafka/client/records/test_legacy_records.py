"""Messages of magic 0 and 1: each bad one is dead, its neighbours are delivered."""

from __future__ import annotations

import struct
from binascii import crc32
from typing import TYPE_CHECKING

import pytest
from aiokafka import codec
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder

from bridge.core.protocol.record import Batch, UndecodableRecord
from bridge.core.protocol.timestamps import ms_to_rfc3339
from bridge.core.routes.decoder import native_decoder
from bridge.kafka.client.records import record_batches
from bridge.kafka.client.records.inflation import inflate
from bridge.kafka.client.records.record_batches import (
    MAX_CHUNK_RECORDS,
    AbortedTransactions,
    CorruptBatch,
    Inflation,
    RecordChunk,
    decode_batches,
    decode_in_steps,
)
from bridge.kafka.client.records.record_recovery import MAX_UNKNOWN_RECORDS, PAUSE_AFTER_RECORDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.core.protocol.record import Record

VALUE = b'{"all":true}'
GZIP, SNAPPY, LZ4 = 1, 2, 3
ENCODE = {GZIP: codec.gzip_encode, SNAPPY: codec.snappy_encode, LZ4: codec.lz4_encode}
LOG_APPEND_TIME = 0x08
each_magic = pytest.mark.parametrize("magic", [0, 1])


def text(content: bytes | None) -> bytes:
    """A key or a value behind its length."""
    return struct.pack(">i", -1) if content is None else struct.pack(">i", len(content)) + content


def message(
    magic: int,
    offset: int,
    fields: bytes = text(None) + text(VALUE),
    *,
    attributes: int = 0,
    time: int = 1000,
    length: int | None = None,
) -> bytes:
    """A message whose checksum is right, whatever its fields are."""
    stamp = struct.pack(">q", time) if magic == 1 else b""
    covered = struct.pack(">bb", magic, attributes) + stamp + fields
    length = 4 + len(covered) if length is None else length
    return struct.pack(">qiI", offset, length, crc32(covered)) + covered


def wrapper(
    magic: int, inner: Sequence[bytes], last: int, compression: int = GZIP, attributes: int = 0
) -> bytes:
    """The messages compressed within one, as a broker sends it: its offset is the last one's."""
    value = ENCODE[compression](b"".join(inner))
    fields = text(None) + text(value)
    return message(magic, last, fields, attributes=compression | attributes, time=2000)


def inner_offset(magic: int, base: int, number: int) -> int:
    return number if magic else base + number


def read(data: bytes, offset: int = 0, **options: bool) -> list[Record]:
    chunks = decode_batches(data, offset, 1 << 40, AbortedTransactions([]), **options)
    return [record for chunk in chunks for record in chunk.records]


def kinds(records: Sequence[Record]) -> list[tuple[int, bool]]:
    """Offset, and whether it is a good one."""
    return [(record.offset, not isinstance(record, UndecodableRecord)) for record in records]


BAD_FIELDS = {
    "a key that reaches beyond the message": struct.pack(">i", 5000) + text(VALUE),
    "a value that reaches beyond the message": text(b"k") + struct.pack(">i", 2**31 - 1) + VALUE,
    "a value that reaches a byte beyond": text(b"k") + struct.pack(">i", 3) + b"ab",
    "no value": text(b"k"),
    "no length": b"\0\0",
    "nothing": b"",
    "bytes left over": text(None) + text(VALUE) + b"left over",
}
each_bad = pytest.mark.parametrize("fields", BAD_FIELDS.values(), ids=BAD_FIELDS)


@each_magic
@each_bad
def test_one_message_that_cannot_be_decoded_is_dead_and_its_neighbours_are_not(
    magic: int, fields: bytes
) -> None:
    data = message(magic, 5) + message(magic, 6, fields) + message(magic, 7)
    records = read(data, 5)
    assert kinds(records) == [(5, True), (6, False), (7, True)]
    decoded = native_decoder(1000).decode(Batch("t", 0, records, 8))
    assert [event.offset for event in decoded.events] == [5, 7]
    assert [each.error.reason for each in decoded.unusable] == ["bad_record"]
    dead = decoded.unusable[0].record
    assert isinstance(dead, UndecodableRecord)
    assert dead.raw == message(magic, 6, fields)


@each_magic
@each_bad
@pytest.mark.parametrize("compression", [GZIP, SNAPPY, LZ4])
def test_one_bad_message_in_a_wrapper_is_dead_and_its_neighbours_are_not(
    magic: int, fields: bytes, compression: int
) -> None:
    inner = [message(magic, inner_offset(magic, 5, number)) for number in range(5)]
    inner[1] = message(magic, inner_offset(magic, 5, 1), fields)
    records = read(wrapper(magic, inner, 9, compression), 5)
    assert kinds(records) == [(5, True), (6, False), (7, True), (8, True), (9, True)]


@each_magic
def test_reading_goes_on_in_the_middle_of_a_wrapper(magic: int) -> None:
    inner = [message(magic, inner_offset(magic, 5, number)) for number in range(3)]
    inner[1] = message(magic, inner_offset(magic, 5, 1), b"")
    data = wrapper(magic, inner, 7)
    assert kinds(read(data, 6)) == [(6, False), (7, True)]
    assert kinds(read(data, 7)) == [(7, True)]


@each_magic
@pytest.mark.parametrize("length", [-1, 0, 9, 2**31 - 1])
def test_behind_a_wrong_length_in_a_wrapper_every_offset_is_dead(magic: int, length: int) -> None:
    inner = [message(magic, inner_offset(magic, 5, number)) for number in range(4)]
    inner[1] = message(magic, inner_offset(magic, 5, 1), length=length)
    data = wrapper(magic, inner, 8)
    assert kinds(read(data, 5, at_batch_boundary=True)) == [(5, True)] + [
        (offset, False) for offset in (6, 7, 8)
    ]
    assert kinds(read(data, 7)) == [(7, False), (8, False)]


def test_no_offset_is_guessed_where_the_first_one_of_a_wrapper_is_not_known() -> None:
    inner = [message(1, 0), message(1, 1), message(1, 2, length=9)]
    assert kinds(read(wrapper(1, inner, 8), 7)) == [(7, False), (8, False)]


@each_magic
def test_a_wrapper_that_ends_too_early_hides_no_offset(magic: int) -> None:
    inner = [message(magic, inner_offset(magic, 0, number)) for number in range(2)]
    data = wrapper(magic, [*inner, b"\0" * 9], 3)
    assert kinds(read(data)) == [(0, True), (1, True), (2, False), (3, False)]
    assert kinds(read(wrapper(magic, [], 1))) == [(0, False), (1, False)]
    empty = message(magic, 1, text(None) + text(None), attributes=GZIP)
    assert kinds(read(empty)) == [(0, False), (1, False)]


@each_magic
def test_more_offsets_behind_a_wrong_length_are_a_gap_behind_the_good_ones(magic: int) -> None:
    data = wrapper(magic, [message(magic, 0), b"\xff" * 30], MAX_UNKNOWN_RECORDS + 5)
    chunks = decode_batches(data, 0, 1 << 40, AbortedTransactions([]))
    assert kinds(next(chunks).records) == [(0, True)]
    with pytest.raises(CorruptBatch) as error:
        next(chunks)
    assert error.value.next_offset == MAX_UNKNOWN_RECORDS + 6


@pytest.mark.parametrize("wrong", [0, 500])
def test_an_offset_that_is_not_in_the_wrapper_is_dead(wrong: int) -> None:
    inner = [message(1, 0), message(1, wrong), message(1, 2)]
    assert kinds(read(wrapper(1, inner, 7), 5)) == [(5, True), (6, False), (7, True)]


@each_magic
def test_a_wrapper_within_a_wrapper_is_dead(magic: int) -> None:
    nested = wrapper(magic, [message(magic, 1)], 1)
    inner = [message(magic, 0), nested, message(magic, 2)]
    assert kinds(read(wrapper(magic, inner, 2))) == [(0, True), (1, False), (2, True)]


@each_magic
@pytest.mark.parametrize("fields", [struct.pack(">i", 999), text(None) + text(b"ab") + b"c"])
def test_a_wrapper_without_its_value_is_a_corrupt_batch(magic: int, fields: bytes) -> None:
    with pytest.raises(CorruptBatch) as error:
        read(message(magic, 7, fields, attributes=GZIP), 5)
    assert error.value.next_offset == 8


def test_a_message_is_as_aiokafka_would_have_decoded_it() -> None:
    for compression in (0, GZIP, SNAPPY, LZ4):
        builder = LegacyRecordBatchBuilder(1, compression, 1 << 20)
        written = [(7, b"key", b"value"), (8, None, b""), (9, b"", None)]
        for offset, (time, key, value) in enumerate(written):
            builder.append(offset, time, key, value)
        data = bytearray(builder.build())
        if compression:
            data[:8] = (2).to_bytes(8, "big")
        records = read(bytes(data))
        assert [(r.timestamp, r.key, r.value) for r in records] == written
        assert [(r.offset, [*r.headers]) for r in records] == [(0, []), (1, []), (2, [])]


def test_the_broker_s_time_counts_for_all_messages_of_a_wrapper() -> None:
    inner = [message(1, number, time=number) for number in range(2)]
    assert [record.timestamp for record in read(wrapper(1, inner, 1))] == [0, 1]
    appended = wrapper(1, inner, 1, attributes=LOG_APPEND_TIME)
    assert [record.timestamp for record in read(appended)] == [2000, 2000]


def test_magic_0_has_no_time_and_its_event_is_delivered() -> None:
    (record,) = read(message(0, 0))
    assert record.timestamp == -1
    decoded = native_decoder(1000).decode(Batch("t", 0, [record], 1))
    assert [ms_to_rfc3339(event.timestamp) for event in decoded.events] == [
        "1970-01-01T00:00:00.000Z"
    ]


def test_a_wrapper_is_inflated_once_and_never_by_aiokafka(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    def counting(number: int, body: memoryview, max_bytes: int) -> bytes | bytearray | memoryview:
        sizes.append(max_bytes)
        return inflate(number, body, max_bytes)

    monkeypatch.setattr(record_batches, "inflate", counting)
    monkeypatch.setattr(codec, "gzip_decode", None)
    big = message(1, 0, text(None) + text(bytes(3_000_000)))
    steps = [*decode_in_steps(wrapper(1, [big], 0), 0, 1 << 40, AbortedTransactions([]))]
    assert [type(step) for step in steps] == [Inflation, RecordChunk]
    assert sizes == [1 << 20, 1 << 26], "a try within the event loop's limit, then the whole"


def test_a_large_wrapper_comes_in_chunks_with_turns_for_the_event_loop() -> None:
    count = 3 * MAX_CHUNK_RECORDS + 2 * PAUSE_AFTER_RECORDS
    data = wrapper(1, [message(1, number) for number in range(count)], count - 1)
    steps = [*decode_in_steps(data, 0, 1 << 40, AbortedTransactions([]))]
    chunks = [step for step in steps if isinstance(step, RecordChunk)]
    assert steps.count(None) == 2, "for the search of the last offset"
    assert max(len(chunk.records) for chunk in chunks) <= MAX_CHUNK_RECORDS
    assert [record.offset for chunk in chunks for record in chunk.records] == [*range(count)]
    assert [chunk.ends_batch for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
