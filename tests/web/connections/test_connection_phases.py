"""A connection is in one phase; the table says what may follow, and one method changes it."""

from __future__ import annotations

import ast
from itertools import product
from pathlib import Path
from typing import Any, cast

import pytest

import bridge
from bridge.web.connections.connection import (
    PHASE_TRANSITIONS,
    ClientConnection,
    Phase,
    PhaseTrigger,
)

BEFORE_THE_WELCOME = (Phase.HANDSHAKE, Phase.AWAITING_HELLO, Phase.PREPARING)
ALLOWED = {
    (Phase.HANDSHAKE, PhaseTrigger.HELLO_AWAITED): Phase.AWAITING_HELLO,
    **{(phase, PhaseTrigger.LOOKUP_STARTED): Phase.PREPARING for phase in BEFORE_THE_WELCOME},
    **{(phase, PhaseTrigger.OPENED): Phase.OPEN for phase in BEFORE_THE_WELCOME},
    (Phase.OPEN, PhaseTrigger.SESSION_CLOSED): Phase.FLUSHING,
    **{
        (phase, PhaseTrigger.CLOSE_SENT): Phase.CLOSING
        for phase in (*BEFORE_THE_WELCOME, Phase.OPEN, Phase.FLUSHING)
    },
    **{(phase, PhaseTrigger.DISCONNECTED): Phase.CLOSED for phase in set(Phase) - {Phase.CLOSED}},
}


@pytest.mark.parametrize(("phase", "trigger"), list(product(Phase, PhaseTrigger)))
def test_a_trigger_that_cannot_happen_in_a_phase_raises(
    phase: Phase, trigger: PhaseTrigger
) -> None:
    connection = ClientConnection(cast("Any", None))
    connection.phase = phase
    if (phase, trigger) in ALLOWED:
        connection.transition(trigger)
        assert connection.phase is ALLOWED[phase, trigger]
    else:
        with pytest.raises(AssertionError, match=f"{trigger.name} in {phase.name}"):
            connection.transition(trigger)
        assert connection.phase is phase


def test_every_phase_has_a_row() -> None:
    assert set(PHASE_TRANSITIONS) == set(Phase)


def phase_assignments(source: str) -> list[str]:
    """The functions in `source` that assign an attribute `phase`, one for each assignment."""
    found: list[str] = []
    if "phase" not in source:
        return found  # it need not be parsed
    for function in ast.walk(ast.parse(source)):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            found += [
                function.name
                for node in ast.walk(function)
                if isinstance(node, ast.Attribute)
                and node.attr == "phase"
                and isinstance(node.ctx, ast.Store)
            ]
    return found


def test_one_method_changes_the_phase() -> None:
    package = Path(bridge.__file__).parent
    found = {
        path.relative_to(package).as_posix(): names
        for path in package.rglob("*.py")
        if (names := phase_assignments(path.read_text()))
    }
    assert found == {"web/connections/connection.py": ["__init__", "transition"]}


@pytest.mark.parametrize("line", ["c.phase = 1", "c.phase, x = 1, 2", "c.phase: int = 1"])
def test_an_assignment_elsewhere_is_found(line: str) -> None:
    assert phase_assignments(f"async def somewhere(c):\n    {line}") == ["somewhere"]
