"""Explains what a route makes of a record: the same as `RouteDecoder`, slower, with its steps.

Rule: the outcome is that of `RouteDecoder`, for every route and record; a property test holds the
two together. Nothing is compiled here: each template is read and applied when it is tried.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

from bridge.core.protocol.envelope import check_audience, check_names, check_value_size
from bridge.core.protocol.event import JSON, UNCHECKED, Body, Event, InvalidRecord
from bridge.core.routes.decoder import Filtered
from bridge.core.routes.formats import MAX_JSON_GROWTH, JsonFormat, check_json_size
from bridge.core.routes.path import ABSENT, encode_json, find, open_json, to_python
from bridge.core.routes.templates.reader import read_place
from bridge.core.routes.templates.render import (
    Unfit,
    bad_route,
    comparable,
    escape,
    is_nothing,
    scalar_text,
    search_record,
    time_of,
)
from bridge.core.routes.templates.route import AUDIENCE_FIELDS, TEXT_FIELDS
from bridge.core.routes.templates.template import JmespathTemplate, TextTemplate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bridge.core.protocol.record import Record
    from bridge.core.routes.formats import Format
    from bridge.core.routes.templates.route import JsonTemplate, Route
    from bridge.core.routes.templates.template import Placeholder, Template


class Step(NamedTuple):
    """A template that was tried. `found` is JSON text by place, without what is absent."""

    field: str
    template: str
    found: Mapping[str, bytes]
    gave: list[str]
    places: tuple[str, ...] = ()  #: all that were looked at


class Explanation(NamedTuple):
    """What became of a record. `reason` is that of a dead one."""

    verdict: str  #: `addressed`, `unaddressed`, `filtered` or `dead`
    reason: str | None
    event: Event | None
    steps: list[Step]


class RouteExplainer:
    """Explains records of one topic. Audience headers are not looked at: they win before."""

    def __init__(
        self,
        route: Route,
        topic: str,
        value_format: Format,
        key_format: Format,
        max_bytes: int,
        max_addresses: int,
    ) -> None:
        """As for `RouteDecoder`."""
        self._route, self._topic = route, topic
        self._value_format, self._key_format = value_format, key_format
        self._max_bytes, self._max_addresses = max_bytes, max_addresses

    def explain(self, record: Record, partition: int) -> Explanation:
        """Return what the route makes of `record`."""
        steps: list[Step] = []
        try:
            event = self._interpret(record, partition, steps)
        except InvalidRecord as error:
            return Explanation("dead", error.reason, None, steps)
        except Filtered:
            return Explanation("filtered", None, None, steps)
        return Explanation("addressed" if event else "unaddressed", None, event, steps)

    def _interpret(self, record: Record, partition: int, steps: list[Step]) -> Event | None:
        route = self._route
        value = check_value_size(record.value, self._max_bytes)
        attempt = _Attempt(self._read(record, partition, value), steps)
        if value is not None:
            for condition in route.when:
                if not attempt.holds(condition.placeholder, condition.wanted):
                    raise Filtered
        accounts, rooms, connections = (
            [name for each in getattr(route, field) for name in attempt.names(field, each)]
            for field in AUDIENCE_FIELDS
        )
        is_for_all = route.all if isinstance(route.all, bool) else attempt.all(route.all)
        if not (accounts or rooms or connections or is_for_all):
            return None
        check_audience(len(accounts) + len(rooms) + len(connections), self._max_addresses)
        check_names([*accounts, *rooms, *connections])
        event = Event(
            *(record.offset, record.timestamp, Body.DELETED, b""),
            *(connections, accounts, rooms, is_for_all),
        )
        if value is not None:
            event.body, event.data = self._data(attempt, value)
        for field in TEXT_FIELDS:
            template = getattr(route, field)
            if template is not None:
                text = attempt.text(field, template)
                text = time_of(text) if field == "time" and text else text
                setattr(event, field, text or ("event" if field == "type" else None))
        if route.meta is not None:
            event.meta = attempt.json("meta", route.meta)
        return event

    def _read(self, record: Record, partition: int, value: bytes | None) -> dict[Placeholder, Any]:
        route = self._route
        places = dict.fromkeys((*route.scalar_placeholders(), *route.json_placeholders()))
        headers = dict(record.headers)
        found: dict[Placeholder, Any] = {}
        opens_value = any(place.kind == "value" for place in places)
        opened = self._value_format.open(value) if opens_value and value is not None else ABSENT
        for place in places:
            if place.kind == "value":
                found[place] = ABSENT if opened is ABSENT else find(opened, place.path)
        for place in places:
            if place.kind != "value":
                found[place] = read_place(
                    place, self._topic, self._key_format, record, partition, headers
                )
        return found

    def _data(self, attempt: _Attempt, value: bytes) -> tuple[Body, bytes]:
        if self._route.data is not None:
            data = attempt.json("data", self._route.data) or b"null"
            check_json_size(len(data), MAX_JSON_GROWTH * self._max_bytes)
            return JSON, data
        if isinstance(self._value_format, JsonFormat):
            return (JSON if attempt.opens_value else UNCHECKED), value
        return self._value_format.data(value)


class _Attempt:
    """Applies templates to what was found in one record."""

    def __init__(self, found: Mapping[Placeholder, Any], steps: list[Step]) -> None:
        self._found = found
        self._steps = steps
        self.opens_value = any(place.kind == "value" for place in found)

    def holds(self, place: Placeholder, wanted: frozenset[Any]) -> bool:
        given = comparable(self._found[place])
        self._add("when", place.text, (place,), [])
        return given in wanted

    def names(self, field: str, template: Template) -> list[str]:
        names = self._add_step(field, template, lambda: self._names(field, template))
        return names if isinstance(names, list) else []

    def _names(self, field: str, template: Template) -> list[str]:
        try:
            if isinstance(template, TextTemplate):
                return self._texts(template, str if template.is_alone else escape) or []
            texts = _text_list(self._jmespath(field, template))
            return [texts] if isinstance(texts, str) else texts or []
        except Unfit:
            raise bad_route(field, "does not fit") from None

    def _texts(self, template: TextTemplate, change: Callable[[str], str]) -> list[str] | None:
        choices: list[list[str]] = []
        list_count = 0
        is_absent = False
        for part in template.parts:
            if isinstance(part, str):
                choices.append([part])
                continue
            texts = _text_list(self._found[part])
            list_count += isinstance(texts, list)
            is_absent = is_absent or texts is None
            if list_count > 1:
                raise Unfit
            each = [texts] if isinstance(texts, str) else texts or []
            choices.append([change(text) for text in each])
        return None if is_absent else ["".join(parts) for parts in product(*choices)]

    def _jmespath(self, field: str, template: JmespathTemplate) -> Any:  # noqa: ANN401
        names = {place: place.kind for place in template.placeholders}
        record = {
            name: None if self._found[place] is ABSENT else to_python(self._found[place])
            for place, name in names.items()
        }
        return search_record(field, template, record)

    def value(self, field: str, template: Template) -> Any:  # noqa: ANN401
        """Return what a template gives as JSON."""
        if isinstance(template, JmespathTemplate):
            return self._jmespath(field, template)
        if template.is_alone:
            return self._found[template.placeholders[0]]
        if any(isinstance(_opened(self._found[p]), list) for p in template.placeholders):
            raise bad_route(field, "a list beside text")
        try:
            texts = self._texts(template, str)
        except Unfit:
            raise bad_route(field, "does not fit beside text") from None
        return ABSENT if texts is None else texts[0]

    def text(self, field: str, template: Template) -> str | None:
        def text() -> str | None:
            try:
                return scalar_text(self.value(field, template))
            except Unfit:
                raise bad_route(field, "no text") from None

        given = self._add_step(field, template, text)
        return given if isinstance(given, str) else None

    def all(self, template: Template) -> bool:
        given = _opened(self.value("all", template))
        self._add("all", template.source, template.placeholders, [])
        is_boolean = isinstance(given, bool) or given is None or given is ABSENT
        if not is_boolean and given not in ("true", "false", ""):
            raise bad_route("all", "neither true nor false")
        return given is True or given == "true"

    def json(self, field: str, node: JsonTemplate) -> bytes | None:
        built = self._node(field, node)
        return None if built is ABSENT else encode_json(built)

    def _node(self, field: str, node: JsonTemplate) -> Any:  # noqa: ANN401
        if isinstance(node, dict):
            built = {name: self._node(field, child) for name, child in node.items()}
            return {name: child for name, child in built.items() if child is not ABSENT}
        if isinstance(node, list):
            children = [self._node(field, child) for child in node]
            return [child for child in children if child is not ABSENT]
        if not isinstance(node, TextTemplate | JmespathTemplate):
            return node
        if isinstance(node, TextTemplate) and not node.placeholders:
            return "".join(map(str, node.parts))
        value = self.value(field, node)
        self._add(field, node.source, node.placeholders, [])
        return ABSENT if is_nothing(value) else value

    def _add_step(
        self, field: str, template: Template, give: Callable[[], list[str] | str | None]
    ) -> list[str] | str | None:
        gave: list[str] | str | None = None
        try:
            gave = give()
        finally:  # a step that makes the record dead is one too
            texts = [gave] if isinstance(gave, str) else gave or []
            self._add(field, template.source, template.placeholders, texts)
        return gave

    def _add(
        self, field: str, source: str, places: tuple[Placeholder, ...], gave: list[str]
    ) -> None:
        found = {
            place.text: encode_json(self._found[place])
            for place in places
            if self._found[place] is not ABSENT
        }
        self._steps.append(Step(field, source, found, gave, tuple(p.text for p in places)))


def _opened(value: Any) -> Any:  # noqa: ANN401
    return open_json(value)


def _text_list(value: Any) -> list[str] | str | None:  # noqa: ANN401
    value = _opened(value)
    if not isinstance(value, list):
        return scalar_text(value)
    return [text for text in map(scalar_text, value) if text is not None]
