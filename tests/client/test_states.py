"""The state table, as docs/clients.md draws it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.client.states import TRANSITIONS, State, Trigger, next_state

DOCS = Path(__file__).parents[2] / "docs" / "clients.md"


def drawn() -> dict[tuple[State, Trigger], State]:
    """The table in the docs: a row for each state, a column for each happening."""
    lines = [line for line in DOCS.read_text().splitlines() if line.startswith("| ")]
    begin = next(i for i, line in enumerate(lines) if line.startswith("| state |"))
    happenings = [cell.strip() for cell in lines[begin].strip("| ").split("|")][2:]
    found = {}
    for line in lines[begin + 2 : begin + 2 + len(State)]:
        state, _, *cells = (cell.strip() for cell in line[1:-1].split("|"))
        for happening, cell in zip(happenings, cells, strict=True):
            if cell:
                name = happening.split(" (")[0].lower().replace("_", " ")
                found[State(state), Trigger(name)] = State(cell)
    return found


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("happening", Trigger)
def test_transitions_equal_the_diagram(state: State, happening: Trigger) -> None:
    assert next_state(state, happening) == drawn().get((state, happening))


def test_diagram_has_every_state_but_the_last() -> None:
    assert {state for state, _ in drawn()} == set(State) - {State.CLOSED}


def test_every_state_is_reachable_and_can_be_closed() -> None:
    assert {to for row in TRANSITIONS.values() for to in row.values()} == set(State) - {State.IDLE}
    for state in set(State) - {State.CLOSED}:
        assert next_state(state, Trigger.STOPPED) is State.CLOSED


def test_closed_is_final() -> None:
    assert {next_state(State.CLOSED, happening) for happening in Trigger} == {None}
