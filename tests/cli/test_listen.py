"""`listen`: prints a client's events, reconnects, and prints why it ended."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from bridge.cli import listen as listen_module
from bridge.cli.listen import since_time
from bridge.client.options import websocket_url
from tests.cli.command_process import (
    CommandProcess,
    command_environment,
    error_line,
    run,
    wait_until,
)
from tests.harness.frame_schemas import read_frame
from tests.harness.ports import HOST, free_ports

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from tests.cli.conftest import DevServer

NOW = datetime(2026, 1, 10, 12, tzinfo=UTC)
LARGE = "9" * 5000  # more digits than Python converts to an int


def publish(dev: DevServer, folder: Path, account: str, data: str, *more: str) -> str:
    arguments = ["--kafka", dev.kafka, "--topic", "demo", "--account", account, *more, data]
    ended = run(folder, "publish", *arguments)
    assert ended.exit_code == 0, ended
    return ended.stdout_lines[0]


def test_listen_json_prints_frames_as_received(dev, folder, account):
    with CommandProcess(folder, "listen", dev.url, "--account", account, "--json") as listening:
        welcome = read_frame(listening.wait_for_line('"welcome"'))
        assert (welcome["account"], welcome["op"]) == (account, "welcome")
        data = f'{{"emoji": ":100:", "n": {LARGE}, "markup": "[bold]x[/]"}}'
        at = publish(dev, folder, account, data)
        line = listening.wait_for_line('"event"')
        assert f'"data":{data}' in line
        assert f'"at":"{at}"' in line
        assert listening.stdout_lines[0] == listening.wait_for_line('"welcome"')
        assert listening.stderr_lines == []


def test_listen_prints_one_line_per_event(dev, folder, account):
    with CommandProcess(
        folder, "listen", dev.url, "--account", account, "--room", "r"
    ) as listening:
        assert account in listening.wait_for_line("connected")
        data = f'{{"a": ":100: [b]é[/b]", "n": {LARGE}}}'
        publish(dev, folder, account, data, "--type", "x.y")
        line = listening.wait_for_line("x.y")
        assert data in line
        assert "demo" in line
        assert listening.stdout_lines == [line], "what is no event is on stderr"


def test_control_characters_are_escaped(dev, folder, account):
    with CommandProcess(folder, "listen", dev.url, "--account", account) as listening:
        listening.wait_for_line("connected")
        publish(dev, folder, account, '"\x9b2J \u202e end"', "--type", "\x1b[2J\x07\r")
        line = listening.wait_for_line("end")
        assert all(each.isprintable() for each in line), repr(line)
        assert r"\x1b[2J\x07\r" in line


def test_types_topics_and_rooms_are_requested(dev, folder, account):
    options = [
        "--type",
        "a.*",
        "--topic",
        "demo",
        "--topic",
        "orders",
        "--room",
        "r",
        "--room",
        "s",
    ]
    with CommandProcess(
        folder, "listen", dev.url, "--account", account, *options, "--json"
    ) as listening:
        welcome = read_frame(listening.wait_for_line('"welcome"'))
        assert (welcome["topics"], welcome["rooms"]) == (["demo", "orders"], ["r", "s"])
        publish(dev, folder, account, '"no"', "--type", "b")
        publish(dev, folder, account, '"yes"', "--type", "a.b")
        listening.wait_for_line('"yes"')
        assert not any('"no"' in line for line in listening.stdout_lines)


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://bridge.example", "ws://bridge.example/ws"),
        ("https://bridge.example/", "wss://bridge.example/ws"),
        ("ws://bridge.example:1/ws", "ws://bridge.example:1/ws"),
        ("wss://bridge.example/push", "wss://bridge.example/push/ws"),
        ("bridge.example:8080", "ws://bridge.example:8080/ws"),
        ("http://[::1]:8080", "ws://[::1]:8080/ws"),
    ],
)
def test_every_url_of_the_bridge_is_accepted(url, target):
    assert websocket_url(url) == target


@pytest.mark.parametrize(
    "url",
    ["ftp://a", "http://", "http://a:port", "http://a:99999", "http://[", "http://::1:80", ""],
)
def test_invalid_url_exits_with_2(folder, url):
    assert "not the address" in error_line(run(folder, "listen", url), 2)


def test_final_refusal_exits_with_1(dev, folder):
    assert "4501" in error_line(run(folder, "listen", dev.url, "--topic", "no-such-topic"), 1)


def test_bad_request_exits_with_1(dev, folder):
    message = error_line(run(folder, "listen", dev.url, "--since", "yesterday"), 1)
    assert "4502" in message
    assert "since: " in message
    assert "{" not in message


def count_lines(command: CommandProcess, words: str) -> int:
    return sum(words in line for line in command.stderr_lines)


async def test_listen_reconnects_after_temporary_failures(folder):
    answers = [
        b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 403 Forbidden\r\nContent-Length: 7\r\n\r\nenough\n",
    ]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answers.pop(0))
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, HOST, 0) as server:
        port = server.sockets[0].getsockname()[1]
        ended = await asyncio.to_thread(run, folder, "listen", f"{HOST}:{port}")
    assert answers == []
    assert ended.exit_code == 1
    *tries, last = ended.stderr_lines
    assert len(tries) == 3
    assert "502" in tries[0]
    assert last == "refused: 403 enough"


def test_listen_waits_for_a_bridge_and_survives_its_restart(folder, account):
    (port,) = free_ports(1)
    with CommandProcess(folder, "listen", "--account", account, PORT=str(port)) as listening:
        listening.wait_for_line(f":{port}")
        for times in (1, 2):
            with CommandProcess(folder, "dev", PORT=str(port)) as bridge:
                wait_until(lambda: count_lines(listening, "connected") == times, "a connection")  # noqa: B023
                bridge.send_signal(signal.SIGTERM)
                assert bridge.wait_exit() == 0
            wait_until(lambda: count_lines(listening, "4001") == times, "the end of it")  # noqa: B023
        assert listening.is_running


def test_listen_ends_when_its_output_is_closed(dev, folder, account):
    arguments = [sys.executable, "-m", "bridge", "listen", dev.url, "--account", account, "--json"]
    with subprocess.Popen(
        arguments,
        cwd=folder,
        env=command_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as listening:
        assert listening.stdout is not None
        assert b"welcome" in listening.stdout.readline()
        listening.stdout.close()
        publish(dev, folder, account, "1")
        listening.wait(60)
        assert listening.stderr is not None
        assert b"Traceback" not in listening.stderr.read()


@pytest.mark.parametrize(
    ("since", "time"),
    [
        ("90s", "2026-01-10T11:58:30.000Z"),
        ("15m", "2026-01-10T11:45:00.000Z"),
        ("1h", "2026-01-10T11:00:00.000Z"),
        ("7d", "2026-01-03T12:00:00.000Z"),
        ("0s", "2026-01-10T12:00:00.000Z"),
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
        ("1w", "1w"),
        ("-1h", "-1h"),
        ("", ""),
    ],
)
def test_since_may_be_a_duration(since, time):
    assert since_time(since, NOW) == time


def test_since_before_all_times_exits_with_2(folder):
    message = error_line(run(folder, "listen", "--since", "9999999999d"), 2)
    assert message.startswith("--since: ")


def test_listen_since_a_duration_replays(dev, folder, account):
    publish(dev, folder, account, '"before"')
    arguments = ["listen", dev.url, "--account", account, "--since", "1h"]
    with CommandProcess(folder, *arguments) as listening:
        assert "before" in listening.wait_for_line("before")


def test_listen_on_loopback_uses_no_proxy(dev, folder, account, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "WS_PROXY", "HTTPS_PROXY"):
        monkeypatch.setitem(os.environ, name, "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    with CommandProcess(folder, "listen", dev.url, "--account", account) as listening:
        assert account in listening.wait_for_line("connected")


def test_listen_prints_rooms_that_a_backend_adds(dev, folder, account):
    with CommandProcess(folder, "listen", dev.url, "--account", account) as listening:
        listening.wait_for_line("connected")
        assert run(folder, "join", "hall", "--account", account, "--url", dev.url).exit_code == 0
        assert listening.wait_for_line("rooms:") == "rooms: +hall"


@pytest.mark.parametrize(
    ("options", "token"),
    [({}, "of-environment"), ({"token": "given"}, "given"), ({"account": "ann"}, None)],
)
def test_listen_takes_its_token_from_the_environment(monkeypatch, tmp_path, options, token):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BRIDGE_TOKEN", "of-environment")
    used: list[str | None] = []
    monkeypatch.setattr(listen_module, "run", lambda main: main.close())
    monkeypatch.setattr(listen_module, "_print_events", _record(used))
    listen_module.listen(**options)
    assert used == [token]


def _record(used: list[str | None]) -> Callable[..., Coroutine[None, None, None]]:
    async def finish() -> None:
        pass

    def print_events(
        _url: str, options: dict[str, str | None], _as_json: bool
    ) -> Coroutine[None, None, None]:
        used.append(options["token"])
        return finish()

    return print_events
