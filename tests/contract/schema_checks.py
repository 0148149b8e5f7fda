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
from tests.harness.frame_schemas import schema_validator

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jsonschema_rs import Draft202012Validator

    from tests.harness.frame_schemas import Schema

NON_OBJECTS: Final[tuple[Any, ...]] = ([], "text", 7, True, None)


class SchemaFields(NamedTuple):
    """The fields that there are, and those that are always there."""

    all: frozenset[str]
    required: frozenset[str]


def sent_fields(frame: type[msgspec.Struct]) -> SchemaFields:
    """Return the fields of a frame that the bridge writes: all but those that are unset."""
    fields = msgspec.structs.fields(frame)
    return _with_op(
        (field.name for field in fields),
        (field.name for field in fields if field.default is not UNSET),
    )


def received_fields(frame: type[msgspec.Struct]) -> SchemaFields:
    """Return the fields of a frame that the bridge reads: what has no default must be there."""
    fields = msgspec.structs.fields(frame)
    return _with_op(
        (field.name for field in fields), (field.name for field in fields if field.required)
    )


def state_record_fields(record: type[msgspec.Struct]) -> SchemaFields:
    """Return the fields of a fact: all are always there, and what it `is` stands outside."""
    return SchemaFields(
        frozenset({"is", *record.__struct_fields__}), frozenset(record.__struct_fields__)
    )


def command_fields(command: type[msgspec.Struct]) -> SchemaFields:
    """Return the fields of a command: what it has to `do` stands outside."""
    fields = msgspec.structs.fields(command)
    required = frozenset(field.name for field in fields if field.required)
    return SchemaFields(frozenset({"do", *(field.name for field in fields)}), required)


def response_fields(response: type[msgspec.Struct]) -> SchemaFields:
    """Return the fields of an answer over HTTP: all are always there."""
    return SchemaFields(
        frozenset(response.__struct_fields__), frozenset(response.__struct_fields__)
    )


def _with_op(names: Iterable[str], required: Iterable[str]) -> SchemaFields:
    return SchemaFields(frozenset({"op", *names}), frozenset({"op", *required}))


#: By their schemas, what the bridge answers over HTTP.
HTTP_RESPONSES: Final[dict[str, type[msgspec.Struct]]] = {
    "command": schemas.Ordered,
    "connection": schemas.Connection,
    "connections": schemas.Connections,
    "account": schemas.Account,
    "room": schemas.Room,
    "room-counts": schemas.RoomCounts,
    "rooms": schemas.Rooms,
    "instance": schemas.Instance,
    "instances": schemas.Instances,
    "reloaded": schemas.Reloaded,
    "partition": schemas.Partition,
    "topic": schemas.Topic,
    "topics": schemas.Topics,
    "history": History,
    "published": Published,
    "problem": Problem,
}
_EVENT: Final = [
    *frame_shape.REQUIRED_FIELDS,
    *frame_shape.BODY_FIELDS,
    *frame_shape.OPTIONAL_FIELDS,
]
#: By schema and the place in it (a definition's name): what the bridge's code has there.
FIELDS_IN_CODE: Final[dict[tuple[str, str], SchemaFields]] = {
    ("envelope", ""): SchemaFields(
        frozenset(envelope._NativeEnvelope.__struct_fields__), frozenset()
    ),
    ("headers", ""): SchemaFields(
        frozenset({*envelope._HEADER_SETTERS, envelope.TRACEPARENT_HEADER}), frozenset()
    ),
    ("frames/server/welcome", ""): sent_fields(frames.Welcome),
    ("frames/server/event", ""): SchemaFields(
        frozenset(_EVENT), frozenset(frame_shape.REQUIRED_FIELDS)
    ),
    ("frames/server/gap", ""): sent_fields(frames.Gap),
    ("frames/server/live", ""): sent_fields(frames.Live),
    ("frames/server/heartbeat", ""): sent_fields(frames.Heartbeat),
    ("frames/server/rooms", ""): sent_fields(frames.RoomsChanged),
    ("frames/server/reply", "done"): sent_fields(frames.OkReply),
    ("frames/server/reply", "refusal"): sent_fields(frames.ErrorReply),
    ("frames/server/closing", ""): sent_fields(frames.Closing),
    ("frames/client/hello", ""): received_fields(frames.Hello),
    ("frames/client/subscribe", ""): received_fields(frames.Subscribe),
    ("frames/client/unsubscribe", ""): received_fields(frames.Unsubscribe),
    ("frames/client/heartbeat", ""): received_fields(frames.HeartbeatRequest),
    ("frames/client/token", ""): received_fields(frames.TokenUpdate),
    ("control", "membership"): command_fields(commands.Join),
    ("control", "disconnect"): command_fields(commands.Disconnect),
    ("control", "revoke"): command_fields(commands.Revoke),
    ("control", "title"): command_fields(commands.SetRoomTitle),
    ("control", "drain"): command_fields(commands.Drain),
    **{
        ("state", fact.__struct_config__.tag): state_record_fields(fact)
        for fact in get_args(state_records.StateRecord)
    },
    **{(f"http/{name}", ""): response_fields(answer) for name, answer in HTTP_RESPONSES.items()},
}


def find_faults(name: str, schema: Schema) -> Iterator[str]:
    """Yield a sentence for each way in which `schema` is not what `name` has to be."""
    yield from _check_against_code(name, schema)
    validator = schema_validator(name, schema)
    yield from _check_against_examples(name, validator)
    if not name.startswith("values/"):
        yield from (
            f"admits {value!r}, which is no object"
            for value in NON_OBJECTS
            if validator.is_valid(value)
        )
    if name.startswith(("frames/", "http/")) and name != "http/problem":
        yield from _check_extra_fields(name, validator)


def _check_against_code(name: str, schema: Schema) -> Iterator[str]:
    for place in [place for of, place in FIELDS_IN_CODE if of == name]:
        fields = FIELDS_IN_CODE[name, place]
        part: dict[str, Any] = schema.get("$defs", {}).get(place, {}) if place else schema
        if (has := frozenset(part.get("properties", ()))) != fields.all:
            yield f"declares {sorted(has)}, the bridge has {sorted(fields.all)}"
        if (has := frozenset(part.get("required", ()))) != fields.required:
            yield f"requires {sorted(has)}, the bridge {sorted(fields.required)}"


def _check_against_examples(name: str, validator: Draft202012Validator) -> Iterator[str]:
    for example in examples(name, "valid"):
        if not validator.is_valid(example.value):
            yield f"refuses {example.name}"
    for example in examples(name, "invalid"):
        if validator.is_valid(example.value):
            yield f"admits {example.name}"


def _check_extra_fields(name: str, validator: Draft202012Validator) -> Iterator[str]:
    for example in examples(name, "valid"):
        for change in ({"surplus": None}, {"op": "other"}):  # no answer has an `op` at all
            if validator.is_valid({**example.value, **change}):
                yield f"admits {example.name} with {change}"
