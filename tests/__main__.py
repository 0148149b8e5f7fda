"""The one command: `python -m tests` says whether the tree is fit to commit.

Every check runs, even after one has failed. What a machine lacks (Java, Maven, Node, nginx,
Prometheus, Chromium) is skipped with a sentence that says so, and counted; arguments go to pytest.
`python -m tests mutants [TEXT...]` tries the planted bugs instead.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time

from tests.mutants import runner

PYTHON = sys.executable
CHECKS = {
    "format": [PYTHON, "-m", "ruff", "format", "--check", "--quiet", "."],
    "lint": [PYTHON, "-m", "ruff", "check", "--quiet", "."],
    "types": [PYTHON, "-m", "mypy"],
}
SUITE = [PYTHON, "-m", "pytest", "-rs", "--durations=10"]


def main() -> int:
    """Run everything; return how many checks failed, so 0 is success."""
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    for name, command in CHECKS.items():
        began = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        verdict = "ok  " if done.returncode == 0 else "FAIL"
        print(f"{verdict} {name:8}{time.perf_counter() - began:6.1f} s", flush=True)
        counts["passed" if done.returncode == 0 else "failed"] += 1
        if done.returncode:
            print(done.stdout + done.stderr, flush=True)
    suite = subprocess.Popen([*SUITE, *sys.argv[1:]], stdout=subprocess.PIPE, text=True)
    assert suite.stdout is not None
    last = ""
    for line in suite.stdout:
        print(line, end="", flush=True)
        last = line if line.strip() else last
    status = suite.wait()
    for number, word in re.findall(r"(\d+) (passed|failed|skipped|error)", last):
        counts["failed" if word == "error" else word] += int(number)
    if status and not counts["failed"]:
        counts["failed"] = 1
    print("{passed} passed, {failed} failed, {skipped} skipped".format(**counts))
    return min(counts["failed"], 1)


if __name__ == "__main__":
    sys.exit(runner.main(sys.argv[2:]) if sys.argv[1:2] == ["mutants"] else main())
