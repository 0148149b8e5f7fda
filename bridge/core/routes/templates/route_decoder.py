"""Decodes the records of a topic by its route.

Rule: everything that the route uses is read first. Then `when` decides, then the audience, and the
other fields only if there is one. Audience headers win over all of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bridge.core.protocol.envelope import (
    AUDIENCE_HEADERS,
    TRACEPARENT_HEADER,
    check_audience,
    check_names,
    check_value_size,
    parse_traceparent,
    read_control_headers,
)
from bridge.core.protocol.event import JSON, UNCHECKED, Body, Event, InvalidRecord
from bridge.core.protocol.record import UndecodableRecord
from bridge.core.routes.decoder import Filtered, missing_value_schemas
from bridge.core.routes.formats import MAX_JSON_GROWTH, JsonFormat, check_json_size
from bridge.core.routes.templates.reader import Reader
from bridge.core.routes.templates.render import (
    comparable,
    compile_all,
    compile_json,
    compile_names,
    compile_text,
    compile_time,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bridge.core.protocol.record import Record
    from bridge.core.routes.decoder import TopicDecoder
    from bridge.core.routes.formats import Format
    from bridge.core.routes.templates.render import Found, RenderNames, Slots
    from bridge.core.routes.templates.route import Route
    from bridge.core.routes.templates.template import Template

_NO_HEADERS: Final[Mapping[str, bytes | None]] = {}
_NULL: Final = b"null"
_CONTROL_HEADERS: Final = AUDIENCE_HEADERS | {TRACEPARENT_HEADER}


class RouteDecoder:
    """Decodes by a compiled route. `by_headers` decodes the records that headers address."""

    def __init__(
        self,
        route: Route,
        topic: str,
        value_format: Format,
        key_format: Format,
        by_headers: TopicDecoder,
        max_bytes: int,
        max_addresses: int,
    ) -> None:
        """`topic` is the public name. The limits are those of a record's value and audience."""
        self.route = route
        self._formats = value_format, key_format
        self._by_headers = by_headers
        self._max_bytes, self._max_addresses = max_bytes, max_addresses
        self._reader = Reader(
            topic, value_format, key_format, route.scalar_placeholders(), route.json_placeholders()
        )
        self._read = self._reader.read
        slots = self._reader.slots
        self._when = [(slots[each.placeholder], each.wanted) for each in route.when]
        self._connections = _compile_addresses("connections", route.connections, slots)
        self._accounts = _compile_addresses("accounts", route.accounts, slots)
        self._rooms = _compile_addresses("rooms", route.rooms, slots)
        self._is_for_all = route.all is True
        self._all = None if isinstance(route.all, bool) else compile_all(route.all, slots)
        self._plain_body: Body | None = None  # where the value is the data, as it is
        if route.data is None and isinstance(value_format, JsonFormat):
            self._plain_body = JSON if self._reader.opens_value else UNCHECKED
        fields = (route.type, route.id, route.time, route.tag, route.meta)
        self._has_fields = any(field is not None for field in fields)
        self._type = route.type and compile_text("type", route.type, slots)
        self._id = route.id and compile_text("id", route.id, slots)
        self._tag = route.tag and compile_text("tag", route.tag, slots)
        self._time = route.time and compile_time(route.time, slots)
        self._meta = None if route.meta is None else compile_json("meta", route.meta, slots)
        self._data = None if route.data is None else compile_json("data", route.data, slots)

    def decode_record(self, record: Record, partition: int) -> Event | None:
        """Return the event of `record`; None if it has no audience."""
        value = record.value
        if value is not None and len(value) > self._max_bytes:
            check_value_size(value, self._max_bytes)
        try:
            if not record.headers:
                return self._decode(record, partition, value, _NO_HEADERS)
            return self._decode_with_headers(record, partition, value)
        except RecursionError:  # msgspec counts Python's calls too
            raise InvalidRecord("bad_json", "JSON is nested too deeply") from None

    def _decode_with_headers(
        self, record: Record, partition: int, value: bytes | None
    ) -> Event | None:
        headers = dict(record.headers)
        if headers.keys().isdisjoint(_CONTROL_HEADERS):
            return self._decode(record, partition, value, headers)
        has_audience, traceparents = read_control_headers(record.headers)
        if has_audience:
            return self._by_headers.decode_record(record, partition)
        event = self._decode(record, partition, value, headers)
        if traceparents and event is not None:
            event.traceparent = parse_traceparent(traceparents)
        return event

    def _decode(
        self,
        record: Record,
        partition: int,
        value: bytes | None,
        headers: Mapping[str, bytes | None],
        *,
        is_tombstone: bool = False,
    ) -> Event | None:
        """`value` is what templates see. Ready routes make it also for a tombstone."""
        found = self._read(record, partition, value, headers)
        if self._when and value is not None and not is_tombstone:
            self._check_conditions(found)
        accounts = self._accounts(found) if self._accounts else ()
        rooms = self._rooms(found) if self._rooms else ()
        connections = self._connections(found) if self._connections else ()
        is_for_all = self._all(found) if self._all else self._is_for_all
        if not (accounts or rooms or is_for_all or connections):
            return None
        if len(accounts) + len(rooms) + len(connections) > self._max_addresses:
            check_audience(len(accounts) + len(rooms) + len(connections), self._max_addresses)
        if accounts:
            check_names(accounts)
        if rooms:
            check_names(rooms)
        if connections:
            check_names(connections)
        # As for the native envelope, positional arguments and no calls are the fastest.
        if value is None:
            body, data = Body.DELETED, b""
        elif self._plain_body is not None:
            body, data = self._plain_body, value
        else:
            body, data = self._build_data(found, value)
        event = Event(
            record.offset, record.timestamp, body, data, connections, accounts, rooms, is_for_all
        )
        if self._has_fields:
            self._set_fields(event, found)
        return event

    def _check_conditions(self, found: Found) -> None:
        for slot, wanted in self._when:
            given = found[slot]
            if type(given) is not str:
                given = comparable(given)
            if given not in wanted:
                raise Filtered

    def _build_data(self, found: Found, value: bytes) -> tuple[Body, bytes]:
        if self._data is None:
            return self._formats[0].data(value)
        data = self._data(found) or _NULL
        check_json_size(len(data), MAX_JSON_GROWTH * self._max_bytes)
        return JSON, data

    def _set_fields(self, event: Event, found: Found) -> None:
        if self._type is not None:
            event.type = self._type(found) or "event"
        if self._id is not None:
            event.id = self._id(found)
        if self._time is not None:
            event.time = self._time(found)
        if self._tag is not None:
            event.tag = self._tag(found)
        if self._meta is not None:
            event.meta = self._meta(found)

    def missing_schemas(self, records: Sequence[Record]) -> set[int]:
        """Return the ids of schemas that must be fetched before `records` can be decoded."""
        value_format, key_format = self._formats
        ids = missing_value_schemas(value_format, records, self._max_bytes)
        if self._reader.opens_key and key_format.needs_schema:
            keys = [r.key for r in records if not isinstance(r, UndecodableRecord)]
            missing = {key_format.missing_schema(key) for key in keys if key is not None}
            ids |= {schema_id for schema_id in missing if schema_id is not None}
        return ids


def _compile_addresses(
    field: str, templates: Sequence[Template], slots: Slots
) -> RenderNames | None:
    if not templates:
        return None
    renderers = [compile_names(field, template, slots) for template in templates]
    if len(renderers) == 1:
        return renderers[0]
    return lambda found: [name for render in renderers for name in render(found)]
