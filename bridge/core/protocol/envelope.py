"""A record to an event, or why not: the native envelope, and the same by headers.

Rules: headers win, and a record that they address is never opened to route it. One wrong field
makes the whole record dead. What names nobody is no error. Any bytes give an event, None or
`InvalidRecord`, never another exception. Trace context is by header always, and never a reason to be dead.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import msgspec

from bridge.core.protocol import timestamps
from bridge.core.protocol.event import JSON, Body, Event, InvalidRecord
from bridge.core.protocol.names import is_valid_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: In Kafka and in HTTP, and the field of an event's frame.
TRACEPARENT_HEADER: Final = "traceparent"
_SAMPLED_FLAG: Final = 1
#: Version, ids, flags, and what only a later version may have.
_match_traceparent: Final = re.compile(
    rb"(?!ff)([0-9a-f]{2})-((?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16})-([0-9a-f]{2})(-.*)?",
    re.DOTALL,
).fullmatch


def parse_traceparent(values: Sequence[bytes]) -> str | None:
    """Return the `traceparent` that `values` are, None where they are not just one that is valid.

    Of a later version it has what is known of it: the ids, and whether it is sampled (3.2.4).
    """
    match = _match_traceparent(values[0]) if len(values) == 1 else None
    if match is None:
        return None
    version, ids, flags, suffix = match.groups()
    if version != b"00":
        return f"00-{ids.decode()}-{int(flags, 16) & _SAMPLED_FLAG:02x}"
    return None if suffix else match[0].decode()


class Record(Protocol):
    """What Kafka stores, less the topic and partition that all of a batch share."""

    @property
    def offset(self) -> int: ...  # noqa: D102
    @property
    def timestamp(self) -> int: ...  # noqa: D102
    @property
    def key(self) -> bytes | None: ...  # noqa: D102
    @property
    def value(self) -> bytes | None: ...  # noqa: D102
    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]: ...  # noqa: D102


_ABSENT: Final = msgspec.Raw(b"")


class _NativeEnvelope(msgspec.Struct, gc=False):
    """The native envelope; unknown fields are passed over: producers may be upgraded first."""

    id: str | None = None
    type: str | None = None
    time: str | None = None
    tag: str | None = None
    accounts: list[str] | None = None
    rooms: list[str] | None = None
    connections: list[str] | None = None
    all: bool | None = None
    meta: msgspec.Raw = _ABSENT
    data: msgspec.Raw = msgspec.Raw(b"null")


_decode_native: Final = msgspec.json.Decoder(_NativeEnvelope).decode
# Raw is checked for JSON's grammar but kept as it is: numbers of any size pass as they are written.
_validate_json: Final = msgspec.json.Decoder(msgspec.Raw).decode
AUDIENCE_HEADERS: Final = frozenset({"push-accounts", "push-rooms", "push-connections", "push-all"})
_PERCENT_ESCAPE: Final = re.compile("%([0-9A-Fa-f]{2})?")


def decode_record(record: Record, max_bytes: int) -> Event | None:
    """Return the event that `record` is; None where it names nobody.

    Raises:
        Dead: If the record can not be used, or its value has more than `max_bytes` bytes.
    """
    value = record.value
    if value is not None and len(value) > max_bytes:
        raise InvalidRecord("too_large", f"the value has {len(value)} bytes, more than {max_bytes}")
    if record.headers:
        return _decode_with_headers(record, value)
    return None if value is None else _from_native(record, value)


def is_valid_json(value: bytes) -> bool:
    """Whether `value` is JSON text (RFC 8259) that any client's parser takes."""
    try:
        _validate_json(value)
        value.isascii() or value.decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _decode_with_headers(record: Record, value: bytes | None) -> Event | None:
    event: Event | None = None
    has_audience = False
    traceparents: list[bytes] = []
    for name, raw in record.headers:
        if raw is None:
            continue
        if name in AUDIENCE_HEADERS:
            has_audience = True
        elif name == TRACEPARENT_HEADER:
            traceparents.append(raw)
    if has_audience:
        event = _from_headers(record)
    elif value is not None:
        event = _from_native(record, value)
    if traceparents and event is not None:
        event.traceparent = parse_traceparent(traceparents)
    return event


