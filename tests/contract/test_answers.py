"""What the schemas say of the answers over HTTP, the types that write them and OpenAPI say too."""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec
import pytest
from jsonschema_rs import Draft202012Validator

from bridge.web.api import schemas
from bridge.web.app import build_openapi_document
from tests.contract.examples import Example, examples, parametrize_examples
from tests.contract.schema_checks import HTTP_RESPONSES
from tests.harness.frame_schemas import SCHEMAS, schema_validator

COMPONENTS: Final = build_openapi_document([])["components"]


def in_openapi(kind: type[msgspec.Struct]) -> Draft202012Validator:
    """Return what OpenAPI says of an answer."""
    reference = f"#/components/schemas/{kind.__name__}"
    return Draft202012Validator({"$ref": reference, "components": COMPONENTS})


def kind_of(example: Example) -> type[msgspec.Struct]:
    return HTTP_RESPONSES[example.name.split("/")[1]]


def test_every_answer_has_a_schema() -> None:
    assert {f"http/{name}" for name in HTTP_RESPONSES} == {
        n for n in SCHEMAS if n.startswith("http/")
    }
    assert {type(example) for example in schemas.EXAMPLES} <= set(HTTP_RESPONSES.values())


@parametrize_examples("valid", "http")
def test_a_valid_answer_is_what_the_bridge_writes(example: Example) -> None:
    known = {
        name: value
        for name, value in example.value.items()
        if name in kind_of(example).__struct_fields__
    }
    read = msgspec.convert(known, kind_of(example))
    assert json.loads(msgspec.json.encode(read)) == known


@parametrize_examples("valid", "http")
def test_openapi_admits_a_valid_answer(example: Example) -> None:
    in_openapi(kind_of(example)).validate(example.value)


@pytest.mark.parametrize("answer", schemas.EXAMPLES, ids=lambda it: type(it).__name__)
def test_the_examples_of_openapi_are_valid_answers(answer: msgspec.Struct) -> None:
    (name,) = [name for name, kind in HTTP_RESPONSES.items() if kind is type(answer)]
    written: Any = msgspec.to_builtins(answer)
    schema_validator(f"http/{name}").validate(written)
    in_openapi(type(answer)).validate(written)
    assert COMPONENTS["schemas"][type(answer).__name__]["examples"] == [written]


@pytest.mark.parametrize("name", HTTP_RESPONSES)
def test_openapi_asks_for_every_field_and_has_a_word_for_it(name: str) -> None:
    schema = COMPONENTS["schemas"][HTTP_RESPONSES[name].__name__]
    assert set(schema["required"]) == set(HTTP_RESPONSES[name].__struct_fields__)
    assert schema["description"]
    for example in examples(f"http/{name}", "valid"):
        for field in schema["required"]:
            without = {key: value for key, value in example.value.items() if key != field}
            assert not in_openapi(HTTP_RESPONSES[name]).is_valid(without)
