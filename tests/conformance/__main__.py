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

from tests.conformance.driver import Driver
from tests.conformance.scenario import Scenario, scenarios
from tests.conformance.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Sequence


class Outcome(NamedTuple):
    """What became of one scenario: `why` it failed, or the needs that the driver `lacks`."""

    scenario: Scenario
    why: str | None
    lacks: frozenset[str]
    seconds: float


async def play(scenario: Scenario, command: Sequence[str]) -> Outcome:
    """Play one scenario with a driver of its own."""
    began = time.monotonic()
    why, lacks = None, frozenset[str]()
    try:
        async with Driver(command) as driver:
            lacks = scenario.needs - driver.can
            if not lacks:
                async with Stage(scenario, driver) as stage:
                    try:
                        await stage.play()
                    except AssertionError as error:
                        why = "\n  ".join([str(error), *driver.complaints])
    except (AssertionError, OSError, TimeoutError) as error:
        why = f"the driver does not start: {error}"
    return Outcome(scenario, why, lacks, time.monotonic() - began)


async def run(command: Sequence[str], only: Sequence[str], jobs: int) -> int:
    """Play all, or those whose names contain one of `only`; how many failed."""
    turns = asyncio.Semaphore(jobs)

    async def one(scenario: Scenario) -> Outcome:
        async with turns:
            outcome = await play(scenario, command)
        verdict = "FAILED " if outcome.why else "skipped" if outcome.lacks else "ok     "
        note = f"  (needs {', '.join(sorted(outcome.lacks))})" if outcome.lacks else ""
        say(f"{verdict} {outcome.seconds:5.1f} s  {scenario.name}{note}")
        if outcome.why:
            say(f"  {scenario.about}\n  {outcome.why}")
        return outcome

    outcomes = await asyncio.gather(*(one(scenario) for scenario in scenarios(*only)))
    failed = sum(outcome.why is not None for outcome in outcomes)
    skipped = sum(bool(outcome.lacks) and outcome.why is None for outcome in outcomes)
    say(f"{len(outcomes) - failed - skipped} passed, {failed} failed, {skipped} skipped")
    return failed if outcomes else 1


def say(line: str) -> None:
    """Print `line` at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("--only", action="append", default=[], metavar="NAME")
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND")
    told = parser.parse_args()
    if not told.command:
        parser.error("which driver? as: python tests/conformance/drive_python.py")
    return min(1, asyncio.run(run(told.command, told.only, told.jobs)))


if __name__ == "__main__":
    sys.exit(main())
