"""Every command with a standard stream that is closed, full or gone: no traceback, a sentence."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from typing import IO, TYPE_CHECKING

import pytest

from tests.cli.command_process import TIMEOUT_SECONDS, command_environment

if TYPE_CHECKING:
    from pathlib import Path

NOWHERE = "127.0.0.1:1"
COMMANDS = {
    "help": ["--help"],
    "dev": ["dev"],
    "serve": ["serve"],
    "check": ["check"],
    "publish": ["publish", "--topic", "demo", "--all", "1", "--kafka", NOWHERE],
    "publish from stdin": ["publish", "--topic", "demo", "--all", "--kafka", NOWHERE],
    "listen": ["listen", "--help"],
    "join": ["join", "hall", "--account", "ann", "--url", NOWHERE],
    "title": ["title", "hall", "The hall", "--url", NOWHERE],
    "kick": ["kick", "--account", "ann", "--url", NOWHERE],
    "who": ["who", "--url", NOWHERE],
    "bench": ["bench", "--help"],
}
SETTINGS = {
    "TOPICS": '["demo"]',
    "AUTH__MODE": "none",
    "PORT": "0",
    "HOST": "127.0.0.1",
    "KAFKA__BOOTSTRAP_SERVERS": NOWHERE,
    "ADMIN_TOKENS": '["a-token-of-an-operator"]',
}
SERVERS = {"serve", "dev"}
FULL = "/dev/full"
each_command = pytest.mark.parametrize("name", COMMANDS)


def run_broken(
    folder: Path, name: str, redirections: str, stdout: IO[bytes] | int = subprocess.PIPE
) -> tuple[int, str]:
    """Return exit code and stderr; a server is ended by SIGTERM after it has started."""
    command = f'exec "$@" {redirections}'
    process = subprocess.Popen(
        ["/bin/sh", "-c", command, "sh", sys.executable, "-m", "bridge", *COMMANDS[name]],
        cwd=folder,
        env=command_environment(**SETTINGS),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
    )
    with process:
        try:
            _, errors = process.communicate(timeout=5 if name in SERVERS else TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=TIMEOUT_SECONDS)
    return process.returncode, errors.decode()


def assert_sentence(code: int, errors: str) -> None:
    # A server that is still importing when the signal comes is ended by it.
    assert code in {0, 1, 2, -signal.SIGTERM}, (code, errors)
    assert "Traceback" not in errors
    assert "Exception ignored" not in errors


@each_command
@pytest.mark.parametrize(
    "redirections",
    [f">{FULL}", "<&-", ">&-", "<&- >&-", f"2>{FULL}", "2>&-", f">{FULL} 2>&1", "<&- >&- 2>&-"],
)
def test_a_closed_or_full_stream_is_no_traceback(tmp_path, name, redirections):
    assert_sentence(*run_broken(tmp_path, name, redirections))


@pytest.mark.parametrize("name", ["help", "dev", "listen", "bench"])
@pytest.mark.parametrize("redirections", [f">{FULL}", ">&-"])
def test_a_result_that_cannot_be_written_is_a_sentence_and_exit_1(tmp_path, name, redirections):
    code, errors = run_broken(tmp_path, name, redirections)
    assert code == 1, errors
    assert "cannot write the result to standard output: " in errors


@each_command
def test_a_pipe_that_nobody_reads_is_no_traceback(tmp_path, name):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as stdout:
        assert_sentence(*run_broken(tmp_path, name, "", stdout))


@each_command
def test_a_terminal_that_has_gone_is_no_traceback(tmp_path, name):
    ours, theirs = pty.openpty()
    os.close(ours)
    with os.fdopen(theirs, "wb") as stdout:
        assert_sentence(*run_broken(tmp_path, name, "", stdout))
