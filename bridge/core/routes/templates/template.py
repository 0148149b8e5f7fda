"""Templates: `order:{key}`, `{value.customer.id}`, or a JMESPath expression.

Rule: a template is parsed once, with all that can be known to be wrong without a record. What a
record's values become is decided in `render.py`.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, NamedTuple, TypeAlias, cast

import jmespath
from jmespath import exceptions, functions

from bridge.core.routes.path import ALL, Path, parse_path

#: Placeholders without a path.
PLAIN: Final = ("topic", "partition", "offset", "timestamp")
#: All placeholders, as an error lists them.
KNOWN: Final = ("key", "key.PATH", "header.NAME", "value", "value.PATH", *PLAIN)
_HEADER: Final = "header."
_is_simple: Final = re.compile(r"[^\s.\[\]{}\"]+").fullmatch


class Placeholder(NamedTuple):
    """A place in a record. `kind` is `key`, `value`, `header`, `headers` (all), or of `PLAIN`."""

    kind: str
    path: Path = ()
    header: str = ""

    @property
    def text(self) -> str:
        """As it stands between braces."""
        if self.kind == "header":
            return _HEADER + self.header
        text = self.kind
        for step in self.path:
            if isinstance(step, str):
                text += f".{step}" if _is_simple(step) else f".{json.dumps(step)}"
            else:
                text += "[]" if step is ALL else f"[{step}]"
        return text

    @property
    def may_give_many(self) -> bool:
        """Whether its path has `[]`."""
        return ALL in self.path


KEY: Final = Placeholder("key")
VALUE: Final = Placeholder("value")
HEADERS: Final = Placeholder("headers")


class TextTemplate(NamedTuple):
    """Text with placeholders. `source` is what the settings have."""

    source: str
    parts: tuple[str | Placeholder, ...]

    @property
    def placeholders(self) -> tuple[Placeholder, ...]:
        """The places in a record that it needs."""
        return tuple(part for part in self.parts if isinstance(part, Placeholder))

    @property
    def is_alone(self) -> bool:
        """Whether it is one placeholder and nothing else."""
        return len(self.parts) == 1 and isinstance(self.parts[0], Placeholder)


class JmespathTemplate(NamedTuple):
    """A JMESPath expression over `{key, headers, value}`, and the text before its result."""

    source: str
    prefix: str
    search: Any

    @property
    def placeholders(self) -> tuple[Placeholder, ...]:
        """What of the record the expression may use."""
        named = (("key", KEY), ("headers", HEADERS), ("value", VALUE))
        is_opaque = "@" in self.source or "\\" in self.source
        return tuple(place for name, place in named if is_opaque or name in self.source)


Template: TypeAlias = TextTemplate | JmespathTemplate


def parse_template(text: str) -> TextTemplate:
    """Parse text with placeholders; `{{` and `}}` are braces.

    Raises:
        ValueError: If a brace has no other, or a placeholder is none. The message is a remedy too.
    """
    parts: list[str | Placeholder] = []
    literal = ""
    position = 0
    while position < len(text):
        character = text[position]
        if character not in "{}":
            literal += character
            position += 1
        elif text.startswith(character, position + 1):
            literal += character
            position += 2
        elif character == "}":
            raise ValueError(f"{text!r} has a }} without a {{; write }}}} for a brace")
        else:
            end = _end_of_placeholder(text, position + 1)
            if literal:
                parts.append(literal)
                literal = ""
            parts.append(parse_placeholder(text[position + 1 : end]))
            position = end + 1
    if literal:
        parts.append(literal)
    return TextTemplate(text, tuple(parts))


def _end_of_placeholder(text: str, start: int) -> int:
    """Return where the brace is that closes; one in a quoted name does not, but in a header's."""
    is_quoted = False
    position = start
    while position < len(text):
        character = text[position]
        if character == "}" and not is_quoted:
            return position
        if text.startswith(_HEADER, start):
            pass
        elif character == '"':
            is_quoted = not is_quoted
        elif character == "\\" and is_quoted:
            position += 1
        position += 1
    what = "a double quote without another" if is_quoted else "a { without a }"
    raise ValueError(f"{text!r} has {what}; write {{{{ for a brace")


def parse_placeholder(text: str) -> Placeholder:
    """Parse what is between the braces.

    Raises:
        ValueError: If there is no such placeholder, or its path is none.
    """
    if text.startswith(_HEADER):
        if text == _HEADER:
            raise ValueError("{header.} names no header; write its name behind the dot")
        return Placeholder("header", header=text.removeprefix(_HEADER))
    if text in PLAIN or text in {"key", "value"}:
        return Placeholder(text)
    kind, dot, path = text.partition(".")
    bracket = text.find("[")
    if kind in {"key", "value"} and dot:
        return Placeholder(kind, parse_path(path))
    if bracket > 0 and text[:bracket] in {"key", "value"}:
        # `value[0].id` is the element of a list at the top: a path without a name before it.
        return Placeholder(text[:bracket], parse_path(f"x{text[bracket:]}")[1:])
    if kind in PLAIN:
        raise ValueError(f"{{{text}}} has a path, and {kind} has no fields; write {{{kind}}}")
    raise ValueError(f"there is no placeholder {{{text}}}; write one of {', '.join(KNOWN)}")


def compile_jmespath(expression: str, prefix: str = "") -> JmespathTemplate:
    """Compile a JMESPath expression.

    Raises:
        ValueError: If its syntax is wrong, or it calls a function that does not exist so.
    """
    try:
        compiled = jmespath.compile(expression)
    except exceptions.JMESPathError as error:
        what = str(error).split("\n")[0].removeprefix("Invalid jmespath expression: ")
        raise ValueError(
            f"{expression!r} is no JMESPath: {what.rstrip(' :')}; jmespath.org has the syntax"
        ) from None
    _check_functions(expression, cast("dict[str, Any]", compiled.parsed))
    return JmespathTemplate(expression, prefix, compiled.search)


def _check_functions(expression: str, node: dict[str, Any]) -> None:
    if node["type"] == "function_expression":
        signature = functions.Functions.FUNCTION_TABLE.get(node["value"])
        if signature is None:
            raise ValueError(
                f"{expression!r} calls {node['value']}(), no function; jmespath.org lists all"
            )
        expected, given = signature["signature"], len(node["children"])
        is_variadic = bool(expected) and expected[-1].get("variadic", False)
        if given < len(expected) or (given > len(expected) and not is_variadic):
            call = f"{node['value']}() with {given} arguments"
            raise ValueError(f"{expression!r} calls {call}; it takes {len(expected)}")
    for child in node["children"]:
        if isinstance(child, dict):
            _check_functions(expression, child)


def check_address(template: Template) -> None:
    """Raise ValueError if data in `template` could name another's room, or nothing ever."""
    if isinstance(template, JmespathTemplate):
        return
    if not template.parts:
        raise ValueError("is empty text, which names nobody; write a name or a template")
    between: str | None = None
    for part in template.parts:
        if isinstance(part, str):
            between = None if between is None else between + part
            continue
        if between is not None and ":" not in between:
            raise ValueError(
                f"{template.source!r} has two placeholders without ':' between them; write one, so"
                " that their values cannot run into each other"
            )
        between = ""
    if sum(placeholder.may_give_many for placeholder in template.placeholders) > 1:
        raise ValueError(f"{template.source!r} has two placeholders with []; only one may have it")
