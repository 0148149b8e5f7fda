"""Which decoder decodes a topic's records, and what becomes of those that it cannot decode."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bridge.core.protocol.event import Body, Event, InvalidRecord
from bridge.core.protocol.record import Batch, DecodedBatch, Record, UndecodableRecord
from bridge.core.routes.decoder import (
    Filtered,
    FormatDecoder,
    RecordDecoder,
    missing_value_schemas,
    native_decoder,
)
from bridge.core.routes.formats import FORMATS
from tests.core.factories import ConsumerRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

HEADERS = [("push-rooms", b"r"), ("traceparent", b"00-" + b"1" * 32 + b"-" + b"2" * 16 + b"-01")]
SCHEMA_ID = 7


class ByFirstByte:
    """Decodes by the value's first byte."""

    def decode_record(self, record: Record, partition: int) -> Event | None:
        match record.value:
            case b"f":
                raise Filtered
            case b"d":
                raise InvalidRecord("bad_value", "dead")
            case b"n":
                return None
        return Event(record.offset, partition, Body.JSON, b"1", all=True)

    def missing_schemas(self, records: Sequence[Record]) -> set[int]:
        return {len(records)}


def record(value: bytes | None, headers: Sequence[tuple[str, bytes | None]] = ()) -> Record:
    return ConsumerRecord(0, 0, None, value, headers)


def decode(name: str, it: Record) -> DecodedBatch:
    decoder = RecordDecoder(FormatDecoder(FORMATS[name](100), 50, 3))
    return decoder.decode(Batch("t", 0, [it], 1))


def test_each_record_is_counted_once() -> None:
    decoder = native_decoder(100)
    decoder.replace("t", ByFirstByte())
    records = [record(value) for value in (b"e", b"f", b"d", b"n", b"f")]
    decoded = decoder.decode(Batch("t", 3, records, 9))
    assert [event.timestamp for event in decoded.events] == [3], "it knows the partition"
    assert (decoded.filtered, decoded.unaddressed, len(decoded.unusable)) == (2, 1, 1)


def test_a_topic_without_an_own_decoder_has_the_default_one() -> None:
    decoder = RecordDecoder(ByFirstByte())
    assert len(decoder.decode(Batch("t", 0, [record(b"e")], 1)).events) == 1
    decoder.replace("t", native_decoder(100)._default)
    assert decoder.decode(Batch("t", 0, [record(b"e")], 1)).events == []
    decoder.remove("t")
    assert len(decoder.decode(Batch("t", 0, [record(b"e")], 1)).events) == 1
    assert decoder.missing_schemas(Batch("t", 0, [record(b"e")], 1)) == {1}


def test_beside_headers_the_format_says_what_data_is() -> None:
    text = decode("text", record(b"hello", HEADERS)).events[0]
    assert (text.body, text.data, text.rooms) == (Body.JSON, b'"hello"', ["r"])
    assert text.traceparent == HEADERS[1][1].decode()
    raw = decode("bytes", record(b"hello", HEADERS)).events[0]
    assert (raw.body, raw.data) == (Body.BASE64, b"aGVsbG8=")
    assert decode("text", record(None, HEADERS)).events[0].body is Body.DELETED


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("text", b'{"all": true}', "bad_envelope"),
        ("bytes", b'{"all": true}', "bad_envelope"),
        ("text", b"\xff", "bad_value"),
        ("text", b"x" * 51, "too_large"),
    ],
)
def test_text_and_bytes_are_no_envelope(name: str, value: bytes, reason: str) -> None:
    assert [each.error.reason for each in decode(name, record(value)).unusable] == [reason]


def test_a_tombstone_without_audience_is_only_counted() -> None:
    assert decode("text", record(None)).unaddressed == 1


class WithSchema:
    """A format whose first byte is the id of a schema."""

    needs_schema = True

    def open(self, raw: bytes) -> object:
        return raw

    def data(self, raw: bytes) -> tuple[Body, bytes]:
        return Body.JSON, b'{"all": %s}' % (b"true" if raw else b"false")

    def missing_schema(self, raw: bytes) -> int | None:
        return raw[0] or None


def test_only_records_that_could_be_decoded_miss_a_schema() -> None:
    records = [
        *(record(b"\x01"), record(b"\x00"), record(None), record(b"\x05xxxxx"), record(b"\x07x")),
        UndecodableRecord(5, 0, b"", "damaged"),
    ]
    assert missing_value_schemas(WithSchema(), records, 5) == {1, SCHEMA_ID}
    assert missing_value_schemas(FORMATS["json"](1), records, 5) == set()
    decoder = FormatDecoder(WithSchema(), 5, 3)
    assert decoder.missing_schemas(records) == {1, SCHEMA_ID}
    event = decoder.decode_record(record(b"\x01"), 0)
    assert event is not None
    assert event.all, "the opened value is the envelope"
