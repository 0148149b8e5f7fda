"""Decodes Kafka records to events: from the native JSON envelope, or from `push-*` headers.

Rules: audience headers win, and such a record's value is not parsed. One invalid field makes the
whole record invalid. Any bytes give an event, None (no audience) or `InvalidRecord`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec

from bridge.core.protocol import timestamps
from bridge.core.protocol.event import (
    JSON,
    UNCHECKED,
    Body,
    Event,
    InvalidRecord,
    address_count,
    describe_decode_error,
)
from bridge.core.protocol.names import is_valid_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bridge.core.protocol.record import Record

#: Names in a record's audience, unless a setting says otherwise.
MAX_ADDRESSES: Final = 10_000
_MIN_ADDRESS_BYTES: Final = 3


_ABSENT: Final = msgspec.Raw(b"")


class _NativeEnvelope(msgspec.Struct, gc=False):
    """The native JSON envelope. Unknown fields are ignored: producers may be upgraded first."""

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
# `Raw` checks the grammar and keeps the text, so numbers of any size pass unchanged.
_validate_json: Final = msgspec.json.Decoder(msgspec.Raw).decode
#: A record with one of these headers is addressed by its headers, and its value is `data`.
AUDIENCE_HEADERS: Final = frozenset({"push-accounts", "push-rooms", "push-connections", "push-all"})
_PERCENT_ESCAPE: Final = re.compile("%([0-9A-Fa-f]{2})?")


def decode_record(
    record: Record, max_bytes: int, max_addresses: int = MAX_ADDRESSES
) -> Event | None:
    """Decode one record; None if it has no audience.

    Raises:
        InvalidRecord: If a field is invalid, the value has more than `max_bytes` bytes, or the
            audience more than `max_addresses` names.
    """
    value = check_value_size(record.value, max_bytes)
    if record.headers:
        event = _decode_with_headers(record, value, max_addresses)
    else:
        event = None if value is None else decode_native(record, value, max_addresses)
    return event


def check_value_size(value: bytes | None, max_bytes: int) -> bytes | None:
    """Return `value`; raise InvalidRecord (`too_large`) if it has more than `max_bytes` bytes."""
    if value is not None and len(value) > max_bytes:
        raise InvalidRecord("too_large", f"the value has {len(value)} bytes, more than {max_bytes}")
    return value


def check_audience(count: int, max_addresses: int) -> None:
    """Raise InvalidRecord (`too_many`) if an audience of `count` names is too large."""
    if count > max_addresses:
        raise InvalidRecord(
            "too_many", f"the audience has {count} names, more than {max_addresses}"
        )


def is_valid_json(value: bytes) -> bool:
    """True if `value` is JSON (RFC 8259) in valid UTF-8, not nested too deeply for a parser."""
    try:
        _validate_json(value)
        value.isascii() or value.decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _decode_with_headers(record: Record, value: bytes | None, max_addresses: int) -> Event | None:
    event: Event | None = None
    has_audience, traceparents = read_control_headers(record.headers)
    if has_audience:
        event = decode_by_headers(
            record, Body.DELETED if value is None else UNCHECKED, value or b"", max_addresses
        )
    elif value is not None:
        event = decode_native(record, value, max_addresses)
    if traceparents and event is not None:
        event.traceparent = parse_traceparent(traceparents)
    return event


def read_control_headers(
    headers: Iterable[tuple[str, bytes | None]],
) -> tuple[bool, Sequence[bytes]]:
    """Return whether `headers` name an audience, and their trace contexts.

    Trace context comes only by header, for all kinds of records.
    """
    has_audience = False
    traceparents: list[bytes] = []
    for name, raw in headers:
        if raw is None:
            continue
        if name in AUDIENCE_HEADERS:
            has_audience = True
        elif name == TRACEPARENT_HEADER:
            traceparents.append(raw)
    return has_audience, traceparents


def decode_native(record: Record, value: bytes, max_addresses: int) -> Event | None:
    """Decode the envelope in `value`; None if it names no audience.

    Raises:
        InvalidRecord: If a field is invalid, or the audience has more than `max_addresses` names.
    """
    try:
        # The decoder does not check the encoding of fields that it ignores.
        if not value.isascii():
            value.decode()
        native = _decode_native(value)
    except msgspec.ValidationError as error:
        raise InvalidRecord("bad_envelope", describe_decode_error(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRecord("bad_json", describe_decode_error(error)) from None
    except RecursionError:
        raise InvalidRecord("bad_json", "JSON is nested too deeply") from None
    connections, accounts, rooms = native.connections, native.accounts, native.rooms
    # An address has three bytes at least, so a short value cannot have too many.
    if len(value) > _MIN_ADDRESS_BYTES * max_addresses:
        check_audience(
            len(connections or ()) + len(accounts or ()) + len(rooms or ()), max_addresses
        )
    if connections:
        check_names(connections)
    if accounts:
        check_names(accounts)
    if rooms:
        check_names(rooms)
    time = None if native.time is None else normalize_time(native.time)
    if not (accounts or rooms or native.all or connections):
        return None
    meta = None if native.meta is _ABSENT else bytes(native.meta)
    # Positional arguments are the fastest: offset to all, then id, type, time, tag and meta.
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


def decode_by_headers(record: Record, body: Body, data: bytes, max_addresses: int) -> Event | None:
    """Decode the `push-*` headers of `record`; None if they name no audience.

    Raises:
        InvalidRecord: If a header is invalid, or the audience has more than `max_addresses` names.
    """
    event = Event(offset=record.offset, timestamp=record.timestamp, body=body, data=data)
    for name, raw in record.headers:
        if raw is not None:
            _apply_header(event, name, raw)
            if name in AUDIENCE_HEADERS:
                check_audience(address_count(event), max_addresses)
    return event if event.connections or event.accounts or event.rooms or event.all else None


def _apply_header(event: Event, name: str, raw: bytes) -> None:
    set_field = _HEADER_SETTERS.get(name)
    if set_field is None:
        return  # a header of a later version of the protocol
    try:
        set_field(event, raw.decode())
    except UnicodeDecodeError:
        raise InvalidRecord("bad_header", f"{name} is not UTF-8") from None


def _extended(names: Sequence[str], text: str) -> list[str]:
    """Return the names of one more header; a list grows in place, else many headers are slow."""
    extended = names if isinstance(names, list) else [*names]
    extended += parse_names(text)
    return extended


def _add_accounts(event: Event, text: str) -> None:
    event.accounts = _extended(event.accounts, text)


def _add_rooms(event: Event, text: str) -> None:
    event.rooms = _extended(event.rooms, text)


def _add_connections(event: Event, text: str) -> None:
    event.connections = _extended(event.connections, text)


def _set_all(event: Event, text: str) -> None:
    if text not in {"true", "false"}:
        raise InvalidRecord("bad_header", "push-all is true or false")
    event.all = text == "true"


def _set_id(event: Event, text: str) -> None:
    event.id = text


def _set_type(event: Event, text: str) -> None:
    event.type = text


def _set_time(event: Event, text: str) -> None:
    event.time = normalize_time(text)


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


def parse_names(text: str) -> list[str]:
    """Return the names of a list with commas between them, percent-decoded.

    Raises:
        InvalidRecord: (`bad_header`, `bad_name`) If an escape or a name is wrong.
    """
    if not text.strip(" \t"):
        return []
    names = [_percent_decode(part.strip(" \t")) for part in text.split(",")]
    check_names(names)
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


def check_names(names: Iterable[str]) -> None:
    """Raise InvalidRecord (`bad_name`) unless each may name an account, room or connection."""
    for name in names:
        if not is_valid_name(name):
            raise InvalidRecord("bad_name", "the audience has what is no name of 1 to 200 bytes")


def normalize_time(text: str) -> str:
    """Return an RFC 3339 time in UTC; raise InvalidRecord (`bad_time`) if it is none."""
    try:
        return timestamps.rfc3339_to_utc(text)
    except ValueError:
        raise InvalidRecord("bad_time", "the time is not an RFC 3339 date-time") from None


#: Name in Kafka, in HTTP, and in an event's frame.
TRACEPARENT_HEADER: Final = "traceparent"
_SAMPLED_FLAG: Final = 1
#: Version, ids, flags, and a suffix that only later versions may have.
_match_traceparent: Final = re.compile(
    rb"(?!ff)([0-9a-f]{2})-((?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16})-([0-9a-f]{2})(-.*)?",
    re.DOTALL,
).fullmatch


def parse_traceparent(values: Sequence[bytes]) -> str | None:
    """Return a W3C `traceparent` of version 00; None unless there is exactly one valid value.

    A later version is reduced to what version 00 knows: ids and the sampled flag (section 3.2.4).
    """
    match = _match_traceparent(values[0]) if len(values) == 1 else None
    if match is None:
        return None
    version, ids, flags, suffix = match.groups()
    if version != b"00":
        return f"00-{ids.decode()}-{int(flags, 16) & _SAMPLED_FLAG:02x}"
    return None if suffix else match[0].decode()
