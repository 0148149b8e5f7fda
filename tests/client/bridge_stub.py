"""A bridge of a few lines: what it does with each connection is a function of the test's."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

from websockets.asyncio.server import ServerConnection, serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

Frame = dict[str, Any]
WELCOME: Frame = {
    "op": "welcome",
    "connection": "c",
    "account": "alice",
    "instance": "one",
    "topics": ["t"],
    "rooms": [],
    "heartbeat": 25,
    "expires": None,
    "cursor": "C0",
}


def event_frame(position: str, **fields: object) -> Frame:
    defaults = {
        "to": "all",
        "id": position,
        "type": "event",
        "time": "2026-11-21T09:00:00Z",
        "data": None,
    }
    return {
        "op": "event",
        "topic": position.partition(":")[0],
        "at": position,
        **defaults,
        **fields,
    }


class StubConnection:
    """One connection, behind its hello."""

    def __init__(self, connection: ServerConnection, hello: Frame) -> None:
        self.connection = connection
        self.hello = hello

    async def send(self, *frames: Frame) -> None:
        for frame in frames:
            await self.connection.send(json.dumps(frame))

    async def receive(self) -> Frame:
        frame: Frame = json.loads(await self.connection.recv())
        return frame

    async def wait_closed(self) -> None:
        await self.connection.wait_closed()


@contextlib.asynccontextmanager
async def running_bridge(
    handler: Callable[[StubConnection], Awaitable[None]],
) -> AsyncIterator[str]:
    """Serve; where it is."""

    async def serve_connection(connection: ServerConnection) -> None:
        await handler(StubConnection(connection, json.loads(await connection.recv())))

    async with serve(serve_connection, "127.0.0.1", 0, compression=None, close_timeout=1) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
