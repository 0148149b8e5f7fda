"""`dev`: prints its addresses, serves on loopback, and drains on a signal."""

from __future__ import annotations

import itertools
import json
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from bridge.cli.output import http_url
from tests.cli.command_process import CommandProcess, command_environment, error_line, get, run
from tests.cli.conftest import TOPICS, next_frame, running_dev
from tests.harness.ports import HOST, free_ports


def test_dev_prints_all_addresses(dev):
    assert [line.split()[0] for line in dev.command.stdout_lines] == [
        "kafka",
        "bridge",
        "listen",
        "publish",
    ]
    (kafka,) = [line for line in dev.command.stdout_lines if line.startswith("kafka")]
    found = re.search(r"127\.0\.0\.1:(\d+)", kafka)
    assert found is not None
    with socket.create_connection((HOST, int(found[1]))):
        pass
    assert get(f"{dev.url}/healthz").status_code == 200
    assert dev.command.stderr_lines == []


def test_dev_is_ready_when_it_prints(dev):
    answer = get(f"{dev.url}/readyz")
    assert (answer.status_code, "stale" in answer.json()) == (200, False)


async def test_dev_serves_its_topics_to_a_named_account(dev, account):
    async with dev.client(f"account={account}") as client:
        welcome = await next_frame(client, "welcome")
    assert (welcome["account"], welcome["topics"]) == (account, sorted(TOPICS))


def test_dev_checks_the_host_header(dev):
    assert get(f"{dev.url}/healthz", Host="evil.example").status_code == 403


def test_dev_listens_on_loopback_only(dev):
    port = urlsplit(dev.url).port
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    bound = {fields[1] for fields in map(str.split, lines) if fields[3] == "0A"}
    assert f"0100007F:{port:04X}" in bound
    assert f"00000000:{port:04X}" not in bound


async def test_default_topic_is_demo_and_demo_produces_events(folder):
    with CommandProcess(folder, "dev", "--demo", PORT="0") as command:
        dev = running_dev(command)
        async with dev.client("account=alice&rooms=lobby") as client:
            assert (await next_frame(client, "welcome"))["topics"] == ["demo"]
            events = [await next_frame(client, "event") for _ in range(3)]
            assert {event["to"] for event in events} == {"account", "room:lobby", "all"}
            command.send_signal(signal.SIGTERM)
            assert (await next_frame(client, "closing"))["code"] == 4001
        assert command.wait_exit() == 0
        assert command.stderr_lines == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signal_closes_clients_with_4001_and_exits_with_0(folder, number):
    with CommandProcess(folder, "dev", PORT="0") as command:
        dev = running_dev(command)
        async with dev.client("account=alice") as client:
            await next_frame(client, "welcome")
            command.send_signal(number)
            closing = await next_frame(client, "closing")
            assert (closing["code"], closing["reconnect"]) == (4001, True)
            with pytest.raises(ConnectionClosed) as closed:
                await client.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 4001
        assert command.wait_exit() == 0
        assert command.stderr_lines == []


async def test_dev_ignores_settings_of_authentication_and_broker(folder):
    settings = {
        "PORT": "0",
        "AUTH__MODE": "jwt",
        "KAFKA__BOOTSTRAP_SERVERS": "no-such-host.invalid:1",
        "KAFKA__SECURITY_PROTOCOL": "SSL",
    }
    with CommandProcess(folder, "dev", **settings) as command:
        async with running_dev(command).client("account=alice") as client:
            assert (await next_frame(client, "welcome"))["account"] == "alice"


def test_topics_and_port_are_read_from_the_file(folder: Path):
    (folder / "b.yaml").write_text("port: 0\nheartbeat_seconds: 7\ntopics: [{name: fromfile}]")
    with CommandProcess(folder, "dev", "--config", "b.yaml") as command:
        assert "--topic fromfile" in command.wait_for_line("publish ")
        assert get(f"{running_dev(command).url}/readyz").status_code == 200


def test_page_receives_a_token_on_loopback(dev, account):
    assert "open it in a browser" in next(
        line for line in dev.command.stdout_lines if "bridge" in line
    )
    assert get(dev.url).headers["content-type"].startswith("text/html")
    token = get(f"{dev.url}/console.json").json()["admin_token"]
    assert token not in "\n".join(dev.command.stdout_lines)
    assert post(dev.url, token, account).status_code == 202
    assert post(dev.url, token[:-1], account).status_code == 401


def test_token_is_only_printed_on_other_addresses(folder, account):
    with CommandProcess(folder, "dev", HOST="0.0.0.0", PORT="0") as command:
        dev = running_dev(command)
        url = dev.url.replace("0.0.0.0", HOST)
        assert get(f"{url}/console.json").json()["admin_token"] is None
        token = next(line for line in command.stdout_lines if line.startswith("bridge")).split()[-1]
        assert post(url, token, account).status_code == 202


