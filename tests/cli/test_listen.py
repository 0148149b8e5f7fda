"""`listen`: prints a client's events, comes back where it may, and says why where it may not."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from bridge.client.options import websocket_url
from tests.cli.command import Command, environment, run, sentence, until
from tests.harness.frames import read_frame
from tests.harness.ports import HOST, free_ports

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Dev

LARGE = "9" * 5000  # more digits than Python makes a number of


def publish(dev: Dev, folder: Path, account: str, data: str, *more: str) -> str:
    arguments = ["--kafka", dev.kafka, "--topic", "demo", "--account", account, *more, data]
    ended = run(folder, "publish", *arguments)
    assert ended.code == 0, ended
    return ended.out[0]


def test_with_json_each_frame_is_a_line_as_it_came(dev, folder, account):
    with Command(folder, "listen", dev.url, "--account", account, "--json") as listening:
        welcome = read_frame(listening.says('"welcome"'))
        assert (welcome["account"], welcome["op"]) == (account, "welcome")
        data = f'{{"emoji": ":100:", "n": {LARGE}, "markup": "[bold]x[/]"}}'
        at = publish(dev, folder, account, data)
        line = listening.says('"event"')
        assert f'"data":{data}' in line
        assert f'"at":"{at}"' in line
        assert listening.out[0] == listening.says('"welcome"')
        assert listening.err == []


def test_without_json_an_event_is_a_line_for_people(dev, folder, account):
    with Command(folder, "listen", dev.url, "--account", account, "--room", "r") as listening:
        assert account in listening.says("connected")
        data = f'{{"a": ":100: [b]é[/b]", "n": {LARGE}}}'
        publish(dev, folder, account, data, "--type", "x.y")
        line = listening.says("x.y")
        assert data in line
        assert "demo" in line
        assert listening.out == [line], "what is no event is on stderr"


def test_what_a_terminal_would_obey_is_written_out(dev, folder, account):
    with Command(folder, "listen", dev.url, "--account", account) as listening:
        listening.says("connected")
        publish(dev, folder, account, '"\x9b2J \u202e end"', "--type", "\x1b[2J\x07\r")
        line = listening.says("end")
        assert all(each.isprintable() for each in line), repr(line)
        assert r"\x1b[2J\x07\r" in line


def test_types_topics_and_rooms_are_asked_for(dev, folder, account):
    asked = ["--type", "a.*", "--topic", "demo", "--topic", "orders", "--room", "r", "--room", "s"]
    with Command(folder, "listen", dev.url, "--account", account, *asked, "--json") as listening:
        welcome = read_frame(listening.says('"welcome"'))
        assert (welcome["topics"], welcome["rooms"]) == (["demo", "orders"], ["r", "s"])
        publish(dev, folder, account, '"no"', "--type", "b")
        publish(dev, folder, account, '"yes"', "--type", "a.b")
        listening.says('"yes"')
        assert not any('"no"' in line for line in listening.out)


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
def test_any_of_the_bridges_addresses_will_do(url, target):
    assert websocket_url(url) == target


@pytest.mark.parametrize(
    "url",
    ["ftp://a", "http://", "http://a:port", "http://a:99999", "http://[", "http://::1:80", ""],
)
def test_what_is_no_address_is_a_sentence_and_exit_2(folder, url):
    assert "not an address" in sentence(run(folder, "listen", url), 2)


def test_a_refusal_for_good_is_a_sentence_and_exit_1(dev, folder):
    assert "4501" in sentence(run(folder, "listen", dev.url, "--topic", "no-such-topic"), 1)


def test_a_bad_request_is_a_sentence_and_exit_1(dev, folder):
    told = sentence(run(folder, "listen", dev.url, "--since", "yesterday"), 1)
    assert "4502" in told
    assert "since: " in told
    assert "{" not in told


def said(command: Command, words: str) -> int:
    return sum(words in line for line in command.err)


async def test_it_comes_back_from_whatever_is_not_for_good(folder):
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
    assert ended.code == 1
    *tries, last = ended.err
    assert len(tries) == 3
    assert "502" in tries[0]
    assert last == "refused: 403 enough"


def test_it_waits_for_a_bridge_and_survives_its_restart(folder, account):
    (port,) = free_ports(1)
    with Command(folder, "listen", "--account", account, PORT=str(port)) as listening:
        listening.says(f":{port}")
        for times in (1, 2):
            with Command(folder, "dev", PORT=str(port)) as bridge:
                until(lambda: said(listening, "connected") == times, "a connection")  # noqa: B023
                bridge.signal(signal.SIGTERM)
                assert bridge.ends() == 0
            until(lambda: said(listening, "4001") == times, "the end of it")  # noqa: B023
        assert listening.runs


def test_it_ends_when_nobody_reads_its_output_any_more(dev, folder, account):
    arguments = [sys.executable, "-m", "bridge", "listen", dev.url, "--account", account, "--json"]
    with subprocess.Popen(
        arguments, cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as listening:
        assert listening.stdout is not None
        assert b"welcome" in listening.stdout.readline()
        listening.stdout.close()
        publish(dev, folder, account, "1")
        listening.wait(60)
        assert listening.stderr is not None
        assert b"Traceback" not in listening.stderr.read()
