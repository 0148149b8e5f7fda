"""Each scenario that is asked for is played once, several at a time, before any is judged."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.conformance.__main__ import Outcome, play_scenario
from tests.conformance.scenario import SCENARIO_FOLDER, find_scenarios, read_scenario

if TYPE_CHECKING:
    from collections.abc import Callable

    OutcomesByDriver = Callable[[str], dict[str, Outcome]]

JOBS = 4
FOLDER_HERE = Path(__file__).parent
DRIVERS = {
    "python": [sys.executable, str(FOLDER_HERE / "drive_python.py")],
    # Node 20 has a WebSocket behind this flag; the driver would start itself again to have it.
    "javascript": [
        *("node", "--experimental-websocket", "--no-warnings"),
        str(FOLDER_HERE / "drive_javascript.mjs"),
    ],
}
#: What each of them can do beyond what all can.
CAPABILITIES = {
    "python": frozenset({"http_status", "pause", "wake"}),
    "javascript": frozenset({"leave", "sse", "wake"}),
}


def scenarios_for(driver: str) -> pytest.MarkDecorator:
    """Parametrize `scenario` with those that this client can play."""
    names = [each.name for each in find_scenarios() if each.needs <= CAPABILITIES[driver]]
    return pytest.mark.parametrize("scenario", names)


def check_outcome(outcome: Outcome) -> None:
    """Fail with the outcome's own sentence where the client did not do what it must."""
    assert not outcome.missing_capabilities, (
        f"its driver does not say that it can: {sorted(outcome.missing_capabilities)}"
    )
    assert outcome.failure is None, f"{outcome.scenario.about}\n{outcome.failure}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Whichever comes first waits for all, and each of them has deadlines of its own.
    for item in items:
        if "verdicts" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(900))


@pytest.fixture(scope="session")
def verdicts(request: pytest.FixtureRequest) -> OutcomesByDriver:
    """What became of the scenarios that were asked for, by driver."""
    requested: dict[str, list[str]] = {}
    for item in request.session.items:
        params: dict[str, Any] = getattr(getattr(item, "callspec", None), "params", {})
        if "verdicts" in getattr(item, "fixturenames", ()):
            requested.setdefault(item.name.split("_")[1], []).append(params["scenario"])
    outcomes: dict[str, dict[str, Outcome]] = {}

    def outcomes_of(driver: str) -> dict[str, Outcome]:
        if driver not in outcomes:
            outcomes[driver] = asyncio.run(_play_all(requested[driver], DRIVERS[driver]))
        return outcomes[driver]

    return outcomes_of


async def _play_all(names: list[str], command: list[str]) -> dict[str, Outcome]:
    slots = asyncio.Semaphore(JOBS)

    async def play_one(name: str) -> Outcome:
        async with slots:
            return await play_scenario(read_scenario(SCENARIO_FOLDER / f"{name}.json"), command)

    outcomes = await asyncio.gather(*map(play_one, names))
    return {outcome.scenario.name: outcome for outcome in outcomes}
