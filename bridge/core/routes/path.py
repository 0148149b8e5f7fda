"""Paths into JSON: `customer.id`, `items[].sku`, `lines[2]`, `"a.b".c`.

Rule: a value is JSON as Python objects, and any part of it may be `Raw`: checked JSON text. Such a
part is opened only as far as a path leads, so numbers keep their digits.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, TypeAlias

import msgspec

from bridge.core.protocol.event import InvalidRecord, describe_decode_error


class _Marker:
    """A value that no JSON has."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


#: What a path finds where there is nothing.
ABSENT: Final = _Marker("ABSENT")
#: The step `[]`: all elements of a list.
ALL: Final = _Marker("ALL")

#: A field's name, an element's number, or `ALL`.
Step: TypeAlias = str | int | _Marker
Path: TypeAlias = tuple[Step, ...]

_match_step: Final = re.compile(
    r"""(?P<name>[^\s.\[\]{}"]+) | (?P<quoted>"(?:[^"\\]|\\.)*") | \[(?P<index>[0-9]{0,9})\]""",
    re.VERBOSE | re.DOTALL,
).match
_match_number: Final = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?").fullmatch
_decode_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_list: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_any: Final = msgspec.json.decode
_OBJECT: Final = ord("{")
_LIST: Final = ord("[")
_QUOTE: Final = ord('"')
_CONSTANTS: Final[dict[bytes, Any]] = {b"true": True, b"false": False, b"null": None}


class NumberText:
    """A number with its digits as a producer wrote them."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return f"NumberText({self.text!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NumberText) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)


def parse_path(text: str) -> Path:
    """Parse a path: names with dots between them, `[2]`, `[]`, names in double quotes.

    Raises:
        ValueError: If `text` is no path.
    """
    steps: list[Step] = []
    position = 0
    while True:
        match = _match_step(text, position)
        if match is None:
            raise ValueError(_problem(text, position))
        steps.append(_step(match))
        position = match.end()
        if position == len(text):
            return tuple(steps)
        if text[position] == ".":
            position += 1
        elif text[position] != "[":
            raise ValueError(_problem(text, position))


def _step(match: re.Match[str]) -> Step:
    if match["name"] is not None:
        return match["name"]
    if match["quoted"] is not None:
        try:
            return str(json.loads(match["quoted"], strict=False))
        except ValueError:
            raise ValueError(f"{match['quoted']} is no JSON string") from None
    return int(match["index"]) if match["index"] else ALL


def _problem(text: str, position: int) -> str:
    rest = text[position:]
    if rest.startswith("[-"):
        return f"{text!r} counts from the end; write a number from 0, or use jmespath"
    if not rest or rest.startswith("."):
        return f"{text!r} has a dot without a name behind it; write the name, or remove the dot"
    if rest.startswith('"'):
        return f"{text!r} has a quoted name that does not end, or no dot before it"
    if rest.startswith("["):
        return f"{text!r} has brackets with something else than a number; write [2], or [] for all"
    return f"{text!r} has {rest[0]!r} in a name; put the name in double quotes"


def find(value: Any, path: Path) -> Any:  # noqa: ANN401 - any JSON
    """Return what `path` leads to in `value`, else ABSENT. A path with `[]` finds a list."""
    for index, step in enumerate(path):
        if step is ALL:
            return _find_all(value, path[index + 1 :])
        value = _child(value, step)
        if value is ABSENT:
            return ABSENT
    return value


def _find_all(value: Any, path: Path) -> Any:  # noqa: ANN401
    elements = open_json(value)
    if not isinstance(elements, list):
        return ABSENT
    found: list[Any] = []
    for element in elements:
        child = find(element, path)
        if child is ABSENT:
            continue
        if ALL in path:
            found += child
        else:
            found.append(child)
    return found


def _child(value: Any, step: Step) -> Any:  # noqa: ANN401
    value = open_json(value)
    if isinstance(value, dict):
        return value.get(step, ABSENT) if isinstance(step, str) else ABSENT
    if isinstance(value, list) and isinstance(step, int) and step < len(value):
        return value[step]
    return ABSENT


def open_json(value: Any) -> Any:  # noqa: ANN401
    """Decode one level of `value` if it is `Raw`; a number becomes `NumberText`.

    Raises:
        InvalidRecord: If a text in it cannot be decoded: half of a surrogate pair.
    """
    if not isinstance(value, msgspec.Raw):
        return value
    raw = bytes(value)
    first = raw[0]
    try:
        if first == _QUOTE:
            # Without escapes there is nothing to decode but UTF-8.
            return _decode_any(raw) if b"\\" in raw else raw[1:-1].decode()
        if first == _OBJECT:
            return _decode_object(raw)
        if first == _LIST:
            return _decode_list(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRecord("bad_json", describe_decode_error(error)) from None
    return _CONSTANTS[raw] if raw in _CONSTANTS else NumberText(raw.decode())


def to_python(value: Any) -> Any:  # noqa: ANN401
    """Decode all of `value`: to what Python's `json` would make of it, without any `Raw`."""
    if isinstance(value, msgspec.Raw):
        try:
            return json.loads(bytes(value))
        except (ValueError, RecursionError) as error:
            raise InvalidRecord("bad_json", type(error).__name__) from None
    if isinstance(value, dict):
        return {name: to_python(item) for name, item in value.items()}
    if isinstance(value, list):
        return [to_python(item) for item in value]
    return json.loads(value.text) if isinstance(value, NumberText) else value


def encode_json(value: Any) -> bytes:  # noqa: ANN401
    """Return `value` as JSON text; `Raw` and `NumberText` keep theirs."""
    return _encode(value)


def _encode_number(value: object) -> msgspec.Raw:
    if not isinstance(value, NumberText) or not _match_number(value.text):
        raise TypeError(f"not JSON: {type(value).__name__}")
    return msgspec.Raw(value.text.encode())


_encode: Final = msgspec.json.Encoder(enc_hook=_encode_number).encode
