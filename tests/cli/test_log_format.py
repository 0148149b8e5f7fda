"""`BRIDGE_LOG_FORMAT=json`: every line on stderr is an object, also the first and the last."""

from __future__ import annotations

import json
import logging
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from bridge.cli.log_output import JsonFormatter
from tests.cli.command_process import CommandProcess, run
from tests.cli.conftest import DevServer, next_frame
from tests.harness.ports import HOST, free_ports

if TYPE_CHECKING:
    from pathlib import Path

OPEN = {"TOPICS": '["demo"]', "AUTH__MODE": "none", "INSTANCE": "blue"}
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


def parse(lines: list[str]) -> list[dict[str, Any]]:
    """Parse every line; each has the four fields."""
    objects = [json.loads(line) for line in lines]
    for each in objects:
        assert re.fullmatch(TIME, each["time"]), each
        assert each["level"] in {"debug", "info", "warning", "error", "critical"}
        assert isinstance(each["message"], str)
        assert isinstance(each["instance"], str)
    return objects


async def test_each_line_of_serve_is_an_object(dev: DevServer, folder: Path, account: str) -> None:
    (port,) = free_ports(1)
    settings = {"KAFKA__BOOTSTRAP_SERVERS": dev.kafka, "PORT": str(port), "LOG_FORMAT": "json"}
    with CommandProcess(folder, "serve", **OPEN, **settings) as command:
        command.wait_for_line("ready")
        server = DevServer(command, f"http://{HOST}:{port}", dev.kafka)
        async with server.client(f"account={account}") as client:
            await next_frame(client, "welcome")
        command.send_signal(signal.SIGTERM)
        assert command.wait_exit() == 0
    lines = parse(command.stderr_lines)
    assert {each["instance"] for each in lines} == {"blue"}
    messages = [each["message"] for each in lines]
    assert any(message.startswith("ready: serving demo") for message in messages)
    (opened,) = [each for each in lines if each["message"].startswith("a client connected")]
    (closed,) = [each for each in lines if each["message"].startswith("a client disconnected")]
    assert (opened["account"], opened["transport"]) == (account, "websocket")
    assert (closed["connection"], closed["code"]) == (opened["connection"], 1000)
    assert any(message.startswith("draining") for message in messages)


@pytest.mark.parametrize(
    ("settings", "code", "text"),
    [
        ({"LOG_FORMAT": "json"}, 2, "BRIDGE_TOPICS"),
        ({"LOG_FORMAT": "json", "PORT": "many"}, 2, "BRIDGE_PORT"),
        ({"LOG_FORMAT": "json", "TOPICS": '["demo"]'}, 2, "BRIDGE_AUTH__"),
        ({"LOG_FORMAT": "json", "HOST": "192.0.2.1", **OPEN}, 1, "cannot listen"),
    ],
)
def test_an_error_at_the_start_is_an_object(folder: Path, settings, code, text) -> None:
    result = run(folder, "serve", **settings)
    assert result.exit_code == code
    (line,) = parse(result.stderr_lines)
    assert line["level"] == "error"
    assert text in line["message"]


def test_the_format_of_the_file_holds_for_an_error_in_the_file(folder: Path) -> None:
    (folder / "bridge.yaml").write_text("log_format: json\ninstance: blue\nport: many\n")
    result = run(folder, "serve", "--config", "bridge.yaml")
    (line,) = parse(result.stderr_lines)
    assert (result.exit_code, line["instance"]) == (2, "blue")
    assert "port" in line["message"]


def test_an_error_that_nobody_caught_is_one_object_with_its_traceback() -> None:
    program = (
        "from bridge.cli.log_output import log_to_stderr\n"
        "import warnings, threading\n"
        "log_to_stderr('info', 'json', 'blue')\n"
        "warnings.warn('old')\n"
        "thread = threading.Thread(target=lambda: 1 / 0); thread.start(); thread.join()\n"
        "class Bad:\n"
        "    def __del__(self): raise ValueError('in a finalizer')\n"
        "Bad()\n"
        "raise RuntimeError('a bug')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True
    )
    lines = parse(done.stderr.splitlines())
    assert [each["level"] for each in lines] == ["warning", "error", "error", "critical"]
    assert all("Traceback" in each["traceback"] for each in lines[1:])
    assert "RuntimeError: a bug" in lines[-1]["traceback"]


def test_text_stays_as_it_is(folder: Path) -> None:
    result = run(folder, "serve", LOG_FORMAT="text")
    assert result.stderr_lines[0].startswith("BRIDGE_TOPICS: ")


def test_an_unknown_format_is_a_wrong_setting(folder: Path) -> None:
    result = run(folder, "serve", LOG_FORMAT="xml")
    assert result.exit_code == 2
    assert result.stderr_lines[0].startswith("BRIDGE_LOG_FORMAT: ")


def record(message: str, *args: object, **more: Any) -> logging.LogRecord:
    made = logging.LogRecord("uvicorn.error", logging.WARNING, "f.py", 1, message, args, None)
    for name, value in more.items():
        setattr(made, name, value)
    return made


def test_a_message_of_many_lines_is_one_line() -> None:
    line = JsonFormatter("blue").format(record("a\nb\u2028c\ud800 %s", "é"))
    assert line.isascii()
    assert "\n" not in line
    assert json.loads(line)["message"] == "a\nb\u2028c\ud800 é"


def test_a_wrong_placeholder_loses_no_line() -> None:
    assert "%d x" in json.loads(JsonFormatter("blue").format(record("%d x", "y")))["message"]


def test_more_fields_replace_none_of_the_four() -> None:
    fields = {"level": "forged", "instance": "other", "code": 4001}
    line = json.loads(JsonFormatter("blue").format(record("m", fields=fields)))
    assert (line["level"], line["instance"], line["code"]) == ("warning", "blue", 4001)
