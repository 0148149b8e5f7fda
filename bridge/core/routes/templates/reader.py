"""Reads from a record what a route needs, and no more.

Rule: a JSON value is decoded by a Struct that has only the needed fields. What does not fit it is
read again by `find`, step by step, with the same result: the Struct is faster, not stricter.
"""

from __future__ import annotations

import re
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

from bridge.core.protocol.event import InvalidRecord
from bridge.core.routes.formats import JsonFormat, TextFormat
from bridge.core.routes.path import ABSENT, find

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from bridge.core.protocol.record import Record
    from bridge.core.routes.formats import Format
    from bridge.core.routes.path import Path
    from bridge.core.routes.templates.template import Placeholder

    Headers = Mapping[str, bytes | None]
    #: Returns what a placeholder finds outside of the value.
    ReadPlace = Callable[[Record, int, Headers], Any]
    #: Returns what each placeholder finds: by record, partition, value and headers.
    Read = Callable[[Record, int, bytes | None, Headers], Sequence[Any]]
    ReadValue = Callable[[bytes], Sequence[Any]]

# Zero is left to `find`: `-0` would lose its sign. Fractions too: `1.50` would lose a digit.
_Scalar: Final = str | Annotated[int, msgspec.Meta(ge=1)] | bool | list[str] | None
_MAX_STRUCT_DEPTH: Final = 32
#: A Struct cannot have a field with one of these in its name.
_search_unusual: Final = re.compile(r'[\x00-\x1f"\\]').search


class Reader:
    """Reads the placeholders of one route. `slots` says where in `read`'s result each one is."""

    def __init__(
        self,
        topic: str,
        value_format: Format,
        key_format: Format,
        scalars: Iterable[Placeholder],
        wholes: Iterable[Placeholder],
    ) -> None:
        """Of `scalars` only text and numbers count; of `wholes` all of their JSON."""
        kinds = {**dict.fromkeys(scalars, False), **dict.fromkeys(wholes, True)}
        values = {place.path: whole for place, whole in kinds.items() if place.kind == "value"}
        others = [place for place in kinds if place.kind != "value"]
        in_values = [place for place in kinds if place.kind == "value"]
        self.slots = {place: slot for slot, place in enumerate((*in_values, *others))}
        self.opens_value = bool(values)
        self.opens_key = any(place.kind == "key" for place in others)
        read_value = _value_reader(value_format, values) if values else None
        read_others = [_place_reader(place, topic, key_format) for place in others]
        self.read = _joined(read_value, (ABSENT,) * len(values), read_others)
        """Return what each placeholder finds, or ABSENT; raise `InvalidRecord`."""


def _joined(
    read_value: ReadValue | None, absent: Sequence[Any], read_others: Sequence[ReadPlace]
) -> Read:
    """Return what reads the value and the other places. Nearly all routes need one of these."""
    if read_value is None:
        if len(read_others) == 1:
            read_other = read_others[0]
            return lambda record, partition, _, headers: (read_other(record, partition, headers),)
        return lambda record, partition, _, headers: [
            read(record, partition, headers) for read in read_others
        ]
    if not read_others:
        return lambda _record, _partition, value, _headers: (
            absent if value is None else read_value(value)
        )

    def read_both(
        record: Record, partition: int, value: bytes | None, headers: Headers
    ) -> Sequence[Any]:
        found = absent if value is None else read_value(value)
        return (*found, *[read(record, partition, headers) for read in read_others])

    return read_both


def read_place(
    place: Placeholder,
    topic: str,
    key_format: Format,
    record: Record,
    partition: int,
    headers: Headers,
) -> Any:  # noqa: ANN401
    """Return what `place` finds outside of the value, or ABSENT."""
    return _place_reader(place, topic, key_format)(record, partition, headers)


def _place_reader(place: Placeholder, topic: str, key_format: Format) -> ReadPlace:
    if place.kind == "key":
        return _key_reader(key_format, place.path)
    if place.kind == "header":
        return _header_reader(place.header)
    if place.kind == "headers":
        return lambda _record, _partition, headers: _text_headers(headers)
    plain: dict[str, ReadPlace] = {
        "topic": lambda _record, _partition, _headers: topic,
        "partition": lambda _record, partition, _headers: partition,
        "offset": lambda record, _partition, _headers: record.offset,
        "timestamp": lambda record, _partition, _headers: record.timestamp,
    }
    return plain[place.kind]


