"""What holds for every command: wrong settings, its name, and colours only for people."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.command_process import TIMEOUT_SECONDS, command_environment, error_line, run

COMMANDS = {
    "dev": ["dev"],
    "serve": ["serve"],
    "check": ["check"],
    "publish": ["publish", "--topic", "demo", "--all", "1"],
    "listen": ["listen"],
    "join": ["join", "hall", "--account", "ann"],
    "title": ["title", "hall", "The hall"],
    "kick": ["kick", "--account", "ann"],
    "who": ["who"],
    "bench": ["bench", "fanout", "--topic", "demo"],
}
each_command = pytest.mark.parametrize("arguments", COMMANDS.values(), ids=COMMANDS)


@each_command
def test_an_unknown_variable_is_exit_2_and_one_line_that_names_it(folder, arguments):
    assert error_line(run(folder, *arguments, PROT="1"), 2).startswith("BRIDGE_PROT: ")


@each_command
def test_a_wrong_value_is_exit_2_and_one_line_that_names_it(folder, arguments):
    told = error_line(run(folder, *arguments, LIMITS__ROOMS="many"), 2)
    assert told.startswith("BRIDGE_LIMITS__ROOMS: ")


@each_command
def test_what_is_wrong_in_the_file_is_exit_2_and_one_line_that_names_it(folder: Path, arguments):
    (folder / "b.yaml").write_text("limits: {romms: 7}")
    told = error_line(run(folder, *arguments, "--config", "b.yaml"), 2)
    assert told.startswith("b.yaml: limits.romms: ")


@each_command
def test_what_is_wrong_in_env_is_exit_2_and_one_line_that_names_it(folder: Path, arguments):
    (folder / ".env").write_text("BRIDGE_TOPICS=orders\n")
    assert error_line(run(folder, *arguments), 2).startswith("BRIDGE_TOPICS: ")


@each_command
def test_a_long_line_stays_one_line(folder, arguments):
    assert "y" * 300 in error_line(run(folder, *arguments, HEARTBEAT_SECONDS="y" * 300), 2)


def test_the_command_is_installed_under_its_name():
    installed = Path(sys.executable).with_name("push-bridge")
    done = subprocess.run([installed, "--help"], capture_output=True, text=True, check=True)
    assert all(name in done.stdout for name in COMMANDS)


def test_without_a_command_it_shows_its_help(folder):
    ended = run(folder)
    assert ended.exit_code in {0, 2}
    assert any("push-bridge" in line for line in (*ended.stdout_lines, *ended.stderr_lines))


def test_an_unknown_command_is_exit_2(folder):
    assert run(folder, "sevre").exit_code == 2


def on_a_terminal(folder: Path, *arguments: str) -> str:
    """What a command prints to a terminal, until it ends."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "bridge", *arguments],
        cwd=folder,
        env=command_environment() | {"TERM": "xterm-256color"},
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        printed = b""
        try:
            while data := os.read(ours, 4096):
                printed += data
        except OSError:
            pass  # so a terminal tells its end
        finally:
            os.close(ours)
        process.wait(TIMEOUT_SECONDS)
    return printed.decode()


def test_colours_vanish_in_a_pipe(folder):
    arguments = ["publish", "--topic", "demo", "1"]
    assert "\x1b[" in on_a_terminal(folder, *arguments)
    assert "\x1b" not in error_line(run(folder, *arguments), 2)
