"""Parses and checks the `route` of a topic in the settings.

Rule: what no record could ever make right is refused here, with its place and a remedy. What one
record may have and another not is left to the route's decoder.
"""

from __future__ import annotations

from datetime import date
from math import isfinite
from typing import Any, Final

from bridge.config.environment import nearest
from bridge.core.protocol.names import MAX_NAME_BYTES, is_valid_name
from bridge.core.protocol.timestamps import rfc3339_to_utc
from bridge.core.routes.ready import cloudevents, debezium
from bridge.core.routes.templates.render import comparable
from bridge.core.routes.templates.route import (
    AUDIENCE_FIELDS,
    TEXT_FIELDS,
    Condition,
    JsonTemplate,
    Route,
)
from bridge.core.routes.templates.template import (
    JmespathTemplate,
    Placeholder,
    Template,
    TextTemplate,
    check_address,
    compile_jmespath,
    parse_placeholder,
    parse_template,
)

FIELDS: Final = (*AUDIENCE_FIELDS, "all", "when", *TEXT_FIELDS, "meta", "data", "use")
#: What each ready route has where the settings say nothing else, and the formats of its values.
READY_ROUTES: Final[dict[str, tuple[dict[str, Any], tuple[str, ...]]]] = {
    "cloudevents": (cloudevents.FIELDS, cloudevents.FORMATS),
    "debezium": (debezium.FIELDS, debezium.FORMATS),
}
_JMESPATH_FIELDS: Final = ("jmespath", "prefix")
#: Formats of keys and values that have no fields.
_WITHOUT_FIELDS: Final = ("text", "int", "bytes")


class RouteError(ValueError):
    """A wrong route. `keys` lead to its place in the topic's definition, `route` first."""

    def __init__(self, message: str, *keys: str) -> None:
        super().__init__(message)
        self.keys = keys


def parse_route(definition: object, value_format: str, key_format: str) -> Route:
    """Return the route of a topic whose values and keys have these formats.

    Raises:
        RouteError: If no record could be routed by it, or not as it was meant.
    """
    place: tuple[str, ...] = ("route", "use")
    if isinstance(definition, str):
        definition, place = {"use": definition}, ("route",)
    if not isinstance(definition, dict):
        raise RouteError(
            'a route is a mapping of fields; write for instance {accounts: "{key}"}', "route"
        )
    for name in definition:
        if name not in FIELDS:
            question = nearest(str(name), FIELDS)
            raise RouteError(
                f"unknown field;{question} a route has {', '.join(FIELDS)}", "route", str(name)
            )
    use = _ready_route(definition, value_format, place)
    defaults = READY_ROUTES[use][0] if use else {}
    parser = _Parser("json" if use else value_format, key_format)
    fields: dict[str, Any] = {
        name: parser.parse(name, value)
        for name, value in {**defaults, **definition}.items()
        if name != "use"
    }
    has_audience = any(name in definition for name in (*AUDIENCE_FIELDS, "all"))
    route = Route(
        **fields,
        use=use,
        reads_extensions=use == "cloudevents" and not has_audience,
        translates_type=use == "debezium" and "type" not in definition,
    )
    is_for_nobody = route.all is False and not any(name in fields for name in AUDIENCE_FIELDS)
    if is_for_nobody and not route.reads_extensions:
        raise RouteError("names nobody; set accounts, rooms, connections, or all: true", "route")
    return route


def _ready_route(definition: dict[Any, Any], value_format: str, place: tuple[str, ...]) -> str:
    """Return the name of the ready route that a route is based on; empty without one."""
    if "use" not in definition:
        return ""
    use = definition["use"]
    if not isinstance(use, str) or use not in READY_ROUTES:
        question = nearest(str(use), READY_ROUTES)
        raise RouteError(
            f"there is no ready route {use!r};{question} there are {', '.join(READY_ROUTES)}",
            *place,
        )
    formats = READY_ROUTES[use][1]
    if value_format not in formats:
        raise RouteError(
            f"{use} is not read from {value_format}; set format: {' or '.join(formats)}",
            *place,
        )
    return use