def _key_reader(key_format: Format, path: Path) -> ReadPlace:
    if isinstance(key_format, TextFormat):
        return _read_text_key
    open_key = key_format.open

    def read(record: Record, _partition: int, _headers: Headers) -> Any:  # noqa: ANN401
        if record.key is None:
            return ABSENT
        try:
            key = open_key(record.key)
            return find(key, path) if path else key
        except InvalidRecord as error:
            if error.reason == "no_schema":
                raise
            raise InvalidRecord("bad_key", str(error)) from None

    return read


def _read_text_key(record: Record, _partition: int, _headers: Headers) -> Any:  # noqa: ANN401
    try:
        return ABSENT if record.key is None else record.key.decode()
    except UnicodeDecodeError:
        raise InvalidRecord("bad_key", "the key is not UTF-8 text") from None


def _header_reader(name: str) -> ReadPlace:
    def read(_record: Record, _partition: int, headers: Headers) -> Any:  # noqa: ANN401
        raw = headers.get(name)
        if raw is None:
            return ABSENT
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise InvalidRecord("bad_header", "a header that the route uses is not UTF-8") from None

    return read


def _text_headers(headers: Headers) -> dict[str, str]:
    """Return the headers that are text."""
    texts: dict[str, str] = {}
    for name, raw in headers.items():
        try:
            if raw is not None:
                texts[name] = raw.decode()
        except UnicodeDecodeError:
            continue
    return texts


def _value_reader(value_format: Format, values: Mapping[Path, bool]) -> ReadValue:
    paths = tuple(values)

    def read_by_steps(raw: bytes) -> Sequence[Any]:
        value = value_format.open(raw)
        return [find(value, path) for path in paths]

    if not isinstance(value_format, JsonFormat):
        return read_by_steps
    tree = _tree(values)
    if tree is None:
        return read_by_steps
    decode = msgspec.json.Decoder(_struct(tree)).decode
    names = [_attribute(path, tree) for path in paths]
    rests = [path[depth:] for path, (_, depth) in zip(paths, names, strict=True)]
    get = attrgetter(*(attribute for attribute, _ in names))
    is_single, has_rests = len(paths) == 1, any(rests)

    def read(raw: bytes) -> Sequence[Any]:
        try:
            if not raw.isascii():
                raw.decode()
            found = get(decode(raw))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return read_by_steps(raw)
        if is_single:
            found = (found,)
        if has_rests:
            return [
                find(value, rest) if rest and value is not ABSENT else value
                for value, rest in zip(found, rests, strict=True)
            ]
        return found

    return read


def _tree(values: Mapping[Path, bool]) -> dict[str, Any] | None:
    """Return the names that lead to `values`, as nested objects; a leaf is its type.

    None if there is nothing to decode by name: the whole value, or an element of a list.
    """
    tree: dict[str, Any] = {}
    for path, whole in values.items():
        names = _leading_names(path)
        if not names:
            return None
        leaf: Any = _Scalar if len(names) == len(path) and not whole else msgspec.Raw
        node = tree
        for name in names[:-1]:
            child = node.setdefault(name, {})
            if not isinstance(child, dict):  # a leaf above: `find` goes on from there
                node[name] = msgspec.Raw
                break
            node = child
        else:
            is_taken = names[-1] in node and node[names[-1]] is not leaf
            node[names[-1]] = msgspec.Raw if is_taken else leaf
    return tree


def _leading_names(path: Path) -> list[str]:
    names: list[str] = []
    for step in path:
        is_name = isinstance(step, str) and not _search_unusual(step)
        if not is_name or len(names) == _MAX_STRUCT_DEPTH:
            break
        names.append(str(step))
    return names


def _struct(tree: Mapping[str, Any]) -> type[msgspec.Struct]:
    """Return a Struct with the fields of `tree`, called `f0`, `f1`, ..."""
    fields: list[tuple[str, Any, Any]] = []
    for index, child in enumerate(tree.values()):
        if isinstance(child, dict):
            nested = _struct(child)
            fields.append((f"f{index}", nested, nested()))
        else:
            fields.append((f"f{index}", child, ABSENT))
    return msgspec.defstruct(
        "Fields",
        fields,
        rename={f"f{index}": name for index, name in enumerate(tree)},
        frozen=True,
        gc=False,
    )


def _attribute(path: Path, tree: Mapping[str, Any]) -> tuple[str, int]:
    """Return the attribute of the Struct that is nearest to `path`, and how deep it is."""
    attributes: list[str] = []
    node: Any = tree
    for step in path:
        if not isinstance(node, dict):
            break
        attributes.append(f"f{list(node).index(step)}")
        node = node[step]
    return ".".join(attributes), len(attributes)
