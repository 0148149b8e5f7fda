"""Renders templates: from what their placeholders found to names, text and JSON.

Rule: in a name, data beside text has `:` and `%` escaped, so it cannot name another's room. What
fits no field makes the record dead, `bad_route:FIELD`.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final

import msgspec

from bridge.core.protocol import timestamps
from bridge.core.protocol.event import InvalidRecord
from bridge.core.routes.path import ABSENT, NumberText, encode_json, open_json, to_python
from bridge.core.routes.templates.template import (
    HEADERS,
    KEY,
    VALUE,
    JmespathTemplate,
    TextTemplate,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bridge.core.routes.templates.route import JsonTemplate
    from bridge.core.routes.templates.template import Placeholder, Template

    Found = Sequence[Any]
    Slots = Mapping[Placeholder, int]
    #: What a template gives: any JSON, or ABSENT.
    Evaluate = Callable[[Found], Any]
    RenderNames = Callable[[Found], Sequence[str]]

_MAX_MS: Final = 253402300799999  # the end of the year 9999


class Unfit(Exception):
    """A value is of no use in its field."""


def bad_route(field: str, detail: str) -> InvalidRecord:
    """Return the error of a record whose data does not fit `field`. `detail` quotes no value."""
    return InvalidRecord(f"bad_route:{field}", f"the route's {field}: {detail}")


def escape(text: str) -> str:
    """Return `text` with `:` and `%` escaped."""
    if ":" in text or "%" in text:
        return text.replace("%", "%25").replace(":", "%3A")
    return text


def scalar_text(value: Any) -> str | None:  # noqa: ANN401 - any JSON
    """Return text, or a number as it stands; None if there is nothing; else raise Unfit."""
    if type(value) is str:
        return value or None
    if type(value) is int:
        return str(value)
    if value is ABSENT or value is None:
        return None
    if isinstance(value, msgspec.Raw):
        return scalar_text(open_json(value))
    if isinstance(value, NumberText):
        return value.text
    if isinstance(value, float):
        return encode_json(value).decode()
    raise Unfit


def _texts(value: Any) -> list[str] | str | None:  # noqa: ANN401
    """Return the text of a scalar, or the texts of a list, without those that are nothing."""
    if isinstance(value, msgspec.Raw):
        value = open_json(value)
    if not isinstance(value, list):
        return scalar_text(value)
    texts = [scalar_text(item) for item in value]
    return [text for text in texts if text is not None]


def comparable(value: Any) -> Any:  # noqa: ANN401
    """Return a hashable form: two are equal if their JSON is. 1 is 1.0, and neither is true."""
    try:
        return None if value is ABSENT else _comparable(value)
    except RecursionError:  # deeper than any value in the settings
        return ABSENT


def _comparable(value: Any) -> Any:  # noqa: ANN401
    value = open_json(value)
    if value is None or type(value) is str:
        return value
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, dict):
        return frozenset((name, _comparable(item)) for name, item in value.items())
    if isinstance(value, list):
        return ("list", *map(_comparable, value))
    return _number(value.text if isinstance(value, NumberText) else str(value))


def _number(text: str) -> Decimal | str:
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent beyond all bounds
        return f"number {text}"


def compile_evaluation(field: str, template: Template, slots: Slots) -> Evaluate:
    """Return what gives the JSON of a template: of one placeholder what it finds, else text."""
    if isinstance(template, JmespathTemplate):
        return _compile_jmespath(field, template, slots)
    if template.is_alone:
        slot = slots[template.placeholders[0]]
        return lambda found: found[slot]
    render = _compile_text_parts(template, slots, escape_text=lambda text: text)

    def evaluate(found: Found) -> Any:  # noqa: ANN401
        try:
            texts = render(found)
        except Unfit:
            raise bad_route(field, "a value beside text is neither text nor a number") from None
        if isinstance(texts, list):
            raise bad_route(field, "a value beside text is a list")
        return ABSENT if texts is None else texts

    return evaluate


def _compile_jmespath(field: str, template: JmespathTemplate, slots: Slots) -> Evaluate:
    names = {KEY: "key", HEADERS: "headers", VALUE: "value"}
    places = [(names[place], slots[place]) for place in template.placeholders]

    def evaluate(found: Found) -> Any:  # noqa: ANN401
        record = {
            name: None if found[slot] is ABSENT else to_python(found[slot]) for name, slot in places
        }
        return search_record(field, template, record)

    return evaluate


def search_record(field: str, template: JmespathTemplate, record: Mapping[str, Any]) -> Any:  # noqa: ANN401
    """Return what a JMESPath template gives of `{key, headers, value}`."""
    prefix = template.prefix
    try:
        result = template.search(record)
        return _prefixed(prefix, result) if prefix else msgspec.Raw(encode_json(result))
    except Unfit:
        raise bad_route(field, "behind a prefix only text and numbers can stand") from None
    except Exception as error:  # noqa: BLE001 - one record stops nothing
        raise bad_route(field, f"JMESPath failed: {type(error).__name__}") from None


def _prefixed(prefix: str, result: Any) -> Any:  # noqa: ANN401
    texts = _texts(result)
    if isinstance(texts, list):
        return [prefix + escape(text) for text in texts]
    return ABSENT if texts is None else prefix + escape(texts)


def _compile_text_parts(
    template: TextTemplate, slots: Slots, escape_text: Callable[[str], str]
) -> Callable[[Found], list[str] | str | None]:
    """Return what gives the text, or the texts where one placeholder finds a list.

    It gives None if a placeholder finds nothing. It raises Unfit.
    """
    parts = [part if isinstance(part, str) else slots[part] for part in template.parts]

    def render(found: Found) -> list[str] | str | None:
        texts = [""]
        is_list = is_absent = False
        for part in parts:
            if isinstance(part, str):
                texts = [text + part for text in texts]
                continue
            value = _texts(found[part])
            if value is None:
                is_absent = True
            elif isinstance(value, list):
                if is_list:
                    raise Unfit
                is_list = True
                texts = [text + escape_text(item) for text in texts for item in value]
            else:
                escaped = escape_text(value)
                texts = [text + escaped for text in texts]
        if is_absent:
            return None
        return texts if is_list else texts[0]

    return render


def compile_names(field: str, template: Template, slots: Slots) -> RenderNames:
    """Return what gives the names of an address template."""
    if isinstance(template, TextTemplate) and not template.placeholders:
        constant = ["".join(str(part) for part in template.parts)]
        return lambda _: constant
    if isinstance(template, TextTemplate) and not template.is_alone:
        render = _compile_text_parts(template, slots, escape)
    else:
        evaluate = compile_evaluation(field, template, slots)

        def render(found: Found) -> list[str] | str | None:
            return _texts(evaluate(found))

    def names(found: Found) -> Sequence[str]:
        try:
            texts = render(found)
        except Unfit:
            raise bad_route(
                field, "a value is neither text, a number nor one list of these"
            ) from None
        if texts is None:
            return ()
        return [texts] if isinstance(texts, str) else texts

    if isinstance(template, TextTemplate) and len(template.placeholders) == 1:
        return _with_fast_path(template, slots, names)
    return names


def _with_fast_path(template: TextTemplate, slots: Slots, names: RenderNames) -> RenderNames:
    """Return `names`, but faster where one placeholder finds text, as most do."""
    placeholder = template.placeholders[0]
    slot, place = slots[placeholder], template.parts.index(placeholder)
    before = "".join(str(part) for part in template.parts[:place])
    after = "".join(str(part) for part in template.parts[place + 1 :])

    def name_alone(found: Found) -> Sequence[str]:
        text = found[slot]
        if type(text) is str and text:
            return [text]
        return [str(text)] if type(text) is int else names(found)

    def name_beside_text(found: Found) -> Sequence[str]:
        text = found[slot]
        if type(text) is int:
            return [f"{before}{text}{after}"]
        if type(text) is not str or not text:
            return names(found)
        if ":" in text or "%" in text:
            text = escape(text)
        return [before + text + after]

    return name_alone if template.is_alone else name_beside_text


def compile_text(field: str, template: Template, slots: Slots) -> Callable[[Found], str | None]:
    """Return what gives the text of `type`, `id` or `tag`; None where there is nothing."""
    evaluate = compile_evaluation(field, template, slots)

    def text(found: Found) -> str | None:
        try:
            return scalar_text(evaluate(found))
        except Unfit:
            raise bad_route(field, "a value is neither text nor a number") from None

    return text


def compile_time(template: Template, slots: Slots) -> Callable[[Found], str | None]:
    """Return what gives `time` as RFC 3339, of RFC 3339 or a whole number of milliseconds."""
    text_of = compile_text("time", template, slots)

    def time(found: Found) -> str | None:
        text = text_of(found)
        return None if text is None else time_of(text)

    return time


def time_of(text: str) -> str:
    """Return RFC 3339 in UTC, of RFC 3339 or a whole number of milliseconds since 1970."""
    if text.isascii() and text.isdigit() and len(text) <= len(str(_MAX_MS)):
        milliseconds = int(text)
        if milliseconds <= _MAX_MS:
            return timestamps.ms_to_rfc3339(milliseconds)
    try:
        return timestamps.rfc3339_to_utc(text)
    except ValueError:
        raise bad_route(
            "time", "neither an RFC 3339 date-time nor a whole number of milliseconds"
        ) from None


def compile_all(template: Template, slots: Slots) -> Callable[[Found], bool]:
    """Return what gives `all` where a template does."""
    evaluate = compile_evaluation("all", template, slots)

    def is_for_all(found: Found) -> bool:
        given = open_json(evaluate(found))
        if given is True or given == "true":
            return True
        if given is ABSENT or given is None or given in ("", "false") or given is False:
            return False
        raise bad_route("all", "a value is neither true nor false")

    return is_for_all


def compile_json(field: str, node: JsonTemplate, slots: Slots) -> Callable[[Found], bytes | None]:
    """Return what gives the JSON text of `data` or `meta`; None where there is nothing."""
    build = _compile_json_node(field, node, slots)

    def json(found: Found) -> bytes | None:
        value = build(found)
        return None if value is ABSENT else encode_json(value)

    return json


def _compile_json_node(field: str, node: JsonTemplate, slots: Slots) -> Evaluate:
    if isinstance(node, TextTemplate | JmespathTemplate):
        if isinstance(node, TextTemplate) and not node.placeholders:
            text = "".join(str(part) for part in node.parts)
            return lambda _: text
        evaluate = compile_evaluation(field, node, slots)

        def something(found: Found) -> Any:  # noqa: ANN401
            value = evaluate(found)
            return ABSENT if is_nothing(value) else value

        return something
    if isinstance(node, dict):
        members = [(name, _compile_json_node(field, child, slots)) for name, child in node.items()]

        def build_object(found: Found) -> Any:  # noqa: ANN401
            built = ((name, build(found)) for name, build in members)
            return {name: value for name, value in built if value is not ABSENT}

        return build_object
    if isinstance(node, list):
        items = [_compile_json_node(field, child, slots) for child in node]

        def build_list(found: Found) -> Any:  # noqa: ANN401
            built = (build(found) for build in items)
            return [value for value in built if value is not ABSENT]

        return build_list
    return lambda _: node


def is_nothing(value: Any) -> bool:  # noqa: ANN401
    """True if a placeholder found nothing, null or empty text."""
    if isinstance(value, msgspec.Raw):
        return bytes(value) in {b"null", b'""'}
    return value is ABSENT or value is None or value == ""
