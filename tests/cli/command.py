"""The command as people run it: a process of its own, of which only its output is seen."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from typing import IO, TYPE_CHECKING, NamedTuple, Self

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: For what should take a second, on a machine that does much else.
PATIENCE = 60.0
_TERMINAL = ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "COLORTERM")


def environment(**settings: str) -> dict[str, str]:
    """This process's environment with these settings (`PORT` is `BRIDGE_PORT`) and no others."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.upper().startswith("BRIDGE_") and name not in _TERMINAL
    }
    return {**kept, **{f"BRIDGE_{name}": value for name, value in settings.items()}}


def until(condition: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    """Wait for `condition`; fail with `what` where it does not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.01)


class Command:
    """A command that runs; `out` and `err` are the lines that it has printed so far."""

    def __init__(self, folder: Path, *arguments: str, **settings: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bridge", *arguments],
            cwd=folder,
            env=environment(**settings),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        self.out: list[str] = []
        self.err: list[str] = []
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._readers = [
            threading.Thread(target=_read, args=(self._process.stdout, self.out)),
            threading.Thread(target=_read, args=(self._process.stderr, self.err)),
        ]
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for reader in self._readers:
            reader.join()

    @property
    def runs(self) -> bool:
        return self._process.poll() is None

    def says(self, words: str) -> str:
        """Wait for the first line, of either stream, that has `words`; return it."""

        def lines() -> list[str]:
            return [line for line in (*self.out, *self.err) if words in line]

        until(lambda: lines() or not self.runs, repr(words))
        assert lines(), f"it ended without {words!r}: {self.out} {self.err}"
        return lines()[0]

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def ends(self) -> int:
        """Wait for its end; return the exit code. Its output is complete then."""
        code = self._process.wait(PATIENCE)
        for reader in self._readers:
            reader.join()
        return code


def _read(stream: IO[str], lines: list[str]) -> None:
    with stream:
        for line in stream:
            lines.append(line.rstrip("\n"))  # noqa: PERF401 - each as soon as it comes


class Ended(NamedTuple):
    """A command that has ended: its exit code and its lines."""

    code: int
    out: list[str]
    err: list[str]


def run(folder: Path, *arguments: str | bytes, stdin: bytes | str = b"", **settings: str) -> Ended:
    """Run a command to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "bridge", *arguments],
        cwd=folder,
        env=environment(**settings),
        input=stdin.encode() if isinstance(stdin, str) else stdin,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    return Ended(
        done.returncode, done.stdout.decode().splitlines(), done.stderr.decode().splitlines()
    )


def get(url: str, **headers: str) -> httpx.Response:
    """Ask a bridge by HTTP, whatever proxy is set here."""
    return httpx.get(url, headers=headers, trust_env=False)


def sentence(ended: Ended, code: int) -> str:
    """The one line on stderr of a command that ended with `code` and has printed nothing else."""
    assert ended.code == code, ended
    assert ended.out == [], ended
    (line,) = ended.err
    return line
