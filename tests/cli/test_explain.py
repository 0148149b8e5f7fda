"""`explain`: addresses on stdout, the reason on stderr, whatever the verdict."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.cli.command_process import error_line, run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import DevServer

TOPICS = json.dumps([{"name": "orders", "route": {"rooms": ["order:{key}", "{header.region}"]}}])


def test_each_address_is_a_line(folder: Path) -> None:
    (folder / "value").write_bytes(b"{}")
    arguments = ["--topic", "orders", "--key", "42", "--header", "region=eu", "value"]
    result = run(folder, "explain", *arguments, TOPICS=TOPICS)
    assert result.exit_code == 0
    assert result.stdout_lines == ["room:order:42", "room:eu"]
    assert result.stderr_lines == ["It is for room order:42, room eu."]


@pytest.mark.parametrize(
    ("arguments", "stdin", "verdict"),
    [
        (["-"], b"{}", "unaddressed"),
        ([], b"", "unaddressed"),
        (["--key", "a*", "-"], b"{}", "dead"),
        (["--key", "k"], b"", "addressed"),
    ],
)
def test_the_exit_code_says_nothing_of_the_verdict(
    folder: Path, arguments: list[str], stdin: bytes, verdict: str
) -> None:
    result = run(
        folder, "explain", "--topic", "orders", "--json", *arguments, stdin=stdin, TOPICS=TOPICS
    )
    assert result.exit_code == 0
    (line,) = result.stdout_lines
    answer = json.loads(line)
    assert (answer["verdict"], answer["at"], answer["connected"]) == (verdict, None, None)


def test_a_position_in_kafka(dev: DevServer, folder: Path, account: str) -> None:
    settings = {"TOPICS": '["demo"]', "KAFKA__BOOTSTRAP_SERVERS": dev.kafka}
    published = ["--topic", "demo", "--account", account, "1"]
    (at,) = run(folder, "publish", *published, **settings).stdout_lines
    result = run(folder, "explain", "--at", at, **settings)
    assert (result.exit_code, result.stdout_lines) == (0, [f"account:{account}"])
    (line,) = run(folder, "explain", "--json", "--at", at, **settings).stdout_lines
    assert json.loads(line)["event"]["at"] == at
    for none in ("demo:0:999999", "demo:99:0"):
        assert none in error_line(run(folder, "explain", "--at", none, **settings), 1)


@pytest.mark.parametrize(
    ("arguments", "code", "problem"),
    [
        (["--topic", "ordres"], 1, "there is no topic 'ordres'"),
        (["--at", "ordres:0:0"], 1, "there is no topic 'ordres'"),
        ([], 2, "--topic"),
        (["--at", "orders:0"], 2, "--at"),
        (["--at", "orders:0:-1"], 2, "--at"),
        (["--at", "orders:0:1", "--key", "k"], 2, "--at"),
        (["--at", "orders:0:1", "--topic", "news"], 2, "--topic"),
        (["--topic", "orders", "--header", "region"], 2, "--header"),
        (["--topic", "orders", "no-such-file"], 1, "cannot read"),
    ],
)
def test_what_cannot_be_explained(folder: Path, arguments, code, problem) -> None:
    settings = {"TOPICS": TOPICS, "KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    assert problem in error_line(run(folder, "explain", *arguments, **settings), code)
