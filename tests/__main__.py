"""The one command: `python -m tests [TIER] [PYTEST ARGUMENTS]` checks the whole tree.

Rule: every check runs, even after one has failed. A test that misses a program is skipped with a
sentence and counted. `python -m tests mutants [TEXT...]` tries the planted bugs instead.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from tests import architecture
from tests.mutants import ROOT, runner
from tests.tiers import TIERS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PYTHON: Final = sys.executable
CHECKS: Final = {
    "format": [PYTHON, "-m", "ruff", "format", "--check", "--quiet", "."],
    "lint": [PYTHON, "-m", "ruff", "check", "--quiet", "."],
    "types": [PYTHON, "-m", "mypy"],
}
PYTEST: Final = [PYTHON, "-m", "pytest", "-rs", "--durations=10"]
NO_TESTS_COLLECTED: Final = 5  # pytest's exit code


def suites(tier: str | None) -> Iterator[tuple[str, list[str]]]:
    """Yield the pytest runs of a tier, or of all, by name.

    The tests of a file share a worker, and with it a broker, a browser or a running bridge.
    Tests marked `alone` measure time. They run last, in one process; no fast test does.
    """
    cores = os.cpu_count() or 1
    for each in [tier] if tier else TIERS:
        # Fast tests wait for timers of milliseconds; the others start programs that need a core.
        workers = 3 * cores if each == "fast" else max(2, cores)
        marked = [] if each == "fast" else ["-m", "not alone"]
        parallel = [f"--numprocesses={workers}", "--dist=loadfile"]
        yield each, [*PYTEST, f"--tier={each}", *marked, *parallel]
    if tier != "fast":
        yield "alone", [*PYTEST, *([f"--tier={tier}"] if tier else []), "-m", "alone"]


def run_checks(counts: dict[str, int]) -> None:
    """Run what is no test, side by side; print the output of those that fail."""

    def run(command: list[str]) -> tuple[subprocess.CompletedProcess[str], float]:
        began = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done, time.perf_counter() - began

    with ThreadPoolExecutor() as pool:
        for name, (done, seconds) in zip(CHECKS, pool.map(run, CHECKS.values()), strict=True):
            has_failed = done.returncode != 0
            counts["failed" if has_failed else "passed"] += 1
            print(f"{'FAIL' if has_failed else 'ok  '} {name:8}{seconds:6.1f} s", flush=True)
            if has_failed:
                print(done.stdout + done.stderr, flush=True)
    for sentence in architecture.long_files(ROOT):
        print(f"warn {sentence}", flush=True)


def run_suite(name: str, command: Sequence[str], counts: dict[str, int]) -> None:
    """Run pytest once, show its output, and add its last line's numbers to `counts`."""
    began = time.perf_counter()
    # Workers share what pytest compiles of the tests, which takes half of their start.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    suite = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert suite.stdout is not None
    last = ""
    for line in suite.stdout:
        print(line, end="", flush=True)
        last = line if line.strip() else last
    status = suite.wait()
    failed_before = counts["failed"]
    for number, word in re.findall(r"(\d+) (passed|failed|skipped|error)", last):
        counts["failed" if word == "error" else word] += int(number)
    if status not in {0, NO_TESTS_COLLECTED} and counts["failed"] == failed_before:
        counts["failed"] += 1
    print(f"{name}: {time.perf_counter() - began:.1f} s", flush=True)


def main(arguments: Sequence[str]) -> int:
    """Run a tier, or all tiers; return the exit code."""
    tier = arguments[0] if arguments and arguments[0] in TIERS else None
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    run_checks(counts)
    for name, command in suites(tier):
        run_suite(name, [*command, *arguments[1 if tier else 0 :]], counts)
    print("{passed} passed, {failed} failed, {skipped} skipped".format(**counts))
    return min(counts["failed"], 1)


if __name__ == "__main__":
    sys.exit(runner.main(sys.argv[2:]) if sys.argv[1:2] == ["mutants"] else main(sys.argv[1:]))
