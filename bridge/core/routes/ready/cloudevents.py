"""The ready route `cloudevents`: structured and binary mode of CloudEvents' Kafka binding, 1.0.

Rule: templates see the structured form (JSON Event Format) in both modes. The audience is in
extension attributes, written as the `push-*` headers are.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from bridge.core.protocol.envelope import (
    check_audience,
    check_names,
    is_valid_json,
    parse_names,
)
from bridge.core.protocol.event import Body, Event, InvalidRecord
from bridge.core.routes.templates.route_decoder import RouteDecoder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.core.protocol.record import Record

    Headers = Mapping[str, bytes | None]

#: What a route with `use: cloudevents` has where it says nothing else.
FIELDS: Final[dict[str, Any]] = {
    "type": "{value.type}",
    "id": "{value.id}",
    "time": "{value.time}",
    "meta": {"source": "{value.source}", "subject": "{value.subject}"},
}
FORMATS: Final = ("json",)

_CONTENT_TYPE: Final = "content-type"
_ATTRIBUTE_PREFIX: Final = "ce_"
_EVENT_TYPES: Final = "application/cloudevents"
_JSON_EVENT_TYPE: Final = "application/cloudevents+json"
_JSON_TYPE: Final = "application/json"


class _StructuredEvent(msgspec.Struct):
    """The attributes that the bridge uses. All others are allowed."""

    specversion: str
    id: str
    source: str
    type: str
    accounts: str | None = None
    rooms: str | None = None
    all: bool | str | None = None
    data: msgspec.Raw = msgspec.Raw(b"null")
    data_base64: str | None = None


_decode_event: Final = msgspec.json.Decoder(_StructuredEvent).decode
_encode: Final = msgspec.json.Encoder().encode


class Audience(NamedTuple):
    """For whom an event is by its extension attributes."""

    accounts: list[str]
    rooms: list[str]
    is_for_all: bool


class CloudEventDecoder(RouteDecoder):
    """Decodes by a route with `use: cloudevents`."""

    def _decode(
        self,
        record: Record,
        partition: int,
        value: bytes | None,
        headers: Headers,
        *,
        is_tombstone: bool = False,
    ) -> Event | None:
        is_tombstone = is_tombstone or value is None
        if value is None and _ATTRIBUTE_PREFIX + "specversion" not in headers:
            return super()._decode(record, partition, None, headers)
        structured = structured_form(value, headers)
        attributes = parse_attributes(structured)
        if self.route.reads_extensions:
            event = self._decode_by_extensions(
                record, partition, structured, headers, attributes, is_tombstone=is_tombstone
            )
        else:
            event = super()._decode(
                record, partition, structured, headers, is_tombstone=is_tombstone
            )
        if event is None:
            return None
        if is_tombstone:
            event.body, event.data = Body.DELETED, b""
        elif self.route.data is None:
            event.body, event.data = _data(attributes)
        return event

    def _decode_by_extensions(
        self,
        record: Record,
        partition: int,
        structured: bytes,
        headers: Headers,
        attributes: _StructuredEvent,
        *,
        is_tombstone: bool,
    ) -> Event | None:
        found = self._read(record, partition, structured, headers)
        if self._when and not is_tombstone:
            self._check_conditions(found)
        accounts, rooms, is_for_all = audience(attributes)
        if not (accounts or rooms or is_for_all):
            return None
        check_audience(len(accounts) + len(rooms), self._max_addresses)
        check_names([*accounts, *rooms])
        body, data = (Body.JSON, b"null")
        if self.route.data is not None:
            body, data = self._build_data(found, structured)
        event = Event(record.offset, record.timestamp, body, data, (), accounts, rooms, is_for_all)
        self._set_fields(event, found)
        return event


def seen_value(record: Record) -> bytes | None:
    """Return what templates see as the value of `record`; None for a tombstone without attributes.

    Raises:
        InvalidRecord: As of `structured_form`.
    """
    headers = dict(record.headers)
    if record.value is None and _ATTRIBUTE_PREFIX + "specversion" not in headers:
        return None
    return structured_form(record.value, headers)


def structured_form(value: bytes | None, headers: Headers) -> bytes:
    """Return the JSON Event Format of a record, whichever mode it is in.

    Raises:
        InvalidRecord: (`bad_value`) If it is a batch, in another event format, or no CloudEvent.
    """
    content_type = _media_type(headers)
    if content_type.startswith(_EVENT_TYPES):
        if content_type != _JSON_EVENT_TYPE:
            raise InvalidRecord(
                "bad_value", "a batch of CloudEvents, or another event format than JSON"
            )
    elif _ATTRIBUTE_PREFIX + "specversion" in headers:
        return _from_binary(value, headers, content_type)
    elif content_type:
        raise InvalidRecord("bad_value", "no CloudEvent: neither a content type nor ce_specversion")
    if value is None:
        raise InvalidRecord("bad_value", "a CloudEvent in structured mode has a value")
    return value


def _media_type(headers: Headers) -> str:
    raw = headers.get(_CONTENT_TYPE) or b""
    return raw.decode("latin-1").partition(";")[0].strip().lower()


def _from_binary(value: bytes | None, headers: Headers, content_type: str) -> bytes:
    event: dict[str, Any] = {}
    for name, raw in headers.items():
        if not name.startswith(_ATTRIBUTE_PREFIX) or raw is None:
            continue
        try:
            event[name.removeprefix(_ATTRIBUTE_PREFIX)] = raw.decode()
        except UnicodeDecodeError:
            raise InvalidRecord("bad_value", "a CloudEvents attribute is not UTF-8") from None
    event.pop("data", None)  # no attribute may have the name of a member of the format
    event.pop("data_base64", None)
    if content_type:
        event["datacontenttype"] = (headers[_CONTENT_TYPE] or b"").decode("latin-1")
    if value:
        event |= _binary_data(value, content_type)
    return _encode(event)


def _binary_data(value: bytes, content_type: str) -> dict[str, Any]:
    is_json = content_type in {"", _JSON_TYPE} or content_type.endswith("+json")
    if is_json and is_valid_json(value):
        return {"data": msgspec.Raw(value)}
    if is_json and content_type:
        raise InvalidRecord("bad_value", "the data of a CloudEvent is not what its type says: JSON")
    if content_type.startswith("text/"):
        try:
            return {"data": value.decode()}
        except UnicodeDecodeError:
            pass
    return {"data_base64": b64encode(value).decode()}


def parse_attributes(structured: bytes) -> _StructuredEvent:
    """Return the attributes of a CloudEvent.

    Raises:
        InvalidRecord: (`bad_value`) If it is none of version 1.
    """
    try:
        structured.decode()
        attributes = _decode_event(structured)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise InvalidRecord(
            "bad_value", "no CloudEvent: specversion, id, source and type are text"
        ) from None
    if not attributes.specversion.startswith("1."):
        raise InvalidRecord("bad_value", "no CloudEvent of version 1")
    if not (attributes.id and attributes.source and attributes.type):
        raise InvalidRecord("bad_value", "no CloudEvent: id, source and type are not empty")
    return attributes


def audience(attributes: _StructuredEvent) -> Audience:
    """Return the audience that the extension attributes name.

    Raises:
        InvalidRecord: (`bad_value`) If one of them is not as its `push-*` header is written.
    """
    try:
        accounts = parse_names(attributes.accounts) if attributes.accounts else []
        rooms = parse_names(attributes.rooms) if attributes.rooms else []
    except InvalidRecord as error:
        raise InvalidRecord("bad_value", str(error)) from None
    if attributes.all not in {None, True, False, "true", "false"}:
        raise InvalidRecord("bad_value", "the attribute all is neither true nor false")
    return Audience(accounts, rooms, attributes.all in {True, "true"})


def _data(attributes: _StructuredEvent) -> tuple[Body, bytes]:
    if attributes.data_base64 is None:
        return Body.JSON, bytes(attributes.data)
    try:
        raw = b64decode(attributes.data_base64, validate=True)
    except ValueError:
        raise InvalidRecord("bad_value", "data_base64 is not base64") from None
    return Body.BASE64, b64encode(raw)
