"""What is fuzzed: functions of bytes that fail only where the product has a bug.

Rule: a target catches the one error that its parser documents. Where a format has a checksum, the
target writes it, else no input would get past it.
"""

from __future__ import annotations

import binascii
import struct
from base64 import urlsafe_b64encode
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

from bridge.app.decoders import build_topic_decoder
from bridge.config.settings import LimitSettings
from bridge.config.topics import TopicDefinition
from bridge.core.coordination import commands, state_records
from bridge.core.protocol.cursor import InvalidCursor, decode_cursor, encode_cursor, parse_position
from bridge.core.protocol.event import InvalidRecord
from bridge.core.protocol.frames import BadFrame, build_event_frame, decode_frame, decode_hello
from bridge.core.protocol.record import Batch
from bridge.core.routes.decoder import RecordDecoder, native_decoder
from bridge.core.routes.formats import FORMATS, KEY_FORMATS
from bridge.core.routes.templates.explain import RouteExplainer
from bridge.core.routes.templates.route_decoder import RouteDecoder
from bridge.core.routes.templates.template import check_address, parse_placeholder, parse_template
from bridge.kafka.client.records.record_batches import (
    AbortedTransactions,
    CorruptBatch,
    decode_batches,
)
from bridge.web.connections.connect_request import BadRequest, parse_connect_request, parse_query
from bridge.web.transport.ws_handshake import try_fast_handshake

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

MAX_BYTES: Final = 1 << 16
_BATCH_HEADER: Final = struct.Struct(">qiibIhiqqqhii")
_CRC_END: Final = 21


class FuzzedRecord(NamedTuple):
    """A Kafka record with fuzzed parts."""

    value: bytes | None
    key: bytes | None = None
    headers: Sequence[tuple[str, bytes | None]] = ()
    offset: int = 0
    timestamp: int = 0


class Target(NamedTuple):
    """A function to fuzz, and inputs from which the fuzzer starts."""

    run: Callable[[bytes], None]
    seeds: Sequence[bytes]


def client_frame(data: bytes) -> None:
    """Decode a frame of a client."""
    with suppress(BadFrame):
        decode_frame(data)


def hello(data: bytes) -> None:
    """Decode a first frame, and the request in it."""
    with suppress(BadFrame, BadRequest):
        parse_connect_request(decode_hello(data), max_topics=50, max_rooms=200)


def query(data: bytes) -> None:
    """Parse the query of a handshake."""
    with suppress(BadRequest):
        parse_connect_request(parse_query(data.decode("latin-1")), max_topics=50, max_rooms=200)


def handshake(data: bytes) -> None:
    """Parse the first bytes of a WebSocket client."""
    try_fast_handshake(data)


def cursor(data: bytes) -> None:
    """Decode a cursor whose checksum is right; encode it again to the same offsets."""
    text = urlsafe_b64encode(data + binascii.crc32(data).to_bytes(4, "big")).rstrip(b"=").decode()
    try:
        decoded = decode_cursor(text)
    except InvalidCursor:
        return
    assert decode_cursor(encode_cursor(decoded)) == decoded


def position(data: bytes) -> None:
    """Parse a position; what is written of a good one is read as the same."""
    try:
        parsed = parse_position(data.decode("latin-1"))
    except InvalidCursor:
        return
    assert parse_position(str(parsed)) == parsed


def envelope(data: bytes) -> None:
    """Decode a native envelope, and write the frame that a client gets."""
    _decode_event(FuzzedRecord(data))


def headers(data: bytes) -> None:
    """Decode a record that is addressed by headers: one header a line, the value at the end."""
    *lines, value = data.split(b"\n")
    pairs = [line.partition(b"=") for line in lines]
    _decode_event(
        FuzzedRecord(value, headers=[(name.decode("latin-1"), raw) for name, _, raw in pairs])
    )


def _decode_event(record: FuzzedRecord) -> None:
    decoded = native_decoder(MAX_BYTES).decode(Batch("t", 0, [record], 1))
    assert len(decoded.events) + decoded.unaddressed + len(decoded.unusable) == 1
    for event in decoded.events:
        build_event_frame("t", 0, event).encode("all")


def routed(data: bytes) -> None:
    """Decode a record by a route: the key in the first line, a header in the second, the value.

    The route's explanation must say the same.
    """
    key, _, rest = data.partition(b"\n")
    header, _, value = rest.partition(b"\n")
    record = FuzzedRecord(value, key, [("h", header)])
    decoded = RecordDecoder(_ROUTE_DECODER).decode(Batch("t", 0, [record], 1))
    for event in decoded.events:
        build_event_frame("t", 0, event).encode("all")
    explained = _ROUTE_EXPLAINER.explain(record, 0)
    reasons = [unusable.error.reason for unusable in decoded.unusable]
    assert reasons == [explained.reason] * (explained.verdict == "dead")
    assert decoded.filtered == (explained.verdict == "filtered")
    assert len(decoded.events) == (explained.verdict == "addressed")


def route_template(data: bytes) -> None:
    """Parse a template; what it has as parts is in its text."""
    text = data.decode("latin-1")
    with suppress(ValueError):
        template = parse_template(text)
        check_address(template)
        for place in template.placeholders:
            assert parse_placeholder(place.text) == place


