"""`serve`: starts with settings that are said, waits for Kafka, and leaves in order."""

from __future__ import annotations

import json
import signal
import socket
from typing import TYPE_CHECKING

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.cli.command import Command, get, run, sentence, until
from tests.cli.conftest import frame
from tests.harness.ports import HOST, free_ports

if TYPE_CHECKING:
    from tests.cli.conftest import Dev

OPEN = {"TOPICS": '["demo"]', "AUTH__MODE": "none"}


def at(port: int, path: str) -> str:
    return f"http://{HOST}:{port}{path}"


def test_topics_have_to_be_named(folder):
    told = sentence(run(folder, "serve", AUTH__MODE="none"), 2)
    assert told.startswith("BRIDGE_TOPICS: ")


def test_how_clients_are_known_has_to_be_said(folder):
    told = sentence(run(folder, "serve", TOPICS='["demo"]', PORT="0"), 2)
    assert told.startswith("BRIDGE_AUTH__")


def test_a_port_that_is_taken_is_a_sentence_and_exit_1(folder):
    with socket.create_server((HOST, 0)) as taken:
        port = str(taken.getsockname()[1])
        assert port in sentence(run(folder, "serve", PORT=port, **OPEN), 1)


async def test_it_serves_from_kafka_and_a_signal_ends_it_with_0_after_telling_everybody_4001(
    dev: Dev, folder, account
):
    (port,) = free_ports(1)
    settings = {"KAFKA__BOOTSTRAP_SERVERS": dev.kafka, "PORT": str(port), "INSTANCE": "blue"}
    with Command(folder, "serve", **OPEN, **settings) as command:
        command.says("ready")
        assert get(at(port, "/readyz")).status_code == 200
        async with connect(f"ws://{HOST}:{port}/ws?account={account}", proxy=None) as client:
            welcome = await frame(client, "welcome")
            assert (welcome["instance"], welcome["topics"]) == ("blue", ["demo"])
            arguments = ["--kafka", dev.kafka, "--topic", "demo", "--account", account]
            assert run(folder, "publish", *arguments, '"hello"').code == 0
            assert (await frame(client, "event"))["data"] == "hello"
            command.signal(signal.SIGTERM)
            assert (await frame(client, "closing"))["code"] == 4001
            with pytest.raises(ConnectionClosed) as closed:
                await client.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4001
        assert command.ends() == 0
        assert not any("Traceback" in line for line in command.err)
        assert command.out == []


async def test_where_kafka_is_away_at_the_start_it_is_alive_not_ready_and_ends_in_order(folder):
    (port,) = free_ports(1)
    settings = {"KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1", "PORT": str(port)}
    with Command(folder, "serve", **OPEN, **settings) as command:
        command.says("Kafka does not answer")
        until(lambda: get(at(port, "/healthz")).status_code == 200, "healthz")
        assert get(at(port, "/readyz")).status_code == 503
        async with connect(f"ws://{HOST}:{port}/ws", proxy=None) as client:
            closing = await frame(client, "closing")
            assert (closing["code"], closing["reconnect"]) == (4006, True)
        command.signal(signal.SIGTERM)
        assert command.ends() == 0
        assert not any("Traceback" in line for line in command.err)


def test_a_topic_that_does_not_exist_yet_keeps_nobody_from_being_ready(dev: Dev, folder):
    (port,) = free_ports(1)
    settings = {"KAFKA__BOOTSTRAP_SERVERS": dev.kafka, "PORT": str(port), "AUTH__MODE": "none"}
    with Command(folder, "serve", TOPICS='["demo", "not-yet"]', **settings) as command:
        command.says("ready")
        assert get(at(port, "/readyz")).status_code == 200


def test_the_topics_may_be_the_files(dev: Dev, folder):
    catalogue = [{"name": "public", "kafka": "shop.orders.v1"}, "demo"]
    content = {"topics": catalogue, "auth": {"mode": "none"}, "port": 0}
    (folder / "bridge.yaml").write_text(json.dumps(content))
    arguments = ["serve", "--config", "bridge.yaml"]
    with Command(folder, *arguments, KAFKA__BOOTSTRAP_SERVERS=dev.kafka) as command:
        assert command.says("ready").endswith("public, demo")
