"""What is wrong with a schema: everything that the examples, the code and the contract say of it.

Four witnesses, none of which asks the schema: the examples; the fields that the bridge itself reads
and writes; that an object is an object; and that a frame or an answer has no field beyond its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, get_args

import msgspec
from msgspec import UNSET

from bridge.core.coordination import commands, state_records
from bridge.core.protocol import envelope, frames
from bridge.web.api import schemas
from bridge.web.api.publish import Published
from bridge.web.endpoints.history import History
from bridge.web.http.problems import Problem
from tests.contract.examples import examples
from tests.core import frame_shape
from tests.harness.frames import compiled

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jsonschema_rs import Draft202012Validator

    from tests.harness.frames import Schema

NO_OBJECTS: Final[tuple[Any, ...]] = ([], "text", 7, True, None)


class Fields(NamedTuple):
    """The fields that there are, and those that are always there."""

    all: frozenset[str]
    required: frozenset[str]


def written(frame: type[msgspec.Struct]) -> Fields:
    """Return the fields of a frame that the bridge writes: all but those that are unset."""
    fields = msgspec.structs.fields(frame)
    return _with_op(
        (field.name for field in fields),
        (field.name for field in fields if field.default is not UNSET),
    )


def read(frame: type[msgspec.Struct]) -> Fields:
    """Return the fields of a frame that the bridge reads: what has no default must be there."""
    fields = msgspec.structs.fields(frame)
    return _with_op(
        (field.name for field in fields), (field.name for field in fields if field.required)
    )


def kept(fact: type[msgspec.Struct]) -> Fields:
    """Return the fields of a fact: all are always there, and what it `is` stands outside."""
    return Fields(frozenset({"is", *fact.__struct_fields__}), frozenset(fact.__struct_fields__))


def obeyed(order: type[msgspec.Struct]) -> Fields:
    """Return the fields of a command: what it has to `do` stands outside."""
    fields = msgspec.structs.fields(order)
    required = frozenset(field.name for field in fields if field.required)
    return Fields(frozenset({"do", *(field.name for field in fields)}), required)


def told(answer: type[msgspec.Struct]) -> Fields:
    """Return the fields of an answer over HTTP: all are always there."""
    return Fields(frozenset(answer.__struct_fields__), frozenset(answer.__struct_fields__))


def _with_op(names: Iterable[str], required: Iterable[str]) -> Fields:
    return Fields(frozenset({"op", *names}), frozenset({"op", *required}))


#: By their schemas, what the bridge answers over HTTP.
ANSWERS: Final[dict[str, type[msgspec.Struct]]] = {
    "command": schemas.Ordered,
    "connection": schemas.Connection,
    "connections": schemas.Connections,
    "account": schemas.Account,
    "room": schemas.Room,
    "room-counts": schemas.RoomCounts,
    "rooms": schemas.Rooms,
    "instance": schemas.Instance,
    "instances": schemas.Instances,
    "partition": schemas.Partition,
    "topic": schemas.Topic,
    "topics": schemas.Topics,
    "history": History,
    "published": Published,
    "problem": Problem,
}
_EVENT: Final = [*frame_shape.HEAD, *frame_shape.BODIES, *frame_shape.OPTIONAL]
#: By schema and the place in it (a definition's name): what the bridge's code has there.
IN_CODE: Final[dict[tuple[str, str], Fields]] = {
    ("envelope", ""): Fields(frozenset(envelope._Native.__struct_fields__), frozenset()),
    ("headers", ""): Fields(frozenset({*envelope._HEADERS, envelope.HEADER}), frozenset()),
    ("frames/server/welcome", ""): written(frames.Welcome),
    ("frames/server/event", ""): Fields(frozenset(_EVENT), frozenset(frame_shape.HEAD)),
    ("frames/server/gap", ""): written(frames.Gap),
    ("frames/server/live", ""): written(frames.Live),
    ("frames/server/heartbeat", ""): written(frames.Heartbeat),
    ("frames/server/rooms", ""): written(frames.Rooms),
    ("frames/server/reply", "done"): written(frames.Done),
    ("frames/server/reply", "refusal"): written(frames.Refusal),
    ("frames/server/closing", ""): written(frames.Closing),
    ("frames/client/hello", ""): read(frames.Hello),
    ("frames/client/subscribe", ""): read(frames.Subscribe),
    ("frames/client/unsubscribe", ""): read(frames.Unsubscribe),
    ("frames/client/heartbeat", ""): read(frames.Beat),
    ("frames/client/token", ""): read(frames.Token),
    ("control", "membership"): obeyed(commands.Join),
    ("control", "disconnect"): obeyed(commands.Disconnect),
    ("control", "revoke"): obeyed(commands.Revoke),
    ("control", "title"): obeyed(commands.Title),
    ("control", "drain"): obeyed(commands.Drain),
    **{("state", fact.__struct_config__.tag): kept(fact) for fact in get_args(state_records.Fact)},
    **{(f"http/{name}", ""): told(answer) for name, answer in ANSWERS.items()},
}


def faults(name: str, schema: Schema) -> Iterator[str]:
    """Yield a sentence for each way in which `schema` is not what `name` has to be."""
    yield from _against_the_code(name, schema)
    validator = compiled(name, schema)
    yield from _against_examples(name, validator)
    if not name.startswith("values/"):
        yield from (
            f"admits {value!r}, which is no object"
            for value in NO_OBJECTS
            if validator.is_valid(value)
        )
    if name.startswith(("frames/", "http/")) and name != "http/problem":
        yield from _against_forgery(name, validator)


def _against_the_code(name: str, schema: Schema) -> Iterator[str]:
    for place in [place for of, place in IN_CODE if of == name]:
        fields = IN_CODE[name, place]
        part: dict[str, Any] = schema.get("$defs", {}).get(place, {}) if place else schema
        if (has := frozenset(part.get("properties", ()))) != fields.all:
            yield f"declares {sorted(has)}, the bridge has {sorted(fields.all)}"
        if (has := frozenset(part.get("required", ()))) != fields.required:
            yield f"requires {sorted(has)}, the bridge {sorted(fields.required)}"


def _against_examples(name: str, validator: Draft202012Validator) -> Iterator[str]:
    for example in examples(name, "valid"):
        if not validator.is_valid(example.value):
            yield f"refuses {example.name}"
    for example in examples(name, "invalid"):
        if validator.is_valid(example.value):
            yield f"admits {example.name}"


def _against_forgery(name: str, validator: Draft202012Validator) -> Iterator[str]:
    for example in examples(name, "valid"):
        for change in ({"surplus": None}, {"op": "other"}):  # no answer has an `op` at all
            if validator.is_valid({**example.value, **change}):
                yield f"admits {example.name} with {change}"