def _from_native(record: Record, value: bytes) -> Event | None:
    try:
        # The decoder does not look at the encoding of what it passes over.
        if not value.isascii():
            value.decode()
        native = _decode_native(value)
    except msgspec.ValidationError as error:
        raise InvalidRecord("bad_envelope", str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRecord("bad_json", str(error)) from None
    except RecursionError:
        raise InvalidRecord("bad_json", "JSON is nested too deeply") from None
    connections, accounts, rooms = native.connections, native.accounts, native.rooms
    if connections:
        _check_names(connections)
    if accounts:
        _check_names(accounts)
    if rooms:
        _check_names(rooms)
    time = None if native.time is None else _normalize_time(native.time)
    if not (accounts or rooms or native.all or connections):
        return None
    meta = None if native.meta is _ABSENT else bytes(native.meta)
    # By place, which is the quickest: offset to all, then id, type, time, tag and meta.
    return Event(
        record.offset,
        record.timestamp,
        JSON,
        bytes(native.data),
        connections or (),
        accounts or (),
        rooms or (),
        native.all is True,
        native.id,
        "event" if native.type is None else native.type,
        time,
        native.tag,
        None if meta == b"null" else meta,
    )


def _from_headers(record: Record) -> Event | None:
    value = record.value
    event = Event(
        offset=record.offset,
        timestamp=record.timestamp,
        body=Body.DELETED if value is None else Body.UNCHECKED,
        data=value or b"",
    )
    for name, raw in record.headers:
        if raw is not None:
            _apply_header(event, name, raw)
    return event if event.connections or event.accounts or event.rooms or event.all else None


def _apply_header(event: Event, name: str, raw: bytes) -> None:
    set_field = _HEADER_SETTERS.get(name)
    if set_field is None:
        return  # a header of a later version of the contract
    try:
        set_field(event, raw.decode())
    except UnicodeDecodeError:
        raise InvalidRecord("bad_header", f"{name} is not UTF-8") from None


def _add_accounts(event: Event, text: str) -> None:
    event.accounts = [*event.accounts, *_parse_names(text)]


def _add_rooms(event: Event, text: str) -> None:
    event.rooms = [*event.rooms, *_parse_names(text)]


def _add_connections(event: Event, text: str) -> None:
    event.connections = [*event.connections, *_parse_names(text)]


def _set_all(event: Event, text: str) -> None:
    if text not in {"true", "false"}:
        raise InvalidRecord("bad_header", "push-all is true or false")
    event.all = text == "true"


def _set_id(event: Event, text: str) -> None:
    event.id = text


def _set_type(event: Event, text: str) -> None:
    event.type = text


def _set_time(event: Event, text: str) -> None:
    event.time = _normalize_time(text)


def _set_tag(event: Event, text: str) -> None:
    event.tag = text


def _set_meta(event: Event, text: str) -> None:
    raw = text.encode()
    if not is_valid_json(raw):
        raise InvalidRecord("bad_header", "push-meta is not JSON")
    event.meta = None if raw.strip() == b"null" else raw


_HEADER_SETTERS: Final = {
    "push-accounts": _add_accounts,
    "push-rooms": _add_rooms,
    "push-connections": _add_connections,
    "push-all": _set_all,
    "push-id": _set_id,
    "push-type": _set_type,
    "push-time": _set_time,
    "push-tag": _set_tag,
    "push-meta": _set_meta,
}


def _parse_names(text: str) -> list[str]:
    if not text.strip(" \t"):
        return []
    names = [_percent_decode(part.strip(" \t")) for part in text.split(",")]
    _check_names(names)
    return names


def _percent_decode(text: str) -> str:
    if "%" not in text:
        return text
    if not all(match[1] for match in _PERCENT_ESCAPE.finditer(text)):
        raise InvalidRecord(
            "bad_header", "a % is not followed by two hexadecimal digits; write %25"
        )
    raw = re.sub(rb"%(..)", lambda match: bytes.fromhex(match[1].decode()), text.encode())
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise InvalidRecord("bad_header", "what is percent-encoded is not UTF-8") from None


def _check_names(names: Iterable[str]) -> None:
    for name in names:
        if not is_valid_name(name):
            raise InvalidRecord("bad_name", f"not a name of 1 to 200 bytes: {name[:200]!r}")


def _normalize_time(text: str) -> str:
    try:
        return timestamps.rfc3339_to_utc(text)
    except ValueError as error:
        raise InvalidRecord("bad_time", str(error)) from None


class Batch(NamedTuple):
    """Consecutive records of one partition, and the offset that follows them.

    `next` may be more than the last record's offset and one: control records, aborted
    transactions and compaction leave holes.
    """

    topic: str
    partition: int
    records: Sequence[Record]
    next_offset: int


class UnusableRecord(NamedTuple):
    """A record that could not be used, and why."""

    topic: str
    partition: int
    record: Record
    error: InvalidRecord


class DecodedBatch(NamedTuple):
    """A batch, understood. `nobody` counts the records that named no audience."""

    topic: str
    partition: int
    events: list[Event]
    next_offset: int
    unaddressed: int
    unusable: list[UnusableRecord]


class EnvelopeDecoder:
    """Reads the records of every topic in the native envelope or by its headers."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes

    def decode(self, batch: Batch) -> DecodedBatch:
        """Return what `batch` says."""
        events: list[Event] = []
        unusable: list[UnusableRecord] = []
        max_bytes = self._max_bytes
        for record in batch.records:
            try:
                event = decode_record(record, max_bytes)
            except InvalidRecord as error:
                unusable.append(UnusableRecord(batch.topic, batch.partition, record, error))
            else:
                if event is not None:
                    events.append(event)
        unaddressed = len(batch.records) - len(events) - len(unusable)
        return DecodedBatch(
            batch.topic, batch.partition, events, batch.next_offset, unaddressed, unusable
        )
