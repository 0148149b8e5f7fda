"""The Python client does what every client must do; each scenario suits one of the clients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.conformance.conftest import CAPABILITIES, check_outcome, scenarios_for
from tests.conformance.scenario import find_scenarios

if TYPE_CHECKING:
    from tests.conformance.conftest import OutcomesByDriver


def test_every_scenario_suits_a_driver() -> None:
    assert [
        each.name
        for each in find_scenarios()
        if not any(each.needs <= can for can in CAPABILITIES.values())
    ] == []


@scenarios_for("python")
def test_python_does(scenario: str, verdicts: OutcomesByDriver) -> None:
    check_outcome(verdicts("python")[scenario])
