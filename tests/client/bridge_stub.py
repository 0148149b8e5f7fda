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


def event(at: str, **fields: object) -> Frame:
    about = {"to": "all", "id": at, "type": "event", "time": "2026-11-21T09:00:00Z", "data": None}
    return {"op": "event", "topic": at.partition(":")[0], "at": at, **about, **fields}


class Guest:
    """One connection, behind its hello."""

    def __init__(self, socket: ServerConnection, hello: Frame) -> None:
        self.socket = socket
        self.hello = hello

    async def says(self, *frames: Frame) -> None:
        for frame in frames:
            await self.socket.send(json.dumps(frame))

    async def asked(self) -> Frame:
        frame: Frame = json.loads(await self.socket.recv())
        return frame

    async def stays(self) -> None:
        await self.socket.wait_closed()


@contextlib.asynccontextmanager
async def bridge(treat: Callable[[Guest], Awaitable[None]]) -> AsyncIterator[str]:
    """Serve; where it is."""

    async def each(socket: ServerConnection) -> None:
        await treat(Guest(socket, json.loads(await socket.recv())))

    async with serve(each, "127.0.0.1", 0, compression=None, close_timeout=1) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
