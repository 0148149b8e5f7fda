"""The ready route `debezium`: changes of a database, in JSON with schemas or without, or Avro.

Rule: `before` never goes to whom its row was not for. Templates see the envelope; where a row was
deleted, `{value.after...}` is that of `before`.
Source: Debezium's documentation, "Change event values".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from bridge.core.protocol.event import JSON, Event, InvalidRecord
from bridge.core.routes.decoder import Filtered, missing_value_schemas
from bridge.core.routes.formats import MAX_JSON_GROWTH, JsonFormat, check_json_size
from bridge.core.routes.path import ABSENT, encode_json, find, open_json
from bridge.core.routes.templates.route_decoder import RouteDecoder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bridge.core.protocol.record import Record
    from bridge.core.routes.decoder import TopicDecoder
    from bridge.core.routes.formats import Format
    from bridge.core.routes.templates.route import Route

    Headers = Mapping[str, bytes | None]

#: What a route with `use: debezium` has where it says nothing else; `type` is then translated.
FIELDS: Final[dict[str, Any]] = {
    "type": "{value.op}",
    "time": "{value.source.ts_ms}",
    "meta": {
        "db": "{value.source.db}",
        "schema": "{value.source.schema}",
        "table": "{value.source.table}",
    },
}
FORMATS: Final = ("json", "json-schema", "avro", "protobuf")

_TYPES: Final = {"c": "create", "u": "update", "d": "delete", "r": "read", "t": "truncate"}
_MESSAGE: Final = "m"  # written by `pg_logical_emit_message`: no row
_NULL: Final = b"null"
_decode_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode: Final = msgspec.json.Encoder().encode


class Change(NamedTuple):
    """One change. The rows are JSON text, `null` where there is none."""

    op: str
    before: bytes
    after: bytes
    envelope: bytes

    def seen(self) -> bytes:
        """Return the envelope as templates see it: where a row was deleted, with the row it was."""
        is_deleted = self.after == _NULL and self.before != _NULL
        return self.envelope_with(self.before) if is_deleted else self.envelope

    def envelope_with(self, after: bytes) -> bytes:
        """Return the envelope with another row in the place of `after`."""
        return _encode({**_decode_object(self.envelope), "after": msgspec.Raw(after)})


class DebeziumDecoder(RouteDecoder):
    """Decodes by a route with `use: debezium`."""

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
        """As of `RouteDecoder`."""
        keys = _PayloadFormat(key_format)
        super().__init__(route, topic, JsonFormat(), keys, by_headers, max_bytes, max_addresses)
        self._value_format = value_format

    def missing_schemas(self, records: Sequence[Record]) -> set[int]:
        """Return the ids of schemas that must be fetched before `records` can be decoded."""
        values = missing_value_schemas(self._value_format, records, self._max_bytes)
        return super().missing_schemas(records) | values

    def _decode(
        self,
        record: Record,
        partition: int,
        value: bytes | None,
        headers: Headers,
        *,
        is_tombstone: bool = False,
    ) -> Event | None:
        if value is None:
            event = super()._decode(record, partition, None, headers)
            if event is None:
                raise Filtered
            return event
        change = parse_change(self._value_format, value)
        if change.op == _MESSAGE:
            raise Filtered
        event = super()._decode(
            record, partition, change.seen(), headers, is_tombstone=is_tombstone
        )
        if event is None:
            return None
        if self.route.translates_type:
            event.type = _TYPES[change.op]
        if self.route.data is None:
            before = change.before
            if _NULL not in {before, change.after} and not self._is_for_same(
                event, record, partition, change.envelope_with(before), headers
            ):
                before = _NULL
            rows = (change.op.encode(), before, change.after)
            data = b'{"op":"%b","before":%b,"after":%b}' % rows
            check_json_size(len(data), MAX_JSON_GROWTH * self._max_bytes)
            event.body, event.data = JSON, data
        return event

    def _is_for_same(
        self, event: Event, record: Record, partition: int, envelope: bytes, headers: Headers
    ) -> bool:
        """Whether routing `envelope` gives the audience of `event`."""
        try:
            found = self._read(record, partition, envelope, headers)
            given = [
                set(render(found)) if render else set()
                for render in (self._accounts, self._rooms, self._connections)
            ]
            is_for_all = self._all(found) if self._all else self._is_for_all
        except InvalidRecord:
            return False
        wanted = [set(event.accounts), set(event.rooms), set(event.connections)]
        return given == wanted and is_for_all == event.all


def parse_change(value_format: Format, value: bytes) -> Change:
    """Return the change in a record's value.

    Raises:
        InvalidRecord: If it is not in its format, or no change (`bad_value`).
    """
    envelope = _payload(value_format.open(value))
    op = open_json(find(envelope, ("op",)))
    if not isinstance(op, str) or op not in {*_TYPES, _MESSAGE}:
        raise InvalidRecord("bad_value", "no change event of Debezium: it has no op")
    rows = (find(envelope, (name,)) for name in ("before", "after"))
    before, after = (_NULL if row is ABSENT else encode_json(row) for row in rows)
    return Change(op, before, after, encode_json(envelope))


def seen_value(value_format: Format, record: Record) -> bytes | None:
    """Return what templates see as the value of `record`; None for a tombstone.

    Raises:
        InvalidRecord: As of `parse_change`.
    """
    return None if record.value is None else parse_change(value_format, record.value).seen()


def _payload(opened: Any) -> Any:  # noqa: ANN401
    """Return the payload of an envelope with a schema; anything else as it is."""
    payload = find(opened, ("payload",))
    has_schema = payload is not ABSENT and find(opened, ("schema",)) is not ABSENT
    return payload if has_schema else opened


class _PayloadFormat:
    """A format of keys, without the schema that Debezium may put around them."""

    def __init__(self, key_format: Format) -> None:
        self._format = key_format
        self.needs_schema = key_format.needs_schema

    def open(self, raw: bytes) -> Any:  # noqa: ANN401
        """Return the key."""
        opened = self._format.open(raw)
        return opened if isinstance(opened, str | int) else _payload(opened)

    def data(self, raw: bytes) -> tuple[Any, bytes]:
        """As of the format."""
        return self._format.data(raw)

    def missing_schema(self, raw: bytes) -> int | None:
        """As of the format."""
        return self._format.missing_schema(raw)
