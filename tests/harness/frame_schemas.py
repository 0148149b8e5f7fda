"""The published schemas as a judge of frames: every frame that any test receives comes by here.

The rule kept here: it knows `schemas/` and nothing of the bridge, so the two can disagree.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from jsonschema_rs import Draft202012Validator, Registry, ValidationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    Schema = dict[str, Any]

SCHEMA_FOLDER: Final = Path(__file__).parents[2] / "schemas"
_SUFFIX: Final = ".schema.json"
# Schemas refer to each other by relative paths, so all they need is places below a common one.
_BASE: Final = "push-bridge:/schemas/"

#: Every schema by its path without the suffix: `envelope`, `frames/server/welcome`.
SCHEMAS: Final[Mapping[str, Schema]] = {
    str(path.relative_to(SCHEMA_FOLDER).as_posix()).removesuffix(_SUFFIX): json.loads(
        path.read_bytes()
    )
    for path in sorted(SCHEMA_FOLDER.rglob(f"*{_SUFFIX}"))
}
_registry: Final = Registry([(f"{_BASE}{name}{_SUFFIX}", it) for name, it in SCHEMAS.items()])


def schema_validator(name: str, schema: Schema | None = None) -> Draft202012Validator:
    """Return the validator of the schema `name`, or of `schema` standing in its place."""
    return _published_validator(name) if schema is None else _build_validator(name, schema)


@functools.cache  # a validator of pages takes 5 ms to build
def _published_validator(name: str) -> Draft202012Validator:
    return _build_validator(name, SCHEMAS[name])


def _build_validator(name: str, schema: Schema) -> Draft202012Validator:
    uri = f"{_BASE}{name}{_SUFFIX}"
    return Draft202012Validator(schema, registry=_registry, base_uri=uri, offline=True)


def read_frame(text: str | bytes) -> dict[str, Any]:
    """Return a frame as a client reads it, checked: what tests have for `json.loads`."""
    frame: dict[str, Any] = json.loads(text)
    check_frame(frame)
    return frame


def check_frame(frame: object) -> None:
    """Raise AssertionError, with the path to what is wrong, unless a bridge may send `frame`."""
    if not (isinstance(frame, dict) and frame.get("op") == "event"):
        _check("server", frame)
        return
    # The producer's own may be large, and text that no validator takes: only its kind is judged.
    producer_values = {name: type(frame[name])() for name in ("data", "meta") if name in frame}
    _check("server", {**frame, **producer_values})
    # What no schema can say.
    topic, at = frame["topic"], frame["at"]
    assert at.startswith(f"{topic}:"), f"at: {at!r} is no position in {topic!r}"


def check_client_frame(frame: object) -> None:
    """Raise AssertionError, with the path to what is wrong, unless a client may send `frame`."""
    _check("client", frame)


def _check(side: str, frame: object) -> None:
    op = frame.get("op") if isinstance(frame, dict) else None
    # Asked by its own schema, and not by the choice of all, a frame is told what is wrong with it.
    validator = _by_op(side).get(op) if isinstance(op, str) else None
    assert validator is not None, f"op: no frame of the {side}: {str(frame)[:300]}"
    try:
        validator.validate(frame)
    except ValidationError as error:
        path = ".".join(map(str, error.instance_path)) or "the frame"
        raise AssertionError(f"{path}: {error.message}; in {str(frame)[:1000]}") from None
    except UnicodeEncodeError as error:
        raise AssertionError(f"{error}; in {str(frame)[:1000]!a}") from None


@functools.cache
def _by_op(side: str) -> dict[str, Draft202012Validator]:
    prefix = f"frames/{side}/"
    return {
        name.removeprefix(prefix): schema_validator(name)
        for name in SCHEMAS
        if name.startswith(prefix)
    }
