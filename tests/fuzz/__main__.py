"""`python -m tests.fuzz [TARGET...]`: fuzz by coverage, each target in a process of its own.

Needs atheris (`pip install -e '.[fuzz]'`). A crash prints the input and where it is kept.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

#: Of an input. Parsers see bounded frames, and short inputs find more in the same time.
MAX_INPUT_BYTES: Final = 4096
RSS_LIMIT_MB: Final = 1024
INPUT_TIMEOUT_SECONDS: Final = 5


def main() -> int:
    """Fuzz the targets one after another; return the number of those that failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="all, if none is named")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--only", help=argparse.SUPPRESS)  # the process of one target
    options = parser.parse_args()
    if options.only:
        _fuzz(options.only, options.seconds)
    from tests.fuzz.targets import TARGETS  # noqa: PLC0415 - instrumented in the other process

    if unknown := set(options.targets) - set(TARGETS):
        parser.error(f"there is no target {min(unknown)!r}; there are: {', '.join(TARGETS)}")
    return sum(_run(name, options.seconds) for name in options.targets or TARGETS)


def _run(name: str, seconds: int) -> bool:
    """Fuzz one target; print its last line of figures, and all of it after a crash."""
    command = [sys.executable, "-m", "tests.fuzz", "--only", name, "--seconds", str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line for line in done.stderr.splitlines() if line]
    figures = [line for line in lines if line.startswith("Done")]
    _print(f"{'crash' if done.returncode else 'ok   '} {name:14} {' '.join(figures)}")
    if done.returncode:
        _print("\n".join(lines[-40:]))
    return done.returncode != 0


def _fuzz(name: str, seconds: int) -> None:
    import atheris  # noqa: PLC0415 - only this process is instrumented

    with atheris.instrument_imports(include=["bridge"]):
        from tests.fuzz.targets import TARGETS  # noqa: PLC0415
    target = TARGETS[name]
    kept = tempfile.mkdtemp(prefix="push-bridge-fuzz-")  # an input that crashed
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(target.seeds):
            Path(corpus, f"seed-{number}").write_bytes(seed)
        limits = [
            f"-max_total_time={seconds}",
            f"-max_len={MAX_INPUT_BYTES}",
            f"-rss_limit_mb={RSS_LIMIT_MB}",
            f"-timeout={INPUT_TIMEOUT_SECONDS}",
            f"-artifact_prefix={kept}/",
        ]
        atheris.Setup([sys.argv[0], *limits, corpus], target.run)
        atheris.Fuzz()


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
