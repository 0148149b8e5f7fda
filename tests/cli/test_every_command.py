"""Rules for every command: wrong settings, the command's name, colours only on a terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from bridge import __version__
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
def test_unknown_variable_exits_with_2_and_is_named(folder, arguments):
    assert error_line(run(folder, *arguments, PROT="1"), 2).startswith("BRIDGE_PROT: ")


@each_command
def test_wrong_value_exits_with_2_and_is_named(folder, arguments):
    message = error_line(run(folder, *arguments, LIMITS__ROOMS="many"), 2)
    assert message.startswith("BRIDGE_LIMITS__ROOMS: ")


@each_command
def test_wrong_file_exits_with_2_and_is_named(folder: Path, arguments):
    (folder / "b.yaml").write_text("limits: {romms: 7}")
    message = error_line(run(folder, *arguments, "--config", "b.yaml"), 2)
    assert message.startswith("b.yaml: limits.romms: ")


@each_command
def test_wrong_env_file_exits_with_2_and_is_named(folder: Path, arguments):
    (folder / ".env").write_text("BRIDGE_TOPICS=orders\n")
    assert error_line(run(folder, *arguments), 2).startswith("BRIDGE_TOPICS: ")


@each_command
def test_long_error_stays_one_line(folder, arguments):
    assert "y" * 300 in error_line(run(folder, *arguments, HEARTBEAT_SECONDS="y" * 300), 2)


def test_command_is_installed_as_push_bridge():
    installed = Path(sys.executable).with_name("push-bridge")
    done = subprocess.run([installed, "--help"], capture_output=True, text=True, check=True)
    assert all(name in done.stdout for name in COMMANDS)


def test_version_is_printed_alone(folder):
    ended = run(folder, "--version")
    assert (ended.exit_code, ended.stdout_lines, ended.stderr_lines) == (0, [__version__], [])


def test_help_is_shown_without_a_command(folder):
    ended = run(folder)
    assert ended.exit_code in {0, 2}
    assert any("push-bridge" in line for line in (*ended.stdout_lines, *ended.stderr_lines))


def test_unknown_command_exits_with_2(folder):
    assert run(folder, "sevre").exit_code == 2


def on_a_terminal(folder: Path, *arguments: str) -> str:
    """Return what a command prints to a terminal."""
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
            pass  # how a pseudo-terminal reports its end
        finally:
            os.close(ours)
        process.wait(TIMEOUT_SECONDS)
    return printed.decode()


def test_pipe_gets_no_colours(folder):
    arguments = ["publish", "--topic", "demo", "1"]
    assert "\x1b[" in on_a_terminal(folder, *arguments)
    assert "\x1b" not in error_line(run(folder, *arguments), 2)


@pytest.mark.parametrize("servers", ["kafka:", "PLAINTEXT://kafka:9092", "a,,b"])
@pytest.mark.parametrize("name", ["publish", "bench"])
def test_malformed_kafka_option_exits_with_2(folder, name, servers):
    message = error_line(run(folder, *COMMANDS[name], "--kafka", servers), 2)
    assert message.startswith("--kafka: must be host:port")


@each_command
def test_variables_of_kubernetes_are_ignored_with_one_warning(folder, arguments):
    service = {"SERVICE_HOST": "10.0.0.7", "PORT": "tcp://10.0.0.7:8080"}
    ended = run(folder, *arguments, "--help", **service)
    assert ended.exit_code == 0
    if arguments[0] in {"who", "kick"}:
        ended = run(folder, *arguments, "--url", "127.0.0.1:1", "--token", "x" * 16, **service)
        warning = ended.stderr_lines[0]
        assert "BRIDGE_PORT, BRIDGE_SERVICE_HOST" in warning


@each_command
def test_the_token_of_listen_is_no_wrong_setting(folder, arguments):
    ended = run(folder, *arguments, TOKEN="x", LIMITS__ROOMS="many")
    assert error_line(ended, 2).startswith("BRIDGE_LIMITS__ROOMS: "), "BRIDGE_TOKEN is known"
