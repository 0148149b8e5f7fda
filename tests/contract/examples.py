"""The examples in `schemas/examples/`: what the contract admits and what it does not, by schema."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import pytest

from tests.harness.frame_schemas import SCHEMA_FOLDER

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLES_FOLDER: Final = SCHEMA_FOLDER / "examples"
Verdict = Literal["valid", "invalid"]
VERDICTS: Final[tuple[Verdict, ...]] = ("valid", "invalid")


class Example(NamedTuple):
    """One file: `text` as it is written, `value` as it is read."""

    name: str
    text: bytes
    value: Any


def examples(schema: str, verdict: Verdict) -> list[Example]:
    """Return those of `schema`; a choice of schemas, as `frames/server`, has those of each."""
    return [_read(path) for path in sorted((EXAMPLES_FOLDER / schema).rglob(f"{verdict}/*.json"))]


def parametrize_examples(verdict: Verdict, *schemas: str) -> pytest.MarkDecorator:
    """Run a test for each `example` of `schemas`."""
    found = [example for schema in schemas for example in examples(schema, verdict)]
    return pytest.mark.parametrize("example", found, ids=[example.name for example in found])


def read_json(text: bytes) -> Any:
    """Read JSON that any parser takes: in UTF-8, without infinities or halves of characters.

    Raises:
        ValueError: If it is not that.
    """
    value = json.loads(text.decode(), parse_constant=_reject_constant)
    json.dumps(value, ensure_ascii=False).encode()
    return value


def _reject_constant(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _read(path: Path) -> Example:
    text = path.read_bytes()
    return Example(
        path.relative_to(EXAMPLES_FOLDER).with_suffix("").as_posix(), text, read_json(text)
    )