def test_page_is_on_the_admin_port(folder):
    with CommandProcess(folder, "dev", PORT="0", ADMIN_PORT="0") as command:
        dev = running_dev(command)
        assert get(dev.url).status_code == 404
        found = re.search(r"the page is at (http://\S+[0-9])", "\n".join(command.stdout_lines))
        assert found is not None
        assert get(found[1]).status_code == 200


def test_ipv6_address_has_brackets():
    assert http_url("::1", 8080) == "http://[::1]:8080"
    assert http_url("localhost", 8080) == "http://localhost:8080"


def test_port_in_use_exits_with_1(folder):
    with socket.create_server((HOST, 0)) as taken:
        port = str(taken.getsockname()[1])
        message = error_line(run(folder, "dev", PORT=port), 1)
    assert port in message
    assert "BRIDGE_PORT" in message


def post(url: str, token: str, account: str) -> httpx.Response:
    """Send an event as the page does."""
    event = {"topic": "demo", "accounts": [account]}
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.post(f"{url}/v1/events", json=event, headers=headers, trust_env=False)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "203.0.113.1"])
def test_foreign_host_exits_with_1(folder, host):
    message = error_line(run(folder, "dev", HOST=host, PORT="0"), 1)
    assert host in message
    assert "BRIDGE_HOST" in message


def test_empty_topics_exit_with_2(folder):
    assert error_line(run(folder, "dev", TOPICS=json.dumps([])), 2).startswith("BRIDGE_TOPICS: ")


def page_of(origin: str) -> dict[str, str]:
    return {"Origin": origin}


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost:3000",
        "https://localhost",
        "http://app.localhost:5173",
        "http://127.0.0.1:4200",
        "http://127.9.9.9:1",
        "http://[::1]:3000",
    ],
)
def test_pages_of_this_machine_may_connect(dev, account, origin):
    answer = get(f"{dev.url}/history?account={account}", **page_of(origin))
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == origin
    assert get(f"{dev.url}/console.json", **page_of(origin)).status_code == 403
    refused = get(f"{dev.url}/v1/topics", **page_of(origin))
    assert "access-control-allow-origin" not in refused.headers


@pytest.mark.parametrize(
    "origin",
    [
        "https://shop.example",
        "http://localhost.evil.example",
        "http://127.0.0.1.evil.example",
        "http://evil@localhost",
        "null",
        "file://localhost",
    ],
)
def test_pages_of_others_may_not(dev, account, origin):
    answer = get(f"{dev.url}/history?account={account}", **page_of(origin))
    assert answer.status_code == 403


def test_ports_and_topics_are_options(folder, account):
    port, kafka_port = free_ports(2)
    options = ["--port", str(port), "--kafka-port", str(kafka_port)]
    topics = ["--topic", "one", "--topic", "two"]
    with CommandProcess(folder, "dev", *options, *topics, PORT="1") as command:
        dev = running_dev(command)
        assert (dev.url, dev.kafka) == (f"http://{HOST}:{port}", f"{HOST}:{kafka_port}")
        names = ["--topic", "two", "--account", account]
        assert run(folder, "publish", "--kafka", dev.kafka, *names, "1").exit_code == 0
        page = get(f"{dev.url}/history?account={account}").json()
        assert [event["topic"] for event in page["events"]] == ["two"]


@pytest.mark.parametrize(
    ("options", "code", "problem"),
    [
        (["--topic", "no topic"], 2, "--topic"),
        (["--port", "70000"], 2, "--port"),
    ],
)
def test_wrong_options_are_named(folder, options, code, problem):
    result = run(folder, "dev", *options)
    assert result.exit_code == code
    assert problem in "\n".join(result.stderr_lines)


def test_a_port_of_the_broker_that_is_taken_exits_with_1(folder):
    with socket.create_server((HOST, 0)) as taken:
        port = str(taken.getsockname()[1])
        message = error_line(run(folder, "dev", "--port", "0", "--kafka-port", port), 1)
    assert port in message
    assert "--kafka-port" in message


def test_what_it_prints_works_as_it_stands(folder):
    """In a shell, in another folder, without the environment's folder on the path."""
    program = Path(sys.executable).with_name("push-bridge")
    environment = command_environment(PORT="0") | {"PATH": "/usr/bin:/bin"}
    with subprocess.Popen(
        [program, "dev"], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    ) as dev:
        assert dev.stdout is not None
        lines = dict(line.split(maxsplit=1) for line in itertools.islice(dev.stdout, 4))
        published = subprocess.run(
            ["/bin/sh", "-c", lines["publish"]],
            cwd="/",
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        dev.terminate()
    assert re.fullmatch(r"demo:\d:0\n", published.stdout), published.stderr
