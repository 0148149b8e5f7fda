"""`serve`: requires its settings, waits for Kafka, and drains on a signal."""

from __future__ import annotations

import json
import signal
import socket
from typing import TYPE_CHECKING

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from bridge.cli.runner import open_admin_listener
from bridge.config.settings import Settings
from tests.cli.command_process import CommandProcess, error_line, get, run, wait_until
from tests.cli.conftest import next_frame
from tests.harness.ports import HOST, free_ports

if TYPE_CHECKING:
    from tests.cli.conftest import DevServer

OPEN = {"TOPICS": '["demo"]', "AUTH__MODE": "none"}


def at(port: int, path: str) -> str:
    return f"http://{HOST}:{port}{path}"


def test_serve_needs_topics(folder):
    message = error_line(run(folder, "serve", AUTH__MODE="none"), 2)
    assert message.startswith("BRIDGE_TOPICS: ")


def test_serve_needs_authentication_settings(folder):
    message = error_line(run(folder, "serve", TOPICS='["demo"]', PORT="0"), 2)
    assert message.startswith("BRIDGE_AUTH__")


def test_port_in_use_exits_with_1(folder):
    with socket.create_server((HOST, 0)) as taken:
        port = str(taken.getsockname()[1])
        assert port in error_line(run(folder, "serve", PORT=port, **OPEN), 1)


async def test_serve_closes_clients_with_4001_on_a_signal(dev: DevServer, folder, account):
    (port,) = free_ports(1)
    settings = {"KAFKA__BOOTSTRAP_SERVERS": dev.kafka, "PORT": str(port), "INSTANCE": "blue"}
    with CommandProcess(folder, "serve", **OPEN, **settings) as command:
        command.wait_for_line("ready")
        assert get(at(port, "/readyz")).status_code == 200
        async with connect(f"ws://{HOST}:{port}/ws?account={account}", proxy=None) as client:
            welcome = await next_frame(client, "welcome")
            assert (welcome["instance"], welcome["topics"]) == ("blue", ["demo"])
            arguments = ["--kafka", dev.kafka, "--topic", "demo", "--account", account]
            assert run(folder, "publish", *arguments, '"hello"').exit_code == 0
            assert (await next_frame(client, "event"))["data"] == "hello"
            command.send_signal(signal.SIGTERM)
            assert (await next_frame(client, "closing"))["code"] == 4001
            with pytest.raises(ConnectionClosed) as closed:
                await client.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4001
        assert command.wait_exit() == 0
        assert not any("Traceback" in line for line in command.stderr_lines)
        assert command.stdout_lines == []


async def test_without_kafka_serve_is_alive_but_not_ready(folder):
    (port,) = free_ports(1)
    settings = {"KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1", "PORT": str(port)}
    with CommandProcess(folder, "serve", **OPEN, **settings) as command:
        command.wait_for_line("Kafka does not answer")
        wait_until(lambda: get(at(port, "/healthz")).status_code == 200, "healthz")
        assert get(at(port, "/readyz")).status_code == 503
        async with connect(f"ws://{HOST}:{port}/ws", proxy=None) as client:
            closing = await next_frame(client, "closing")
            assert (closing["code"], closing["reconnect"]) == (4006, True)
        command.send_signal(signal.SIGTERM)
        assert command.wait_exit() == 0
        assert not any("Traceback" in line for line in command.stderr_lines)


def test_missing_topic_does_not_prevent_readiness(dev: DevServer, folder):
    (port,) = free_ports(1)
    settings = {"KAFKA__BOOTSTRAP_SERVERS": dev.kafka, "PORT": str(port), "AUTH__MODE": "none"}
    with CommandProcess(folder, "serve", TOPICS='["demo", "not-yet"]', **settings) as command:
        command.wait_for_line("ready")
        assert get(at(port, "/readyz")).status_code == 200


def test_topics_are_read_from_the_file(dev: DevServer, folder):
    catalogue = [{"name": "public", "kafka": "shop.orders.v1"}, "demo"]
    content = {"topics": catalogue, "auth": {"mode": "none"}, "port": 0}
    (folder / "bridge.yaml").write_text(json.dumps(content))
    arguments = ["serve", "--config", "bridge.yaml"]
    with CommandProcess(folder, *arguments, KAFKA__BOOTSTRAP_SERVERS=dev.kafka) as command:
        assert command.wait_for_line("ready").endswith("public, demo")


def test_the_admin_port_is_on_the_admin_host():
    for settings, host in (
        (Settings(admin_port=0, admin_host="127.0.0.2"), "127.0.0.2"),
        (Settings(admin_port=0, host="127.0.0.3"), "127.0.0.3"),
    ):
        listener = open_admin_listener(settings)
        assert listener is not None
        with listener:
            assert listener.getsockname()[0] == host
