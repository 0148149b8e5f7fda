"""The scenarios in `schemas/conformance/`: each is one story of a client and a server.

The rule kept here: a scenario is data that holds for a client in any language; what it needs
beyond what all can do, it says.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, NamedTuple

FOLDER: Final = Path(__file__).parents[2] / "schemas" / "conformance"
SCHEMA: Final = FOLDER.with_suffix(".json")


class Scenario(NamedTuple):
    """One of them. `needs` is what a driver has to be able to do for it to make sense."""

    name: str
    about: str
    needs: frozenset[str]
    options: dict[str, Any]
    steps: list[dict[str, Any]]


def scenarios(*words: str) -> list[Scenario]:
    """Those whose names contain one of `words`, or all."""
    return [
        read(path)
        for path in sorted(FOLDER.glob("*.json"))
        if not words or any(word in path.stem for word in words)
    ]


def read(path: Path) -> Scenario:
    """The scenario in a file."""
    told = json.loads(path.read_text())
    needs = frozenset(told.get("needs", []))
    return Scenario(path.stem, told["about"], needs, told.get("options", {}), told["steps"])
