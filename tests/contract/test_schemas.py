"""The schemas say what the contract says: all of it, and each with a reason to be there."""

from __future__ import annotations

from typing import Final

import pytest
from jsonschema_rs import meta

from tests.contract.examples import EXAMPLES_FOLDER, VERDICTS, examples
from tests.contract.schema_checks import find_faults
from tests.contract.schema_mutants import schema_mutants
from tests.harness.frame_schemas import SCHEMAS, schema_validator

DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
#: What other keywords of the same schema imply: kept for people, and for those who generate code.
SAID_TWICE: Final = {
    ("control", "type"),
    ("frames/client/hello", "type"),
    ("frames/server/closing", "properties/reconnect/type"),
    ("frames/server/event", "type"),
    ("lifecycle", "type"),
    ("lifecycle", "$defs/place/properties/data/type"),
    ("state", "type"),
    ("values/traceparent", "type"),
}
EVERY_EXAMPLE: Final = [
    (name, verdict == "valid", example)
    for name in SCHEMAS
    for verdict in VERDICTS
    for example in examples(name, verdict)
    if example.name.rpartition(f"/{verdict}/")[0] == name
]


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_one(name: str) -> None:
    meta.validate(SCHEMAS[name])
    assert SCHEMAS[name]["$schema"] == DRAFT
    assert SCHEMAS[name]["title"]
    assert SCHEMAS[name]["description"]


@pytest.mark.parametrize("name", SCHEMAS)
def test_examples_are_as_their_folders_say(name: str) -> None:
    validator = schema_validator(name)
    assert [
        example.name
        for of, valid, example in EVERY_EXAMPLE
        if of == name and validator.is_valid(example.value) is not valid
    ] == []


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_has_no_fault(name: str) -> None:
    assert list(find_faults(name, SCHEMAS[name])) == []


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_that_lacks_anything_has_a_fault(name: str) -> None:
    unnoticed = [
        path for path, mutant in schema_mutants(SCHEMAS[name]) if not any(find_faults(name, mutant))
    ]
    assert set(unnoticed) == {path for of, path in SAID_TWICE if of == name}


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_has_mutants(name: str) -> None:
    # Else the test above would pass for having nothing to do.
    lacking = dict(schema_mutants(SCHEMAS[name]))
    assert lacking
    declared = SCHEMAS[name].get("properties", {})
    assert {f"properties/{field}" for field in declared} <= lacking.keys()


def test_every_example_belongs_to_a_schema() -> None:
    files = {
        path.relative_to(EXAMPLES_FOLDER).with_suffix("").as_posix()
        for path in EXAMPLES_FOLDER.rglob("*.json")
    }
    assert files == {example.name for *_, example in EVERY_EXAMPLE}


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_has_examples_of_both_kinds(name: str) -> None:
    assert examples(name, "valid")
    assert examples(name, "invalid")


def test_examples_are_text_that_people_can_read() -> None:
    for *_, example in EVERY_EXAMPLE:
        lines = example.text.decode().split("\n")
        assert lines[-1] == "", example.name
        assert max(map(len, lines)) <= 220, example.name
