"""Both client libraries do what every client has to: each scenario, played with each driver."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conformance.conftest import CAPABILITIES
from tests.conformance.scenario import find_scenarios

if TYPE_CHECKING:
    from tests.conformance.__main__ import Outcome
    from tests.conformance.conftest import OutcomesByDriver


def those_of(driver: str) -> pytest.MarkDecorator:
    """The scenarios that make sense for this client."""
    names = [each.name for each in find_scenarios() if each.needs <= CAPABILITIES[driver]]
    return pytest.mark.parametrize("scenario", names)


def judge(outcome: Outcome) -> None:
    assert not outcome.missing_capabilities, (
        f"its driver does not say that it can: {sorted(outcome.missing_capabilities)}"
    )
    assert outcome.failure is None, f"{outcome.scenario.about}\n{outcome.failure}"


def test_every_scenario_suits_a_driver() -> None:
    assert [
        each.name
        for each in find_scenarios()
        if not any(each.needs <= can for can in CAPABILITIES.values())
    ] == []


@those_of("python")
def test_python_does(scenario: str, verdicts: OutcomesByDriver) -> None:
    judge(verdicts("python")[scenario])


@pytest.mark.node
@those_of("javascript")
def test_javascript_does(scenario: str, verdicts: OutcomesByDriver) -> None:
    judge(verdicts("javascript")[scenario])
