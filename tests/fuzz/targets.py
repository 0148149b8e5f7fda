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

from bridge.core.coordination import commands, state_records
from bridge.core.protocol.cursor import InvalidCursor, decode_cursor, encode_cursor, parse_position
from bridge.core.protocol.event import InvalidRecord
from bridge.core.protocol.frames import BadFrame, build_event_frame, decode_frame, decode_hello
from bridge.core.protocol.record import Batch
from bridge.core.routes.decoder import native_decoder
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
}