class _Parser:
    """Parses the fields of one route."""

    def __init__(self, value_format: str, key_format: str) -> None:
        self._formats = {"value": value_format, "key": key_format}

    def parse(self, field: str, definition: object) -> Any:  # noqa: ANN401 - of Route
        """Return what `Route` has as `field`."""
        if field in AUDIENCE_FIELDS:
            return self._addresses(definition, field)
        if field in TEXT_FIELDS:
            return self._text(definition, field)
        if field in {"meta", "data"}:
            return self._json(definition, field)
        return self._all(definition) if field == "all" else self._when(definition)

    def _addresses(self, definition: object, field: str) -> tuple[Template, ...]:
        if not isinstance(definition, list):
            return (self._address(definition, "route", field),)
        if not definition:
            raise RouteError("is an empty list; remove it, or name somebody", "route", field)
        for index, item in enumerate(definition):
            if item in definition[:index]:
                raise RouteError("is listed twice; remove one", "route", field, str(index))
        return tuple(
            self._address(item, "route", field, str(index)) for index, item in enumerate(definition)
        )

    def _address(self, definition: object, *keys: str) -> Template:
        template = self._template(definition, *keys)
        try:
            check_address(template)
        except ValueError as error:
            raise RouteError(str(error), *keys) from None
        for text in _fixed_texts(template):
            if not is_valid_name(text):
                raise RouteError(
                    f"{text!r} can be in no name; names are 1 to {MAX_NAME_BYTES} bytes without"
                    " ',', '*' and control characters",
                    *keys,
                )
        return template

    def _text(self, definition: object, field: str) -> Template:
        template = self._template(definition, "route", field)
        if any(placeholder.may_give_many for placeholder in _own_placeholders(template)):
            raise RouteError("[] gives a list, and this is one text; write [0]", "route", field)
        if isinstance(template, TextTemplate) and field == "time" and not template.placeholders:
            try:
                rfc3339_to_utc("".join(map(str, template.parts)))
            except ValueError:
                raise RouteError(
                    "is no RFC 3339 date-time; write a template, or remove it for the record's"
                    " timestamp",
                    *("route", field),
                ) from None
        return template

    def _all(self, definition: object) -> bool | Template:
        if isinstance(definition, bool):
            return definition
        template = self._template(
            definition, "route", "all", remedy="write true, or a template that gives true or false"
        )
        is_constant = isinstance(template, TextTemplate) and not template.is_alone
        if is_constant or any(each.may_give_many for each in _own_placeholders(template)):
            raise RouteError(
                "must be true, false, or one placeholder that gives true or false", "route", "all"
            )
        return template

    def _when(self, definition: object) -> tuple[Condition, ...]:
        if not isinstance(definition, dict) or not definition:
            raise RouteError(
                "must be a mapping of places to values; write for instance {value.kind: order}",
                *("route", "when"),
            )
        return tuple(self._condition(place, wanted) for place, wanted in definition.items())

    def _condition(self, place: object, wanted: object) -> Condition:
        keys = ("route", "when", str(place))
        if "{" in str(place):
            raise RouteError("a place in when has no braces; write value.kind", *keys)
        try:
            placeholder = parse_placeholder(str(place))
        except ValueError as error:
            raise RouteError(str(error), *keys) from None
        self._check_place(placeholder, *keys)
        values = wanted if isinstance(wanted, list) else [wanted]
        if not values:
            raise RouteError("is an empty list, which nothing equals; list a value", *keys)
        for value in values:
            _check_json(value, *keys)
        return Condition(placeholder, frozenset(comparable(value) for value in values))

    def _json(self, definition: object, field: str) -> JsonTemplate:
        if not isinstance(definition, dict | str):
            raise RouteError("must be an object of templates, or one template", "route", field)
        return self._node(definition, "route", field)

    def _node(self, definition: object, *keys: str) -> JsonTemplate:
        if isinstance(definition, str) or (
            isinstance(definition, dict) and "jmespath" in definition
        ):
            return self._template(definition, *keys)
        if isinstance(definition, dict):
            return {name: self._node(child, *keys, name) for name, child in definition.items()}
        if isinstance(definition, list):
            return [self._node(child, *keys, str(i)) for i, child in enumerate(definition)]
        _check_json(definition, *keys)
        return definition

    def _template(self, definition: object, *keys: str, remedy: str = "") -> Template:
        if isinstance(definition, dict):
            template: Template = _parse_jmespath(definition, *keys)
        elif isinstance(definition, str):
            try:
                template = parse_template(definition)
            except ValueError as error:
                raise RouteError(str(error), *keys) from None
        else:
            kind = "is empty" if definition is None else f"is {_kind(definition)}"
            raise RouteError(f"{kind}; {remedy or 'write text, in quotes'}", *keys)
        for placeholder in template.placeholders:
            self._check_place(placeholder, *keys)
        return template

    def _check_place(self, placeholder: Placeholder, *keys: str) -> None:
        kind = placeholder.kind
        format_name = self._formats.get(kind, "")
        setting = "format" if kind == "value" else "key_format"
        if format_name == "bytes":
            raise RouteError(
                f"the {kind} is bytes and cannot be opened; set {setting}: json or text", *keys
            )
        if placeholder.path and format_name in _WITHOUT_FIELDS:
            raise RouteError(
                f"a path leads into the {kind}, which has no fields in {setting}: {format_name};"
                f" write {{{kind}}}, or set {setting}: json",
                *keys,
            )


def _parse_jmespath(definition: dict[Any, Any], *keys: str) -> JmespathTemplate:
    for name, value in definition.items():
        if name not in _JMESPATH_FIELDS:
            question = nearest(str(name), _JMESPATH_FIELDS)
            raise RouteError(
                f"unknown field;{question} a template is text, or has jmespath and prefix",
                *(*keys, str(name)),
            )
        if not isinstance(value, str):
            raise RouteError("must be text; put it in quotes", *keys, name)
    if "jmespath" not in definition:
        raise RouteError("has a prefix and no jmespath; write the text as a template", *keys)
    try:
        return compile_jmespath(definition["jmespath"], definition.get("prefix", ""))
    except ValueError as error:
        raise RouteError(str(error), *keys, "jmespath") from None


def _own_placeholders(template: Template) -> tuple[Placeholder, ...]:
    return template.placeholders if isinstance(template, TextTemplate) else ()


def _fixed_texts(template: Template) -> list[str]:
    if isinstance(template, JmespathTemplate):
        return [template.prefix] if template.prefix else []
    return [part for part in template.parts if isinstance(part, str)]


def _check_json(value: object, *keys: str) -> None:
    if isinstance(value, dict):
        for name, child in value.items():
            _check_json(child, *keys, name)
    elif isinstance(value, list):
        for index, child in enumerate(value):
            _check_json(child, *keys, str(index))
    elif isinstance(value, float) and not isfinite(value):
        raise RouteError("is no number of JSON; write a finite number", *keys)
    elif not isinstance(value, str | bool | int | float | None):
        raise RouteError(f"is {_kind(value)}, which JSON does not have; put it in quotes", *keys)


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    return "a date" if isinstance(value, date) else "a list" if isinstance(value, list) else "data"
