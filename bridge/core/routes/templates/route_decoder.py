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
from bridge.core.protocol.event import JSON, Body, Event
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
        slots = self._reader.slots
        self._when = [(slots[each.placeholder], each.wanted) for each in route.when]
        self._connections = _compile_addresses("connections", route.connections, slots)
        self._accounts = _compile_addresses("accounts", route.accounts, slots)
        self._rooms = _compile_addresses("rooms", route.rooms, slots)
        self._all = compile_all(route.all, slots)
        self._is_checked = self._reader.opens_value and isinstance(value_format, JsonFormat)
        self._is_plain = not any(
            (route.type, route.id, route.time, route.tag, route.meta is not None)
        )
        self._type = compile_text("type", route.type, slots)
        self._id = compile_text("id", route.id, slots)
        self._tag = compile_text("tag", route.tag, slots)
        self._time = compile_time(route.time, slots)
        self._meta = None if route.meta is None else compile_json("meta", route.meta, slots)
        self._data = None if route.data is None else compile_json("data", route.data, slots)

    def decode_record(self, record: Record, partition: int) -> Event | None:
        """Return the event of `record`; None if it has no audience."""
        value = check_value_size(record.value, self._max_bytes)
        if not record.headers:
            return self._decode(record, partition, value, _NO_HEADERS)
        headers = dict(record.headers)
        traceparents: Sequence[bytes] = ()
        if not AUDIENCE_HEADERS.isdisjoint(headers) or TRACEPARENT_HEADER in headers:
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
    ) -> Event | None:
        found = self._reader.read(record, partition, value, headers)
        if value is not None:
            for slot, wanted in self._when:
                given = found[slot]
                if (given if type(given) is str else comparable(given)) not in wanted:
                    raise Filtered
        connections, accounts, rooms = (
            self._connections and self._connections(found),
            self._accounts and self._accounts(found),
            self._rooms and self._rooms(found),
        )
        is_for_all = self._all(found)
        if not (accounts or rooms or is_for_all or connections):
            return None
        self._check(connections, accounts, rooms)
        body, data = self._body(found, value)
        event = Event(
            *(record.offset, record.timestamp, body, data),
            *(connections or (), accounts or (), rooms or (), is_for_all),
        )
        if not self._is_plain:
            self._set_fields(event, found)
        return event

    def _check(self, *addresses: Sequence[str] | None) -> None:
        check_audience(sum(len(names) for names in addresses if names), self._max_addresses)
        for names in addresses:
            if names:
                check_names(names)

    def _body(self, found: Found, value: bytes | None) -> tuple[Body, bytes]:
        if value is None:
            return Body.DELETED, b""
        if self._data is not None:
            data = self._data(found) or _NULL
            check_json_size(len(data), MAX_JSON_GROWTH * self._max_bytes)
            return JSON, data
        return (JSON, value) if self._is_checked else self._formats[0].data(value)

    def _set_fields(self, event: Event, found: Found) -> None:
        event.id, event.tag, event.time = self._id(found), self._tag(found), self._time(found)
        event.type = self._type(found) or "event"
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
