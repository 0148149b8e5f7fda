"""The AsyncAPI document is valid, complete, and says what the schemas and the code say."""

from __future__ import annotations

import copy
from typing import Any, Final

import pytest

from bridge.config.settings import KafkaSettings
from bridge.core.protocol import frames
from bridge.web.connections import sse, websocket
from bridge.web.transport.ws_handshake import SUBPROTOCOL
from tests.contract.asyncapi_document import (
    DOCUMENT,
    asyncapi_validator,
    inlined_document,
    read_schema_file,
    referenced_files,
    references,
    resolve,
)
from tests.contract.examples import examples
from tests.harness.frame_schemas import SCHEMAS, schema_validator

MESSAGES: Final[dict[str, Any]] = read_schema_file("messages.yaml")
#: What goes over HTTP is in the OpenAPI document.
HTTP: Final = {name for name in SCHEMAS if name.startswith("http/")} | {"values/name-set"}
#: Choices of schemas: the document names what is to be chosen from.
CHOICES: Final = {"frames/server", "frames/client"}
FRAMES: Final = {name for name in SCHEMAS if name.startswith("frames/")} - CHOICES
SIDES: Final = {
    "send": {name for name in FRAMES if name.startswith("frames/server/")},
    "receive": {name for name in FRAMES if name.startswith("frames/client/")},
}


def schema_of(message: dict[str, Any]) -> tuple[str, str] | None:
    """Return which part of a message has a schema of ours, and that schema's name."""
    for part in ("headers", "payload"):
        if "schema" in message.get(part, {}):
            reference: str = message[part]["schema"]["$ref"]
            return part, reference.removesuffix(".schema.json")
    return None


def schemas(messages: list[dict[str, str]] | dict[str, dict[str, str]]) -> set[str]:
    """Return the schemas of messages, given references to a channel's, or a channel's own."""
    references = messages.values() if isinstance(messages, dict) else messages
    names = [schema_of(MESSAGES[each["$ref"].rpartition("/")[2]]) for each in references]
    return {name for _, name in filter(None, names)}


# -- the document ----------------------------------------------------------------------------------


@pytest.mark.node
def test_the_document_is_asyncapi_3() -> None:
    asyncapi_validator().validate(inlined_document())


BREAKS: Final[dict[str, Any]] = {
    "another-version": lambda it: it.update(asyncapi="2.6.0"),
    "no-title": lambda it: it["info"].pop("title"),
    "an-unknown-field": lambda it: it.update(topics={}),
    "no-action": lambda it: it["operations"]["push"].pop("action"),
    "a-message-with-a-wrong-field": lambda it: it["channels"]["control"]["messages"][
        "command"
    ].update(body={}),
    "an-example-without-content": lambda it: it["channels"]["events"]["messages"]["native"][
        "examples"
    ].append({"name": "nothing"}),
    "a-binding-of-no-version": lambda it: it["channels"]["state"]["bindings"]["kafka"].update(
        bindingVersion="0"
    ),
}


@pytest.mark.node
@pytest.mark.parametrize("broken", BREAKS)
def test_a_broken_document_is_not(broken: str) -> None:
    document = copy.deepcopy(inlined_document())
    BREAKS[broken](document)
    assert not asyncapi_validator().is_valid(document)


@pytest.mark.parametrize(
    "file", sorted(file for file in referenced_files() if any(references(file)))
)
def test_every_reference_leads_somewhere(file: str) -> None:
    for target, pointer in references(file):
        resolve(target, pointer)


def test_every_schema_is_reached() -> None:
    files = {f"{name}.schema.json" for name in SCHEMAS.keys() - CHOICES - HTTP}
    assert referenced_files() == {DOCUMENT, "messages.yaml"} | files


# -- messages --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MESSAGES)
def test_every_example_of_a_message_is_an_example_of_its_schema(name: str) -> None:
    found = schema_of(MESSAGES[name])
    assert found is not None
    part, schema = found
    files = {each.name.rpartition("/")[2]: each.value for each in examples(schema, "valid")}
    assert MESSAGES[name]["examples"]
    for example in MESSAGES[name]["examples"]:
        assert example[part] == files[example["name"]]
        schema_validator(schema).validate(example[part])


@pytest.mark.parametrize("name", MESSAGES)
def test_every_message_goes_through_a_channel(name: str) -> None:
    channels = read_schema_file(DOCUMENT)["channels"].values()
    assert any({"$ref": f"messages.yaml#/{name}"} in it["messages"].values() for it in channels)


def test_every_message_of_a_frame_has_the_name_that_the_frame_has() -> None:
    for message in MESSAGES.values():
        _, schema = schema_of(message) or ("", "")
        if schema in FRAMES:
            assert message["name"] == schema.rpartition("/")[2]


def test_the_socket_carries_every_frame_and_the_stream_what_was_not_asked_for() -> None:
    channels = read_schema_file(DOCUMENT)["channels"]
    assert schemas(channels["socket"]["messages"]) == FRAMES
    assert schemas(channels["stream"]["messages"]) == SIDES["send"] - {"frames/server/reply"}


@pytest.mark.parametrize("action", SIDES)
def test_every_frame_goes_its_own_way(action: str) -> None:
    found = set[str]()
    for operation in read_schema_file(DOCUMENT)["operations"].values():
        if operation["channel"]["$ref"] != "#/channels/socket":
            continue
        if operation["action"] == action:
            found |= schemas(operation["messages"])
        if action == "send":
            found |= schemas(operation.get("reply", {}).get("messages", []))
    assert found == SIDES[action]


# -- what the code has -----------------------------------------------------------------------------


def test_the_parameters_are_those_of_a_hello() -> None:
    hello = set(frames.Hello.__struct_fields__)
    document = read_schema_file(DOCUMENT)
    socket = document["channels"]["socket"]["bindings"]["ws"]["query"]
    stream = document["operations"]["stream"]["bindings"]["http"]["query"]
    assert set(socket["properties"]) == {*hello, "hello"}
    assert set(stream["properties"]) == hello


def test_addresses_and_names_are_those_of_the_code() -> None:
    document = read_schema_file(DOCUMENT)
    socket = document["channels"]["socket"]
    assert socket["address"] == websocket.PATH
    assert document["channels"]["stream"]["address"] == sse.PATH
    protocol = socket["bindings"]["ws"]["headers"]["properties"]["Sec-WebSocket-Protocol"]
    assert protocol == {"const": SUBPROTOCOL}
    assert document["components"]["parameters"]["prefix"]["default"] == KafkaSettings().prefix
    own = {it["address"] for it in document["channels"].values() if "prefix" in it["address"]}
    topics = ("control", "lifecycle", "state", "dead-letters")
    assert own == {f"{{prefix}}.{topic}" for topic in topics}