def _fuzzed_route() -> tuple[RouteDecoder, RouteExplainer]:
    topic = TopicDefinition(
        name="t",
        route={
            "accounts": ["{value.a.b}", "{value.list[].b}", "{key}:{value.tags}"],
            "rooms": ["r:{header.h}", {"jmespath": "value.list[?b].b", "prefix": "p:"}],
            "all": "{value.all}",
            "when": {"value.kind": ["x", 1.5, None, {"a": [1]}]},
            "type": "{value.a.c}",
            "time": "{value.at}",
            "id": "i-{value.n}",
            "data": {"n": "{value.n}", "a": "{value.a}", "t": "{key} {value.n}"},
        },
    )
    limits = LimitSettings(event_bytes=MAX_BYTES)
    decoder = build_topic_decoder(topic, limits)
    assert isinstance(decoder, RouteDecoder)
    formats = FORMATS["json"](4 * MAX_BYTES), KEY_FORMATS["text"](4 * MAX_BYTES)
    return decoder, RouteExplainer(decoder.route, "t", *formats, MAX_BYTES, limits.audience)


_ROUTE_DECODER, _ROUTE_EXPLAINER = _fuzzed_route()


def command(data: bytes) -> None:
    """Decode a record of the control topic."""
    with suppress(InvalidRecord):
        commands.decode(FuzzedRecord(data), MAX_BYTES)


def state_record(data: bytes) -> None:
    """Decode a record of the state topic; an empty value is a tombstone."""
    key, _, value = data.partition(b"\n")
    with suppress(InvalidRecord):
        state_records.decode(FuzzedRecord(value or None, key))


def record_batch(data: bytes) -> None:
    """Decode a batch whose header and checksum are right: attributes, count, then records."""
    if len(data) < 2:
        return
    attributes, count, records = data[0], data[1], data[2:]
    fields = (attributes, max(count - 1, 0), 0, 0, -1, -1, -1, count)
    head = _BATCH_HEADER.pack(0, _BATCH_HEADER.size - 12 + len(records), 0, 2, 0, *fields)
    crc = calc_crc32c(head[_CRC_END:] + records)
    batch = head[: _CRC_END - 4] + struct.pack(">I", crc) + head[_CRC_END:] + records
    with suppress(CorruptBatch):
        for _ in decode_batches(batch, 0, 1 << 40, AbortedTransactions([])):
            pass


def _batch_seed() -> bytes:
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=0,
        is_transactional=0,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=1000,
    )
    builder.append(0, 1, b"key", b"value", [("name", b"text"), ("empty", None)])
    return b"\x00\x01" + bytes(builder.build())[_BATCH_HEADER.size :]


TARGETS: Final[Mapping[str, Target]] = {
    "client_frame": Target(
        client_frame,
        [b'{"op":"subscribe","rooms":["a"],"id":1}', b'{"op":"heartbeat"}', b'{"op":"token"}'],
    ),
    "hello": Target(
        hello,
        [
            b'{"op":"hello","topics":["t"],"rooms":["r"],"types":["a.*"],"since":"2026-01-01T00:00:00Z"}'
        ],
    ),
    "query": Target(query, [b"topics=a,b&rooms=r%3A1&types=a.*&since=2026-01-01T00:00:00Z"]),
    "handshake": Target(
        handshake,
        [
            (
                b"GET /ws?topics=a HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n"
                b"Connection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
        ],
    ),
    "cursor": Target(cursor, [b"\x01\x01t" + bytes(16) + b"\x01\x00\x05"]),
    "position": Target(position, [b"orders:3:1842"]),
    "envelope": Target(
        envelope, [b'{"accounts":["a"],"rooms":["r:1"],"all":false,"type":"t","data":{"a":[1]}}']
    ),
    "headers": Target(headers, [b'push-accounts=a,b%2C\npush-time=2026-01-01T00:00:00Z\n{"a":1}']),
    "command": Target(
        command,
        [
            b'{"do":"join","room":"r","account":"a"}',
            b'{"do":"revoke","account":"a","before":"2026-01-01T00:00:00Z"}',
        ],
    ),
    "state_record": Target(
        state_record,
        [
            b'revoked,a\n{"is":"revoked","account":"a","before":"2026-01-01T00:00:00Z"}',
            b"member,r,a\n",
        ],
    ),
    "record_batch": Target(record_batch, [_batch_seed()]),
    "routed": Target(
        routed,
        [
            b'k\nh\n{"kind": "x", "a": {"b": "c", "c": "d"}, "n": 1.50, "tags": ["u", 1], "at": 7}',
            b'k\nh\n{"kind": null, "list": [{"b": "\\u0061"}, {"b": -0}], "all": true, "n": {}}',
            b'a:b\n%\n{"kind": {"a": [1.0]}, "a": {"b": 0}, "all": "true"}',
        ],
    ),
    "route_template": Target(
        route_template,
        [b'order:{key}:{value."a}b".c[2][].d}{{', b"{header.a b}", b"{value[0].id}", b"{offset}"],
    ),
}
