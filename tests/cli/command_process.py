"""Runs `push-bridge` as a process; tests see only its output and exit code."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from typing import IO, TYPE_CHECKING, NamedTuple, Self

import httpx

from tests.cli.fork_server import FORK_SERVER

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: For what should take a second, on a machine that does much else.
TIMEOUT_SECONDS = 60.0
_TERMINAL = ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "COLORTERM")


def command_environment(**settings: str) -> dict[str, str]:
    """This process's environment with these settings (`PORT` is `BRIDGE_PORT`) and no others."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.upper().startswith("BRIDGE_") and name not in _TERMINAL
    }
    return {**kept, **{f"BRIDGE_{name}": value for name, value in settings.items()}}


def wait_until(
    condition: Callable[[], object], description: str, seconds: float = TIMEOUT_SECONDS
) -> None:
    """Wait until `condition` holds; fail with `description` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"timed out waiting for {description}"
        time.sleep(0.01)


class CommandProcess:
    """A running command, with the lines that it has printed so far."""

    def __init__(self, folder: Path, *arguments: str, **settings: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bridge", *arguments],
            cwd=folder,
            env=command_environment(**settings),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        self.stdout_lines: list[str] = []
        self.stderr_lines: list[str] = []
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._readers = [
            threading.Thread(target=_read_lines, args=(self._process.stdout, self.stdout_lines)),
            threading.Thread(target=_read_lines, args=(self._process.stderr, self.stderr_lines)),
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
    def is_running(self) -> bool:
        return self._process.poll() is None

    def wait_for_line(self, text: str) -> str:
        """Wait for the first line, of either stream, that has `text`; return it."""

        def matching_lines() -> list[str]:
            return [line for line in (*self.stdout_lines, *self.stderr_lines) if text in line]

        wait_until(lambda: matching_lines() or not self.is_running, repr(text))
        assert matching_lines(), (
            f"the command ended without {text!r}: {self.stdout_lines} {self.stderr_lines}"
        )
        return matching_lines()[0]

    def send_signal(self, number: int) -> None:
        self._process.send_signal(number)

    def wait_exit(self) -> int:
        """Wait until it ends and its output is complete; return the exit code."""
        code = self._process.wait(TIMEOUT_SECONDS)
        for reader in self._readers:
            reader.join()
        return code


def _read_lines(stream: IO[str], lines: list[str]) -> None:
    with stream:
        for line in stream:
            lines.append(line.rstrip("\n"))  # noqa: PERF401 - each as soon as it comes


class CommandResult(NamedTuple):
    """An ended command: its exit code and its lines."""

    exit_code: int
    stdout_lines: list[str]
    stderr_lines: list[str]


def run(
    folder: Path, *arguments: str | bytes, stdin: bytes | str = b"", **settings: str
) -> CommandResult:
    """Run a command to its end."""
    code, out, err = FORK_SERVER.run(
        [os.fsdecode(argument) for argument in arguments],
        cwd=folder,
        environment=command_environment(**settings),
        stdin=stdin.encode() if isinstance(stdin, str) else stdin,
        timeout_seconds=TIMEOUT_SECONDS,
    )
    return CommandResult(code, out.decode().splitlines(), err.decode().splitlines())


def get(url: str, **headers: str) -> httpx.Response:
    """Request `url` without any proxy of the environment."""
    return httpx.get(url, headers=headers, trust_env=False)


def error_line(result: CommandResult, exit_code: int) -> str:
    """Return the only line of a command's output; it must be on stderr."""
    assert result.exit_code == exit_code, result
    assert result.stdout_lines == [], result
    (line,) = result.stderr_lines
    return line
