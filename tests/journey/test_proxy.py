"""nginx with the demo's configuration, before a server of the test's: what it does by itself."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import httpx
import pytest

from bridge.config.settings import Settings
from tests.harness.event_stream_parser import EventStreamParser
from tests.harness.frame_schemas import read_frame
from tests.harness.ports import HOST, free_ports
from tests.journey.compose_stack import BRIDGES, COMPOSE_FOLDER, TIMEOUT_SECONDS, NginxProcess

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.nginx

CONFIGURATION = (COMPOSE_FOLDER / "nginx.conf").read_text(encoding="utf-8")


class Origin:
    """A server that begins an answer without an end, and goes on when told."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.request = b""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.request = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        await self.go_on.wait()
        writer.write(b"data: 2\n\n")
        writer.close()


async def test_a_stream_passes_event_by_event(tmp_path: Path):
    origin = Origin()
    async with await asyncio.start_server(origin.answer, HOST, 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with (
            NginxProcess(tmp_path, upstreams(port, port)) as nginx,
            httpx.AsyncClient(trust_env=False, timeout=TIMEOUT_SECONDS) as http,
            http.stream("GET", f"http://{nginx.address}/events") as answer,
        ):
            parts = answer.aiter_text()
            assert await anext(parts) == "data: 1\n\n"  # while the server still waits
            origin.go_on.set()
            assert await anext(parts) == "data: 2\n\n"
            host = f"Host: {nginx.address}\r\n".encode()
    assert host in origin.request
    assert b"X-Forwarded-For: 127.0.0.1\r\n" in origin.request
    assert b"Connection" not in origin.request


def upstreams(first: int, second: int) -> dict[str, str]:
    ports = dict(zip(BRIDGES, (first, second), strict=True))
    return {f"server {name}:8080": f"server {HOST}:{port}" for name, port in ports.items()}


async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
    writer.close()


async def test_an_instance_that_takes_no_streams_now_is_passed_over(tmp_path: Path):
    origin = Origin()
    origin.go_on.set()
    async with (
        await asyncio.start_server(origin.answer, HOST, 0) as good,
        await asyncio.start_server(refuse, HOST, 0) as leaving,
    ):
        ports = [server.sockets[0].getsockname()[1] for server in (good, leaving)]
        async with (
            NginxProcess(tmp_path, upstreams(*ports)) as nginx,
            httpx.AsyncClient(trust_env=False, timeout=TIMEOUT_SECONDS) as http,
        ):
            for _ in range(6):
                answer = await http.get(f"http://{nginx.address}/events")
                assert (answer.status_code, answer.text) == (200, "data: 1\n\ndata: 2\n\n")


async def test_where_no_bridge_answers_a_browsers_stream_comes_back(tmp_path: Path):
    browser = {"Accept": "text/event-stream", "Sec-Fetch-Mode": "cors"}
    async with (
        NginxProcess(tmp_path, upstreams(*free_ports(2))) as nginx,
        httpx.AsyncClient(trust_env=False, timeout=TIMEOUT_SECONDS) as http,
    ):
        answer = await http.get(f"http://{nginx.address}/events?token=t", headers=browser)
        stream = EventStreamParser()
        (closing,) = stream.feed(answer.content)
        assert (answer.status_code, closing.type, stream.reconnection_ms) == (200, "closing", 2000)
        assert read_frame(closing.data)["code"] == 4006
        assert answer.headers["content-type"] == "text/event-stream"
        assert answer.headers["cache-control"] == "no-store, no-transform"
        assert (await http.get(f"http://{nginx.address}/events")).status_code == 502
        assert (await http.get(f"http://{nginx.address}/healthz")).status_code == 502
        assert "token=" not in nginx.read_log()


def test_nginx_finds_nothing_to_say_against_it(tmp_path: Path):
    told = NginxProcess(tmp_path, {f"{name}:8080": f"{HOST}:1" for name in BRIDGES}).check_config()
    assert "syntax is ok" in told
    assert "[warn]" not in told


def test_it_waits_longer_than_several_heartbeats():
    (hours,) = re.findall(r"proxy_read_timeout (\d+)h;", CONFIGURATION)
    assert int(hours) * 3600 > 4 * Settings.model_fields["heartbeat_seconds"].default


def test_nobody_is_tied_to_an_instance():
    assert "ip_hash" not in CONFIGURATION
    assert "sticky" not in CONFIGURATION
