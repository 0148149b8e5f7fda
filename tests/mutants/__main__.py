"""Which planted bugs do the tests find? `python -m tests.mutants [NAME...]`.

Each is applied to a copy of its own, and killed if a test fails there: one of the core's, or one of
the module's own where the bug is in another part. One that survives is a test
that is missing; one that does not apply, or that no test could even run with, says nothing. All
copies are of one that was taken at the start, and whose tests passed.
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
from typing import TYPE_CHECKING, NamedTuple

from tests.mutants import PATCHES, ROOT, apply, copy

if TYPE_CHECKING:
    from collections.abc import Sequence

CORE = ("tests/core",)
CLIENT = ("tests/client", "tests/conformance/test_conformance.py", "-k", "not javascript")
PYTEST = [sys.executable, "-B", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
PROFILE = "--hypothesis-profile=mutants"  # which the core's tests have
# Pytest's exit codes: 1 says that tests ran and some failed; all others, that not all of them ran.
VERDICTS = {0: "survived", 1: "killed"}


class Outcome(NamedTuple):
    """What became of one planted bug; `by` is the first test that found it."""

    verdict: str
    by: str
    seconds: float


def run(tree: Path, *tests: str) -> Outcome:
    """Run these tests of `tree`, all of the core or all of other parts."""
    began = time.perf_counter()
    profile = [PROFILE] if CORE[0] in tests[0] else []
    suite = subprocess.run(
        [*PYTEST, *profile, *tests], cwd=tree, capture_output=True, text=True, check=False
    )
    failed = [line for line in suite.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    by = failed[0].split(" - ")[0].partition("tests/")[2] if failed else ""
    verdict = VERDICTS.get(suite.returncode, "could not be tested")
    return Outcome(verdict, by, time.perf_counter() - began)


def plant(patch: Path, sound: Path) -> Outcome:
    """Run the tests of what `patch` is planted in, in a copy of `sound` with its bug."""
    with tempfile.TemporaryDirectory() as folder:
        tree = copy(sound, Path(folder).resolve() / "tree")
        if complaint := apply(patch, tree):
            return Outcome("does not apply", complaint.splitlines()[0], 0.0)
        for tests in suites(patch, tree):
            outcome = run(tree, *tests)
            if outcome.verdict == "killed":
                break
        return outcome


def suites(patch: Path, tree: Path) -> list[Sequence[str]]:
    """Which tests may find the bug of `patch`, the quickest first."""
    module = patch.stem.partition("-")[0]
    if module == "client":
        return [CLIENT]
    if (tree / f"bridge/core/{module}.py").exists():
        return [of(tree, "core", module), CORE]
    return [of(tree, "kafka", module)]


def of(tree: Path, folder: str, module: str) -> list[str]:
    """The tests of a module's own."""
    return [
        str(path.relative_to(tree)) for path in sorted(tree.glob(f"tests/{folder}/test_{module}*.py"))
    ]


def say(line: str) -> None:
    """Print `line` at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(names: list[str]) -> int:
    """Try the planted bugs whose names contain one of `names`, or all; return the exit code."""
    chosen = [patch for patch in PATCHES if not names or any(name in patch.stem for name in names)]
    killed = 0
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        sound = copy(ROOT, Path(folder).resolve() / "sound")
        for tests in {tuple(suites(patch, sound)[-1]) for patch in chosen}:
            if (without := run(sound, *tests)).verdict != "survived":
                say(f"the tests fail without any planted bug, mend that first: {without.by}")
                return 1
        outcomes = pool.map(partial(plant, sound=sound), chosen)
        for patch, outcome in zip(chosen, outcomes, strict=True):
            killed += outcome.verdict == "killed"
            say(f"{outcome.verdict:10} {outcome.seconds:5.1f} s  {patch.stem:46} {outcome.by}")
    say(f"{killed} passed, {len(chosen) - killed} failed")
    return int(killed < len(chosen))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
