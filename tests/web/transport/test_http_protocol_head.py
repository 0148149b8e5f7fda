"""The head of a request: who never ends one is not waited for, and not gathered for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from bridge.web.transport import http_protocol, http_request
from tests.web.in_process_bridge import wait_until

if TYPE_CHECKING:
    from tests.web.in_process_bridge import InProcessBridge
    from tests.web.raw_connection import RawConnection

LINE = b"X-Padding: " + b"x" * 4000 + b"\r\n"
BEGINNINGS = {
    "no end of headers": (b"GET / HTTP/1.1\r\nHost: a\r\n", LINE),
    "no end of a header": (b"GET / HTTP/1.1\r\nHost: ", b"x" * 4000),
    "no end of a url": (b"GET /", b"x" * 4000),
    "no end of a handshake": (b"GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n", LINE),
}


async def pour(raw: RawConnection, piece: bytes) -> bytes:
    """Send `piece` again and again until the connection is ended; return the answer."""
    answer = asyncio.create_task(raw.read_to_end())
    sent = 0
    while not answer.done():
        assert sent < 20 * http_request.MAX_HEAD_BYTES, "it is gathered without an end"
        try:
            raw.send(piece)
            await raw.drain()
        except ConnectionError:
            break
        sent += len(piece)
        await asyncio.sleep(0)
    return await answer


@pytest.mark.parametrize(("beginning", "piece"), BEGINNINGS.values(), ids=BEGINNINGS)
async def test_a_head_without_end_is_refused_at_its_limit(rig: InProcessBridge, beginning, piece):
    raw = await rig.open_tcp()
    raw.send(beginning)
    answer = await pour(raw, piece)
    assert answer == b"" or answer.startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 400 "))
    await (await rig.connect_welcomed()).check_responsive()


async def test_a_large_head_that_ends_in_time_is_served(rig: InProcessBridge):
    raw = await rig.open_tcp()
    answer = await raw.request(f"GET /healthz HTTP/1.1\r\nHost: a\r\n{LINE.decode() * 10}\r\n")
    assert answer.status == 200


@pytest.mark.parametrize("beginning", [b"", b"GET /healthz HTTP/1.1\r\nHost: a\r\nX"])
async def test_who_does_not_end_a_head_in_its_time_is_cut_off(
    rig: InProcessBridge, monkeypatch, beginning
):
    monkeypatch.setattr(http_protocol, "HEAD_TIMEOUT_SECONDS", 0.2)
    raw = await rig.open_tcp()
    raw.send(beginning)
    assert await raw.read_to_end() == b""
    await wait_until(lambda: not rig.server.server_state.connections)


async def test_who_has_ended_it_is_not_cut_off(rig: InProcessBridge, monkeypatch):
    monkeypatch.setattr(http_protocol, "HEAD_TIMEOUT_SECONDS", 0.2)
    socket, http = await rig.open_websocket(), await rig.open_tcp()
    request = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
    assert (await http.request(request)).status == 200
    waiting = await rig.open_tcp()
    waiting.send(b"GET")
    assert await waiting.read_to_end() == b""  # its time has passed, and so has that of the others
    assert (await http.request(request)).status == 200
    socket.send_frame("heartbeat", id=1)
    assert (await socket.json())["id"] == 1
