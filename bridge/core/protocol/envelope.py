"""A record to an event, or why not: the native envelope, and the same by headers.

Rules: headers win, and a record that they address is never opened to route it. One wrong field
makes the whole record dead. What names nobody is no error. Any bytes give an event, None or
`Dead`, never another exception. Trace context is by header always, and never a reason to be dead.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import msgspec

from bridge.core.protocol import timestamps
from bridge.core.protocol.event import JSON, Body, Dead, Event
from bridge.core.protocol.names import is_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: In Kafka and in HTTP, and the field of an event's frame.
HEADER: Final = "traceparent"
_SAMPLED: Final = 1
#: Version, ids, flags, and what only a later version may have.
_match: Final = re.compile(
    rb"(?!ff)([0-9a-f]{2})-((?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16})-([0-9a-f]{2})(-.*)?",
    re.DOTALL,
).fullmatch


def only(values: Sequence[bytes]) -> str | None:
    """Return the `traceparent` that `values` are, None where they are not just one that is valid.

    Of a later version it has what is known of it: the ids, and whether it is sampled (3.2.4).
    """
    found = _match(values[0]) if len(values) == 1 else None
    if found is None:
        return None
    version, ids, flags, more = found.groups()
    if version != b"00":
        return f"00-{ids.decode()}-{int(flags, 16) & _SAMPLED:02x}"
    return None if more else found[0].decode()


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


_NOT_GIVEN: Final = msgspec.Raw(b"")


class _Native(msgspec.Struct, gc=False):
    """The native envelope; unknown fields are passed over: producers may be upgraded first."""

    id: str | None = None
    type: str | None = None
    time: str | None = None
    tag: str | None = None
    accounts: list[str] | None = None
    rooms: list[str] | None = None
    connections: list[str] | None = None
    all: bool | None = None
    meta: msgspec.Raw = _NOT_GIVEN
    data: msgspec.Raw = msgspec.Raw(b"null")


_decode_native: Final = msgspec.json.Decoder(_Native).decode
# Raw is checked for JSON's grammar but kept as it is: numbers of any size pass as they are written.
_scan_json: Final = msgspec.json.Decoder(msgspec.Raw).decode
AUDIENCE: Final = frozenset({"push-accounts", "push-rooms", "push-connections", "push-all"})
_ESCAPE: Final = re.compile("%([0-9A-Fa-f]{2})?")


def read(record: Record, max_bytes: int) -> Event | None:
    """Return the event that `record` is; None where it names nobody.

    Raises:
        Dead: If the record can not be used, or its value has more than `max_bytes` bytes.
    """
    value = record.value
    if value is not None and len(value) > max_bytes:
        raise Dead("too_large", f"the value has {len(value)} bytes, more than {max_bytes}")
    if record.headers:
        return _with_headers(record, value)
    return None if value is None else _native(record, value)


def is_json(value: bytes) -> bool:
    """Whether `value` is JSON text (RFC 8259) that any client's parser takes."""
    try:
        _scan_json(value)
        value.isascii() or value.decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _with_headers(record: Record, value: bytes | None) -> Event | None:
    event: Event | None = None
    addressed = False
    traced: list[bytes] = []
    for name, raw in record.headers:
        if raw is None:
            continue
        if name in AUDIENCE:
            addressed = True
        elif name == HEADER:
            traced.append(raw)
    if addressed:
        event = _by_headers(record)
    elif value is not None:
        event = _native(record, value)
    if traced and event is not None:
        event.traceparent = only(traced)
    return event


