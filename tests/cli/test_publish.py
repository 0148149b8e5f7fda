"""`publish`: an event reaches its audience, or an error and an exit code say why not."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING

import pytest

from tests.cli.command_process import error_line, run
from tests.cli.conftest import next_frame
from tests.harness.ports import HOST, free_ports

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.command_process import CommandResult
    from tests.cli.conftest import DevServer

BIG = '{"n": 123456789012345678901234567890, "x": 1.50, "s": ":100: é"}'


def publish(
    dev: DevServer, folder: Path, *arguments: str | bytes, stdin: bytes = b""
) -> CommandResult:
    return run(folder, "publish", "--kafka", dev.kafka, *arguments, stdin=stdin)


async def test_event_reaches_its_account_unchanged(dev, folder, account):
    async with dev.client(f"account={account}&topics=orders") as client:
        await next_frame(client, "welcome")
        fields = ["--type", "order.shipped", "--tag", "3", "--key", "k"]
        ended = publish(dev, folder, "--topic", "orders", "--account", account, *fields, BIG)
        assert (ended.exit_code, ended.stderr_lines) == (0, [])
        text = await client.recv()
    assert f'"data":{BIG}' in text
    event = json.loads(text)
    assert [event["at"]] == ended.stdout_lines
    assert (event["to"], event["type"], event["tag"]) == ("account", "order.shipped", "3")


async def test_publish_json_prints_id_and_position(dev, folder, account):
    async with dev.client(f"account={account}") as client:
        await next_frame(client, "welcome")
        ended = publish(dev, folder, "--topic", "demo", "--account", account, "--json", "1")
        event = await next_frame(client, "event")
    assert ended.exit_code == 0
    (line,) = ended.stdout_lines
    assert json.loads(line) == {"id": event["id"], "at": event["at"]}


@pytest.mark.parametrize("data", [["-"], []])
async def test_data_is_read_from_standard_input(dev, folder, account, data):
    async with dev.client(f"account={account}") as client:
        await next_frame(client, "welcome")
        arguments = ["--topic", "demo", "--account", account, *data]
        assert publish(dev, folder, *arguments, stdin=b' {"from": "stdin"}\n').exit_code == 0
        assert (await next_frame(client, "event"))["data"] == {"from": "stdin"}


async def test_several_accounts_and_rooms_are_addressed(dev, folder, account):
    room = f"room-{uuid.uuid4().hex}"
    async with (
        dev.client(f"account={account}") as one,
        dev.client(f"account=other-{account}") as other,
        dev.client(f"rooms={room}") as member,
    ):
        for client in (one, other, member):
            await next_frame(client, "welcome")
        audience = ["--account", account, "--account", f"other-{account}"]
        audience += ["--room", "nobody's", "--room", room]
        assert publish(dev, folder, "--topic", "demo", *audience, "1").exit_code == 0
        tos = [(await next_frame(client, "event"))["to"] for client in (one, other, member)]
    assert tos == ["account", "account", f"room:{room}"]


async def test_all_addresses_every_client(dev, folder):
    async with dev.client("types=to.all") as client:
        await next_frame(client, "welcome")
        assert (
            publish(dev, folder, "--topic", "demo", "--all", "--type", "to.all", "1").exit_code == 0
        )
        assert (await next_frame(client, "event"))["to"] == "all"


def test_events_with_one_key_share_a_partition(dev, folder, account):
    arguments = ["--topic", "demo", "--account", account, "--key", "same", "1"]
    places = {publish(dev, folder, *arguments).stdout_lines[0].rpartition(":")[0] for _ in range(3)}
    assert len(places) == 1


def test_public_topic_name_is_mapped_to_the_kafka_name(dev, folder, account):
    (folder / "b.yaml").write_text("topics: [{name: public, kafka: shop.orders.v1}]")
    arguments = ["--config", "b.yaml", "--topic", "public", "--account", account, "1"]
    ended = publish(dev, folder, *arguments)
    assert ended.exit_code == 0, ended
    assert ended.stdout_lines[0].startswith("public:")


def test_brokers_default_to_the_settings(dev, folder, account):
    arguments = ["publish", "--topic", "demo", "--account", account, "1"]
    assert run(folder, *arguments, KAFKA__BOOTSTRAP_SERVERS=dev.kafka).exit_code == 0


# -- errors ----------------------------------------------------------------------------------------


def test_missing_topic_exits_with_1(dev, folder):
    message = error_line(publish(dev, folder, "--topic", "no-such-topic", "--all", "1"), 1)
    assert "no-such-topic" in message


def test_unreachable_broker_exits_with_1(folder):
    for servers in ("127.0.0.1:1", "no-such-host.invalid:9092"):
        ended = run(folder, "publish", "--kafka", servers, "--topic", "demo", "--all", "1")
        assert servers in error_line(ended, 1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["1"], "audience"),
        (["--all", "not JSON"], "JSON"),
        (["--all", ""], "JSON"),
        (["--all", "{'a': 1}"], "JSON"),
        (["--all", "NaN"], "JSON"),
        (["--all", b'"\xff"'], "JSON"),
        (["--account", "a,b", "1"], "'a,b'"),
        (["--account", b"\xff", "1"], "name"),
        (["--room", "", "1"], "name"),
        (["--all", "--type", b"\xff", "1"], "UTF-8"),
    ],
)
def test_wrong_event_exits_with_2(dev, folder, arguments, words):
    assert words in error_line(publish(dev, folder, "--topic", "demo", *arguments), 2)


@pytest.mark.parametrize("stdin", [b"", b"not JSON", b"\xff", b'"\xff"', b"1 2"])
def test_invalid_json_on_standard_input_exits_with_2(dev, folder, stdin):
    assert "JSON" in error_line(publish(dev, folder, "--topic", "demo", "--all", stdin=stdin), 2)


def test_event_too_large_for_kafka_exits_with_1(dev, folder):
    ended = publish(dev, folder, "--topic", "demo", "--all", stdin=b'"%s"' % (b"x" * 2_000_000))
    assert error_line(ended, 1)


def test_topic_is_required(dev, folder):
    ended = publish(dev, folder, "--all", "1")
    assert ended.exit_code == 2
    assert any("--topic" in line for line in ended.stderr_lines)


def lines(*events: object) -> bytes:
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


@pytest.mark.parametrize("through", ["kafka", "url"])
async def test_each_line_is_an_event_over_what_the_options_say(dev, folder, account, through):
    where = ["--kafka", dev.kafka] if through == "kafka" else ["--url", dev.url]
    options = ["--topic", "demo", "--account", account, "--type", "tick", "--lines"]
    async with dev.client(f"account={account}") as client:
        await next_frame(client, "welcome")
        stdin = lines({"data": 1}, {"data": 2, "type": "tock", "topic": "orders", "id": "two"})
        ended = run(folder, "publish", *where, *options, stdin=stdin + b"\n" + lines({"meta": {}}))
        assert (ended.exit_code, ended.stderr_lines) == (0, [])
        events = {(e := await next_frame(client, "event"))["at"]: e for _ in range(3)}
    first, second, third = (events[at] for at in ended.stdout_lines)
    assert (first["type"], first["data"], first["topic"]) == ("tick", 1, "demo")
    assert (second["type"], second["data"], second["topic"]) == ("tock", 2, "orders")
    assert (second["id"], third["data"], third["meta"]) == ("two", None, {})


@pytest.mark.parametrize("through", ["kafka", "url"])
@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        (b"{", "line 2: not a JSON object"),
        (b"[1]", "line 2: not a JSON object"),
        (b'{"data":"\xff"}', "line 2: not a JSON object"),
        (b'{"accounts":[]}', "line 2: the event has no audience"),
        (b'{"rooms":["a,b"]}', "line 2: rooms: not a name"),
        (b'{"time":"noon"}', "line 2: time: "),
        (b'{"topic":"no-such-topic"}', "line 2: "),
    ],
)
def test_the_first_line_that_fails_ends_it_with_its_number(dev, folder, through, bad, problem):
    where = ["--kafka", dev.kafka] if through == "kafka" else ["--url", dev.url]
    options = ["--topic", "demo", "--account", "nobody", "--lines"]
    stdin = lines({"data": 1}) + bad + b"\n" + lines({"data": 3})
    ended = run(folder, "publish", *where, *options, stdin=stdin)
    assert ended.exit_code == 1
    assert len(ended.stdout_lines) == 1, "the line before it was written, the one behind was not"
    (line,) = ended.stderr_lines
    assert line.startswith(problem), line


async def test_an_event_is_published_through_a_bridge_unchanged(dev, folder, account):
    async with dev.client(f"account={account}&topics=orders") as client:
        await next_frame(client, "welcome")
        fields = ["--topic", "orders", "--account", account, "--key", "k", "--json"]
        ended = run(folder, "publish", "--url", dev.url, *fields, BIG)
        assert (ended.exit_code, ended.stderr_lines) == (0, [])
        text = await client.recv()
    assert f'"data":{BIG}' in text
    event = json.loads(text)
    assert [json.loads(line) for line in ended.stdout_lines] == [
        {"id": event["id"], "at": event["at"]}
    ]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--url", "http://x", "--kafka", "x:1", "--topic", "t", "--all", "1"], "choose one"),
        (["--token", "t", "--topic", "t", "--all", "1"], "--token: needs --url"),
        (["--lines", "1"], "--lines: events come from standard input"),
        (["--all", "1"], "--topic: name the topic"),
    ],
)
def test_options_that_exclude_each_other(folder, arguments, problem):
    assert problem in error_line(run(folder, "publish", *arguments), 2)


def test_a_bridge_that_does_not_answer_is_named(folder):
    (port,) = free_ports(1)
    arguments = ["--url", f"http://{HOST}:{port}", "--token", "x" * 16, "--topic", "t", "--all"]
    assert f"http://{HOST}:{port} does not answer" in error_line(
        run(folder, "publish", *arguments, "1"), 1
    )
