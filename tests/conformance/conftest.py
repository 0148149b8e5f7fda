"""Each scenario that is asked for is played once, several at a time, before any is judged."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.conformance.__main__ import Outcome, play
from tests.conformance.scenario import FOLDER, read

if TYPE_CHECKING:
    from collections.abc import Callable

    Verdicts = Callable[[str], dict[str, Outcome]]

JOBS = 4
HERE = Path(__file__).parent
DRIVERS = {
    "python": [sys.executable, str(HERE / "drive_python.py")],
    # Node 20 has a WebSocket behind this flag; the driver would start itself again to have it.
    "javascript": [
        *("node", "--experimental-websocket", "--no-warnings"),
        str(HERE / "drive_javascript.mjs"),
    ],
}
#: What each of them can do beyond what all can.
CAN = {
    "python": frozenset({"http_status", "pause", "wake"}),
    "javascript": frozenset({"leave", "sse", "wake"}),
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Whichever comes first waits for all, and each of them has deadlines of its own.
    for item in items:
        if "verdicts" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(900))


@pytest.fixture(scope="session")
def verdicts(request: pytest.FixtureRequest) -> Verdicts:
    """What became of the scenarios that were asked for, by driver."""
    asked: dict[str, list[str]] = {}
    for item in request.session.items:
        params: dict[str, Any] = getattr(getattr(item, "callspec", None), "params", {})
        if "verdicts" in getattr(item, "fixturenames", ()):
            asked.setdefault(item.name.split("_")[1], []).append(params["scenario"])
    done: dict[str, dict[str, Outcome]] = {}

    def judge(driver: str) -> dict[str, Outcome]:
        if driver not in done:
            done[driver] = asyncio.run(_all(asked[driver], DRIVERS[driver]))
        return done[driver]

    return judge


async def _all(names: list[str], command: list[str]) -> dict[str, Outcome]:
    turns = asyncio.Semaphore(JOBS)

    async def one(name: str) -> Outcome:
        async with turns:
            return await play(read(FOLDER / f"{name}.json"), command)

    outcomes = await asyncio.gather(*map(one, names))
    return {outcome.scenario.name: outcome for outcome in outcomes}
