"""The AsyncAPI document as its readers see it, and AsyncAPI's own schema to judge it by.

The rule kept here: the schema is the published one, byte for byte. npm fetches it once into the
cache that Kafka's jars are in too.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
import yaml
from jsonschema_rs import Draft7Validator

from tests.harness.frame_schemas import SCHEMA_FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCUMENT: Final = "asyncapi.yaml"
PACKAGE: Final = "@asyncapi/specs@6.11.1"
MEMBER: Final = "package/schemas/3.0.0.json"
SHA256: Final = "d4571a420e6ffb7fcc7066c95a6db1202f299a3c51daa103d0706bf30f95e626"
FETCH_SECONDS: Final = 300


@functools.cache
def asyncapi_validator() -> Draft7Validator:
    """Return the validator of AsyncAPI 3.0 documents; the calling test is skipped without npm."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "push-bridge-tests"
    cached = cache / f"asyncapi-{SHA256[:12]}.json"
    if not cached.is_file():
        if shutil.which("npm") is None:
            pytest.skip("AsyncAPI's own schema comes with npm: install `npm`")
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix="fetching-") as temporary:
            _fetch(Path(temporary)).replace(cached)
    text = cached.read_bytes()
    assert hashlib.sha256(text).hexdigest() == SHA256, f"{cached} is not the published schema"
    return Draft7Validator(json.loads(text), offline=True)


def _fetch(folder: Path) -> Path:
    # One package, as it is: nothing in it is run, and nothing that it depends on is needed.
    command = ["npm", "pack", "--silent", f"--pack-destination={folder}", PACKAGE]
    subprocess.run(command, check=True, capture_output=True, timeout=FETCH_SECONDS)
    (archive,) = folder.glob("*.tgz")
    with tarfile.open(archive) as files:
        member = files.extractfile(MEMBER)
        assert member is not None
        fetched = folder / "schema.json"
        fetched.write_bytes(member.read())
    return fetched


@functools.cache
def read_schema_file(file: str) -> Any:
    """Return a file of `schemas/`, YAML or JSON; do not change it."""
    return yaml.safe_load((SCHEMA_FOLDER / file).read_text(encoding="utf-8"))


def inlined_document() -> dict[str, Any]:
    """Return the document with its messages in it. The schemas stay where they are."""
    document: dict[str, Any] = _inlined(read_schema_file(DOCUMENT))
    return document


def _inlined(part: Any) -> Any:
    if isinstance(part, list):
        return [_inlined(each) for each in part]
    if not isinstance(part, dict):
        return part
    file, _, pointer = str(part.get("$ref", "")).partition("#")
    if file == "messages.yaml":
        return resolve(file, pointer)
    return {name: _inlined(each) for name, each in part.items()}


def resolve(file: str, pointer: str) -> Any:
    """Return what is at `pointer` in `file`.

    Raises:
        LookupError: If nothing is.
    """
    found = read_schema_file(file)
    for step in pointer.split("/")[1:]:
        found = found[int(step) if isinstance(found, list) else step]
    return found


def references(file: str) -> Iterator[tuple[str, str]]:
    """Yield what `file` refers to: each time a file of `schemas/` and a pointer into it."""
    pending = [read_schema_file(file)]
    while pending:
        part = pending.pop()
        pending += part.values() if isinstance(part, dict) else part
        pending = [each for each in pending if isinstance(each, dict | list)]
        if isinstance(part, dict) and isinstance(part.get("$ref"), str):
            target, _, pointer = part["$ref"].partition("#")
            yield _relative_path(file, target), pointer


def _relative_path(file: str, target: str) -> str:
    if not target:
        return file
    return os.path.normpath(Path(file).parent / target).replace(os.sep, "/")


def referenced_files() -> set[str]:
    """Return the files that the document needs, itself among them."""
    files, pending = set[str](), [DOCUMENT]
    while pending:
        file = pending.pop()
        if file not in files:
            files.add(file)
            pending += [target for target, _ in references(file)]
    return files
