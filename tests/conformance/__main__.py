"""Does a client library do what it has to? `python -m tests.conformance [--only NAME] COMMAND...`.

COMMAND starts a driver of the client: a program that speaks JSON lines (docs/clients.md). Each
scenario is played with a driver of its own, several at a time; the exit code says whether all
that the driver can do went as told.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

from tests.conformance.driver_process import DriverProcess
from tests.conformance.scenario import Scenario, find_scenarios
from tests.conformance.scenario_runner import ScenarioRunner

if TYPE_CHECKING:
    from collections.abc import Sequence


class Outcome(NamedTuple):
    """What became of one scenario: `why` it failed, or the needs that the driver `lacks`."""

    scenario: Scenario
    failure: str | None
    missing_capabilities: frozenset[str]
    seconds: float


async def play_scenario(scenario: Scenario, command: Sequence[str]) -> Outcome:
    """Play one scenario with a driver of its own."""
    started = time.monotonic()
    failure, missing_capabilities = None, frozenset[str]()
    try:
        async with DriverProcess(command) as driver:
            missing_capabilities = scenario.needs - driver.capabilities
            if not missing_capabilities:
                async with ScenarioRunner(scenario, driver) as stage:
                    try:
                        await stage.play()
                    except AssertionError as error:
                        failure = "\n  ".join([str(error), *driver.stderr_lines])
    except (AssertionError, OSError, TimeoutError) as error:
        failure = f"the driver does not start: {error}"
    return Outcome(scenario, failure, missing_capabilities, time.monotonic() - started)


async def run(command: Sequence[str], only: Sequence[str], jobs: int) -> int:
    """Play all, or those whose names contain one of `only`; how many failed."""
    slots = asyncio.Semaphore(jobs)

    async def play_one(scenario: Scenario) -> Outcome:
        async with slots:
            outcome = await play_scenario(scenario, command)
        verdict = (
            "FAILED "
            if outcome.failure
            else "skipped"
            if outcome.missing_capabilities
            else "ok     "
        )
        note = (
            f"  (needs {', '.join(sorted(outcome.missing_capabilities))})"
            if outcome.missing_capabilities
            else ""
        )
        print_line(f"{verdict} {outcome.seconds:5.1f} s  {scenario.name}{note}")
        if outcome.failure:
            print_line(f"  {scenario.about}\n  {outcome.failure}")
        return outcome

    outcomes = await asyncio.gather(*(play_one(scenario) for scenario in find_scenarios(*only)))
    failed = sum(outcome.failure is not None for outcome in outcomes)
    skipped = sum(
        bool(outcome.missing_capabilities) and outcome.failure is None for outcome in outcomes
    )
    print_line(f"{len(outcomes) - failed - skipped} passed, {failed} failed, {skipped} skipped")
    return failed if outcomes else 1


def print_line(line: str) -> None:
    """Print `line` at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("--only", action="append", default=[], metavar="NAME")
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND")
    arguments = parser.parse_args()
    if not arguments.command:
        parser.error("which driver? as: python tests/conformance/drive_python.py")
    return min(1, asyncio.run(run(arguments.command, arguments.only, arguments.jobs)))


if __name__ == "__main__":
    sys.exit(main())
