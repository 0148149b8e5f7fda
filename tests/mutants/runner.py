"""Which planted bugs do the tests kill? `python -m tests mutants [TEXT...]`.

Each bug is planted in a copy of the project of its own. It is killed if one of its table's tests
fails there; a bug of the core may also be killed by any other test of the core. A bug that survives
is a missing test. All copies are made from one snapshot, whose tests passed without a bug.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tests import tiers
from tests.mutants import ROOT, Mutant, Stale, copy, load, plant

CORE = ("tests/core",)
PYTEST = [sys.executable, "-B", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
PYTEST += [f"--hypothesis-profile={tiers.MUTANTS}"]
# Pytest's exit codes: 1 says that tests ran and some failed; all others, that not all of them ran.
VERDICTS = {0: "survived", 1: "killed"}


class Outcome(NamedTuple):
    """What happened to one bug; `by` is the first test that found it."""

    verdict: str
    by: str
    seconds: float


def run(tree: Path, tests: tuple[str, ...]) -> Outcome:
    """Run `tests` in `tree`."""
    began = time.perf_counter()
    suite = subprocess.run(
        [*PYTEST, *tests],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
        check=False,
    )
    failed = [line for line in suite.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    by = failed[0].split(" - ")[0].partition("tests/")[2] if failed else ""
    verdict = VERDICTS.get(suite.returncode, "could not be tested")
    return Outcome(verdict, by, time.perf_counter() - began)


def suites(mutant: Mutant) -> list[tuple[str, ...]]:
    """Which tests may kill it, the quickest first."""
    return [mutant.tests, CORE] if mutant.module.startswith("bridge/core/") else [mutant.tests]


def kill(mutant: Mutant, snapshot: Path) -> Outcome:
    """Run the suites of `mutant` in a copy of `snapshot` with its bug, until one fails."""
    outcome = Outcome("survived", "", 0.0)
    with tempfile.TemporaryDirectory() as folder:
        tree = copy(snapshot, Path(folder).resolve() / "tree")
        try:
            plant(mutant, tree)
        except Stale as error:
            return Outcome("is stale", str(error), 0.0)
        for tests in suites(mutant):
            outcome = run(tree, tests)
            if outcome.verdict == "killed":
                break
    return outcome


def show(line: str) -> None:
    """Print `line` at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(texts: list[str]) -> int:
    """Try the bugs whose ids contain one of `texts`, or all; return the exit code."""
    chosen = [each for each in load() if not texts or any(text in each.id for text in texts)]
    killed = 0
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        snapshot = copy(ROOT, Path(folder).resolve() / "snapshot")
        for tests in sorted({suites(mutant)[-1] for mutant in chosen}):
            if (without := run(snapshot, tests)).verdict != "survived":
                show(f"without any planted bug {' '.join(tests)} {without.verdict}: {without.by}")
                return 1
        outcomes = pool.map(partial(kill, snapshot=snapshot), chosen)
        for mutant, outcome in zip(chosen, outcomes, strict=True):
            killed += outcome.verdict == "killed"
            show(f"{outcome.verdict:10} {outcome.seconds:5.1f} s  {mutant.id:60} {outcome.by}")
    show(f"{killed} passed, {len(chosen) - killed} failed")
    return int(killed < len(chosen))
