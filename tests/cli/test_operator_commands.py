"""`join`, `title`, `kick` and `who` against the API of a bridge."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from bridge.core.coordination.commands import Disconnect, Join, Leave, Revoke, SetRoomTitle
from bridge.core.ports import NotAcknowledged
from tests.cli.admin_api_server import TOKEN, AdminApiServer, serving_admin_api, serving_response
from tests.cli.command_process import error_line, run
from tests.cli.test_every_command import on_a_terminal
from tests.harness.frame_schemas import schema_validator
from tests.harness.ports import HOST, free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.command_process import CommandResult

COMMANDS = {
    "join": ["join", "hall", "--account", "ann"],
    "title": ["title", "hall", "The hall"],
    "kick": ["kick", "--account", "ann"],
    "who": ["who"],
}
each_command = pytest.mark.parametrize("arguments", COMMANDS.values(), ids=COMMANDS)


@pytest.fixture(scope="module")
def running() -> Iterator[AdminApiServer]:
    with serving_admin_api() as backstage:
        yield backstage


@pytest.fixture
def stage(running: AdminApiServer) -> AdminApiServer:
    running.backend.command_publisher.commands.clear()
    running.backend.command_publisher.error = None
    return running


def call(stage: AdminApiServer, folder: Path, *arguments: str | bytes) -> CommandResult:
    return run(folder, *arguments, "--url", stage.url, "--token", TOKEN)


# -- commands --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "ordered"),
    [
        (["join", "hall", "--account", "ann"], [Join("hall", account="ann")]),
        (["join", "hall", "--account", "ann", "--leave"], [Leave("hall", account="ann")]),
        (["join", "hall", "--connection", "c1"], [Join("hall", "c1")]),
        (["join", "hall", "--connection", "c1", "--leave"], [Leave("hall", "c1")]),
        (["title", "hall", "The hall, é"], [SetRoomTitle("hall", "The hall, é")]),
        (["title", "hall", ""], [SetRoomTitle("hall", "")]),
        (["kick", "--account", "ann"], [Disconnect(account="ann")]),
        (["kick", "--connection", "c1", "--reason", "a & b"], [Disconnect("c1", reason="a & b")]),
        (
            ["kick", "--account", "ann", "--reason", "so", "--revoke"],
            [Disconnect(account="ann", reason="so"), Revoke("ann")],
        ),
    ],
    ids=str,
)
def test_command_is_sent_and_its_position_printed(stage, folder, arguments, ordered):
    stage.backend.connect_here("c1")
    ended = call(stage, folder, *arguments)
    assert (ended.exit_code, ended.stderr_lines) == (0, [])
    assert stage.backend.command_publisher.commands == ordered
    assert ended.stdout_lines == [f"push-bridge.control:0:{at}" for at in range(len(ordered))]


def test_json_prints_the_position_as_an_object(stage, folder):
    ended = call(stage, folder, "kick", "--account", "ann", "--revoke", "--json")
    assert [json.loads(line) for line in ended.stdout_lines] == [
        {"at": "push-bridge.control:0:0"},
        {"at": "push-bridge.control:0:1"},
    ]


def test_names_are_escaped_in_the_path(stage, folder):
    names = ["a/%2F//b?c#d", "-é ж [red]"]
    for name in names:
        where = ["--url", stage.url, "--token", TOKEN]
        ended = run(folder, "join", f"--account={name}", *where, "--", name)
        assert ended.exit_code == 0, ended
    assert stage.backend.command_publisher.commands == [Join(name, account=name) for name in names]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["join", "hall"], "--account or --connection"),
        (["join", "hall", "--account", "a", "--connection", "c"], "--account or --connection"),
        (["join", "a,b", "--account", "ann"], "room: not a name"),
        (["join", "hall", "--account", b"\xff"], "account: not a name"),
        (["join", "hall", "--connection", "c*"], "connection: not a name"),
        (["kick"], "--account or --connection"),
        (["kick", "--connection", "c1", "--revoke"], "--revoke"),
        (["kick", "--account", "ann", "--reason", b"\xff"], "UTF-8"),
        (["title", "hall", b"\xff"], "UTF-8"),
        (["title", "hall", "x" * 201], "422"),
        (["who", "--room", "a,b"], "room: not a name"),
        (["who", "--topic", "shop:orders"], "422"),
    ],
    ids=str,
)
def test_wrong_arguments_exit_with_2(stage, folder, arguments, words):
    assert words in error_line(call(stage, folder, *arguments), 2)
    assert stage.backend.command_publisher.commands == []


def test_unknown_connection_exits_with_1(stage, folder):
    for arguments in (["join", "hall"], ["kick"]):
        message = error_line(call(stage, folder, *arguments, "--connection", "nobody"), 1)
        assert message == "refused: 404 there is no connection 'nobody'"


def test_unacknowledged_command_exits_with_1(stage, folder):
    stage.backend.command_publisher.error = NotAcknowledged()
    message = error_line(call(stage, folder, "join", "hall", "--account", "ann"), 1)
    assert message.startswith("refused: 503 ")
    assert "retry" in message


# -- who -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def full() -> Iterator[AdminApiServer]:
    with serving_admin_api() as backstage:
        registry = backstage.backend
        registry.connect_here(
            "c1", "ann", rooms=["hall", "yard"], topics=["orders"], types=["order.*"]
        )
        registry.connect_elsewhere("c2", None, ["hall"], ["orders"])
        registry.connect_elsewhere("c3", "x" * 150, ["\ufeffevil", "[red]"], [])
        registry.last_seen["c1"] = 1_795_000_000.123
        yield backstage


def test_who_prints_one_line_per_connection(full, folder):
    ended = call(full, folder, "who")
    assert (ended.exit_code, ended.stderr_lines) == (0, [])
    header, *rows = (line.split() for line in ended.stdout_lines)
    names = ["connection", "account", "rooms", "topics", "types", "instance", "address", "since"]
    assert header == [*names, "heard", "queued"]
    since = "2026-11-18T11:06:40.123Z"
    began = "1970-01-01T00:00:00.000Z"
    assert rows == [
        *(["c1", "ann", "hall,yard", "orders", "order.*", "i1", "192.0.2.1", began, since, "0"],),
        *(["c2", "-", "hall", "orders", "all", "i2", "192.0.2.2", since, "-", "-"],),
        ["c3", "x" * 150, r"\ufeffevil,[red]", "-", "all", "i2", "192.0.2.2", since, "-", "-"],
    ]


def test_who_json_prints_the_objects_of_the_api(full, folder):
    ended = call(full, folder, "who", "--json")
    connections = [json.loads(line) for line in ended.stdout_lines]
    assert [each["id"] for each in connections] == ["c1", "c2", "c3"]
    for each in connections:
        schema_validator("http/connection").validate(each)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (["--account", "ann"], ["c1"]),
        (["--room", "hall"], ["c1", "c2"]),
        (["--topic", "orders", "--instance", "i2"], ["c2"]),
        (["--room", "[red]"], ["c3"]),
    ],
)
def test_who_filters_connections(full, folder, wanted, found):
    ended = call(full, folder, "who", "--json", *wanted)
    assert [json.loads(line)["id"] for line in ended.stdout_lines] == found


def test_who_without_connections_is_no_error(full, folder):
    ended = call(full, folder, "who", "--account", "nobody")
    assert (ended.exit_code, ended.stdout_lines, ended.stderr_lines) == (0, [], ["nobody"])
    ended = call(full, folder, "who", "--account", "nobody", "--json")
    assert (ended.exit_code, ended.stdout_lines, ended.stderr_lines) == (0, [], [])


def test_who_prints_all_pages(folder):
    with serving_admin_api() as many:
        for number in range(2_500):
            many.backend.connect_elsewhere(f"c{number:04}")
        ended = call(many, folder, "who")
    assert [line.split()[0] for line in ended.stdout_lines[1:]] == [
        f"c{n:04}" for n in range(2_500)
    ]


def test_who_uses_colours_only_on_a_terminal(full, folder):
    arguments = ["who", "--url", full.url, "--token", TOKEN]
    assert "\x1b[" in on_a_terminal(folder, *arguments)
    assert "\x1b" not in "".join(run(folder, *arguments).stdout_lines)


# -- the bridge and the token --------------------------------------------------------------------


@each_command
def test_url_and_token_default_to_the_settings(stage, folder, arguments):
    settings = {
        "PORT": str(stage.port),
        "ADMIN_TOKENS": json.dumps([TOKEN, "another-token-of-operators"]),
    }
    assert run(folder, *arguments, **settings).exit_code == 0


def test_admin_port_is_used_if_configured(stage, folder):
    settings = {"PORT": "1", "ADMIN_PORT": str(stage.port), "ADMIN_TOKENS": json.dumps([TOKEN])}
    assert run(folder, "who", **settings).exit_code == 0
    elsewhere = {"HOST": "192.0.2.1", "ADMIN_HOST": "127.0.0.1"}
    assert run(folder, "who", **settings, **elsewhere).exit_code == 0


@each_command
def test_wrong_token_exits_with_1(stage, folder, arguments):
    ended = run(folder, *arguments, "--url", stage.url, "--token", "another")
    assert error_line(ended, 1).startswith("refused: 401 ")
    assert stage.backend.command_publisher.commands == []


@each_command
def test_missing_token_exits_with_2(stage, folder, arguments):
    message = error_line(run(folder, *arguments, "--url", stage.url), 2)
    assert message.startswith("BRIDGE_ADMIN_TOKENS: ")
    assert stage.backend.command_publisher.commands == []


def test_token_invalid_in_a_header_exits_with_2(stage, folder):
    for token in ("", "a b", b"\xff"):
        ended = run(folder, "who", "--url", stage.url, "--token", token)
        assert error_line(ended, 2).startswith("--token: ")


@each_command
def test_dev_needs_no_token(folder, arguments):
    with serving_admin_api(page_token=TOKEN) as stage:
        assert run(folder, *arguments, "--url", stage.url).exit_code == 0


@pytest.mark.parametrize("token", [[], ["--token", TOKEN]])
def test_unreachable_bridge_exits_with_1(folder, token):
    for url in ("http://127.0.0.1:1", "no-such-host.invalid:8080"):
        message = error_line(run(folder, "who", "--url", url, *token), 1)
        assert url.removeprefix("http://") in message
        assert "does not answer" in message


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"NONSENSE\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\n{",
        b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
    ],
)
def test_response_of_another_server_exits_with_1(folder, answer):
    with serving_response(answer) as (url, _):
        assert error_line(run(folder, "who", "--url", url, "--token", TOKEN), 1)


def test_redirects_are_not_followed_with_the_token(folder):
    with serving_response(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as (elsewhere, requests):
        redirect = f"HTTP/1.1 302 Found\r\nLocation: {elsewhere}\r\nContent-Length: 0\r\n\r\n"
        with serving_response(redirect.encode()) as (url, first):
            assert "302" in error_line(run(folder, "who", "--url", url, "--token", TOKEN), 1)
            assert len(first) == 1
    assert requests == []


@pytest.mark.parametrize(
    "url",
    ["ftp://x", "http://x:0", "http://x:99999", "http://[::1", "http://a b", "http://x/?y", ""],
)
def test_invalid_url_exits_with_2(folder, url):
    assert "address" in error_line(run(folder, "who", "--url", url, "--token", TOKEN), 2)


def test_a_token_does_not_go_to_a_host_that_a_foreign_env_file_names(folder):
    (folder / ".env").write_text("BRIDGE_HOST=192.0.2.1\n")
    tokens = '["a-token-of-an-operator"]'
    message = error_line(run(folder, "who", ADMIN_TOKENS=tokens), 2)
    assert message.startswith("BRIDGE_HOST: comes from .env in this folder")


def test_a_proxy_that_fails_is_named(folder: Path) -> None:
    """And nothing of its password."""
    (port,) = free_ports(1)
    arguments = ["--url", "http://192.0.2.1:8080", "--token", "x" * 16]
    with pytest.MonkeyPatch.context() as patch:
        for name in ("http_proxy", "NO_PROXY", "no_proxy"):
            patch.delenv(name, raising=False)
        patch.setenv("HTTP_PROXY", f"http://user:hidden@{HOST}:{port}")
        line = error_line(run(folder, "who", *arguments), 1)
    assert f"through the proxy {HOST}:{port}" in line
    assert "HTTP_PROXY" in line
    assert "hidden" not in line
