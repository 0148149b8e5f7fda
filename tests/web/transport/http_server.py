"""A server of the bridge's own HTTP with an application of the test's."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, Any

from bridge.web.transport.http_connections import HttpConnections, HttpLimits
from bridge.web.transport.server import DrainingServer
from tests.web.in_process_bridge import HOST, wait_until
from tests.web.raw_connection import RawConnection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ANSWER_BYTES = 8 << 20


class EchoApp:
    """Answers with the body; `/large` with much, `/wait` not before `go_on`, `/early` at once."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.requests: list[tuple[str, bytes]] = []
        self.disconnects = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, path = b"", scope["path"]
        is_early = path == "/early"
        while not is_early:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.disconnects += 1
                raise ConnectionError("the client has gone")
            body += message["body"]
            if not message["more_body"]:
                break
        self.requests.append((f"{scope['method']} {path}", body))
        if path == "/wait":
            await self.go_on.wait()
        content = b"x" * ANSWER_BYTES if path == "/large" else body
        length = [(b"content-length", b"%d" % len(content))]
        await send({"type": "http.response.start", "status": 200, "headers": length})
        for offset in range(0, max(1, len(content)), 1 << 16):
            chunk = content[offset : offset + (1 << 16)]
            is_last = offset + (1 << 16) >= len(content)
            await send({"type": "http.response.body", "body": chunk, "more_body": not is_last})


class HttpServer:
    """The running server, and connections to it."""

    def __init__(self, app: EchoApp, connections: HttpConnections) -> None:
        self.app = app
        self.connections = connections
        self.server = DrainingServer(
            app,
            None,
            self._drain,
            http_connections=connections,
            shutdown_timeout_seconds=1,
        )
        self.port = 0
        self._clients = contextlib.AsyncExitStack()
        self.serve_task: asyncio.Task[None]

    async def open(self, *, receive_bytes: int | None = None) -> RawConnection:
        """Open a TCP connection."""
        raw = RawConnection(HOST, self.port, receive_bytes)
        return await self._clients.enter_async_context(raw)

    async def open_after(self, data: bytes) -> RawConnection:
        """Open a TCP connection, send `data`, and wait until it is read."""
        known, raw = len(self.server.server_state.connections), await self.open()
        raw.send(data)
        await wait_until(lambda: len(self.server.server_state.connections) > known)
        await asyncio.sleep(0.02)
        return raw

    async def _drain(self) -> None:
        return


@contextlib.asynccontextmanager
async def serving(
    limits: HttpLimits | None = None,
    *,
    max_descriptors: int | None = None,
) -> AsyncIterator[HttpServer]:
    """Serve an `EchoApp` while the block runs."""
    connections = HttpConnections(limits, max_descriptors=max_descriptors)
    http_server = HttpServer(EchoApp(), connections)
    listener = socket.create_server((HOST, 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 15)
    http_server.port = listener.getsockname()[1]
    http_server.serve_task = asyncio.create_task(http_server.server.serve([listener]))
    await wait_until(lambda: http_server.server.started)
    try:
        yield http_server
    finally:
        await http_server._clients.aclose()
        http_server.server.should_exit = http_server.server.force_exit = True
        await http_server.serve_task
