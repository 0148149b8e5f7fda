"""The scenarios in `schemas/conformance/`: each is one story of a client and a server.

The rule kept here: a scenario is data that holds for a client in any language; what it needs
beyond what all can do, it says.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, NamedTuple

SCENARIO_FOLDER: Final = Path(__file__).parents[2] / "schemas" / "conformance"
SCENARIO_SCHEMA: Final = SCENARIO_FOLDER.with_suffix(".json")


class Scenario(NamedTuple):
    """One of them. `needs` is what a driver has to be able to do for it to make sense."""

    name: str
    about: str
    needs: frozenset[str]
    options: dict[str, Any]
    steps: list[dict[str, Any]]


def find_scenarios(*words: str) -> list[Scenario]:
    """Those whose names contain one of `words`, or all."""
    return [
        read_scenario(path)
        for path in sorted(SCENARIO_FOLDER.glob("*.json"))
        if not words or any(word in path.stem for word in words)
    ]


def read_scenario(path: Path) -> Scenario:
    """The scenario in a file."""
    fields = json.loads(path.read_text())
    needs = frozenset(fields.get("needs", []))
    return Scenario(path.stem, fields["about"], needs, fields.get("options", {}), fields["steps"])