def _native(record: Record, value: bytes) -> Event | None:
    try:
        # The decoder does not look at the encoding of what it passes over.
        if not value.isascii():
            value.decode()
        native = _decode_native(value)
    except msgspec.ValidationError as error:
        raise Dead("bad_envelope", str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Dead("bad_json", str(error)) from None
    except RecursionError:
        raise Dead("bad_json", "JSON is nested too deeply") from None
    connections, accounts, rooms = native.connections, native.accounts, native.rooms
    if connections:
        _check_names(connections)
    if accounts:
        _check_names(accounts)
    if rooms:
        _check_names(rooms)
    time = None if native.time is None else _time(native.time)
    if not (accounts or rooms or native.all or connections):
        return None
    meta = None if native.meta is _NOT_GIVEN else bytes(native.meta)
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


def _by_headers(record: Record) -> Event | None:
    value = record.value
    event = Event(
        offset=record.offset,
        timestamp=record.timestamp,
        body=Body.DELETED if value is None else Body.UNCHECKED,
        data=value or b"",
    )
    for name, raw in record.headers:
        if raw is not None:
            _take_header(event, name, raw)
    return event if event.connections or event.accounts or event.rooms or event.all else None


def _take_header(event: Event, name: str, raw: bytes) -> None:
    take = _HEADERS.get(name)
    if take is None:
        return  # a header of a later version of the contract
    try:
        take(event, raw.decode())
    except UnicodeDecodeError:
        raise Dead("bad_header", f"{name} is not UTF-8") from None


def _take_accounts(event: Event, text: str) -> None:
    event.accounts = [*event.accounts, *_names(text)]


def _take_rooms(event: Event, text: str) -> None:
    event.rooms = [*event.rooms, *_names(text)]


def _take_connections(event: Event, text: str) -> None:
    event.connections = [*event.connections, *_names(text)]


def _take_all(event: Event, text: str) -> None:
    if text not in {"true", "false"}:
        raise Dead("bad_header", "push-all is true or false")
    event.all = text == "true"


def _take_id(event: Event, text: str) -> None:
    event.id = text


def _take_type(event: Event, text: str) -> None:
    event.type = text


def _take_time(event: Event, text: str) -> None:
    event.time = _time(text)


def _take_tag(event: Event, text: str) -> None:
    event.tag = text


def _take_meta(event: Event, text: str) -> None:
    raw = text.encode()
    if not is_json(raw):
        raise Dead("bad_header", "push-meta is not JSON")
    event.meta = None if raw.strip() == b"null" else raw


_HEADERS: Final = {
    "push-accounts": _take_accounts,
    "push-rooms": _take_rooms,
    "push-connections": _take_connections,
    "push-all": _take_all,
    "push-id": _take_id,
    "push-type": _take_type,
    "push-time": _take_time,
    "push-tag": _take_tag,
    "push-meta": _take_meta,
}


def _names(text: str) -> list[str]:
    if not text.strip(" \t"):
        return []
    names = [_unquote(part.strip(" \t")) for part in text.split(",")]
    _check_names(names)
    return names


def _unquote(text: str) -> str:
    if "%" not in text:
        return text
    if not all(match[1] for match in _ESCAPE.finditer(text)):
        raise Dead("bad_header", "a % is not followed by two hexadecimal digits; write %25")
    raw = re.sub(rb"%(..)", lambda match: bytes.fromhex(match[1].decode()), text.encode())
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise Dead("bad_header", "what is percent-encoded is not UTF-8") from None


def _check_names(names: Iterable[str]) -> None:
    for name in names:
        if not is_name(name):
            raise Dead("bad_name", f"not a name of 1 to 200 bytes: {name[:200]!r}")


def _time(text: str) -> str:
    try:
        return timestamps.to_utc(text)
    except ValueError as error:
        raise Dead("bad_time", str(error)) from None


class Batch(NamedTuple):
    """Consecutive records of one partition, and the offset that follows them.

    `next` may be more than the last record's offset and one: control records, aborted
    transactions and compaction leave holes.
    """

    topic: str
    partition: int
    records: Sequence[Record]
    next: int


class Casualty(NamedTuple):
    """A record that could not be used, and why."""

    topic: str
    partition: int
    record: Record
    dead: Dead


class Routed(NamedTuple):
    """A batch, understood. `nobody` counts the records that named no audience."""

    topic: str
    partition: int
    events: list[Event]
    next: int
    nobody: int
    casualties: list[Casualty]


class Router:
    """Reads the records of every topic in the native envelope or by its headers."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes

    def route(self, batch: Batch) -> Routed:
        """Return what `batch` says."""
        events: list[Event] = []
        casualties: list[Casualty] = []
        max_bytes = self._max_bytes
        for record in batch.records:
            try:
                event = read(record, max_bytes)
            except Dead as dead:
                casualties.append(Casualty(batch.topic, batch.partition, record, dead))
            else:
                if event is not None:
                    events.append(event)
        nobody = len(batch.records) - len(events) - len(casualties)
        return Routed(batch.topic, batch.partition, events, batch.next, nobody, casualties)
