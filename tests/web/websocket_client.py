"""A client by the `websockets` library, which speaks the protocol by a mind of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.harness.frame_schemas import read_frame

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

TIMEOUT_SECONDS = 20.0


class ConnectionClose(NamedTuple):
    """How a connection ended: the close code and its reason, and the last frames before it."""

    code: int
    reason: str
    frames: list[dict[str, Any]]

    @property
    def closing_frame(self) -> dict[str, Any]:
        """The `closing` frame, which is the last one."""
        assert self.frames, "there was no frame before the close"
        assert self.frames[-1]["op"] == "closing", self.frames
        return self.frames[-1]


class WebSocketClient:
    """One connection; every wait has an end."""

    welcome: dict[str, Any]
    connection: ClientConnection

    def __init__(self, url: str, **options: Any) -> None:
        options = {"compression": None, "ping_interval": None, "close_timeout": 1, **options}
        self._connecting = connect(url, proxy=None, max_size=None, **options)

    async def __aenter__(self) -> Self:
        self.connection = await self._connecting
        return self

    async def __aexit__(self, *_: object) -> None:
        self.connection.transport.abort()
        await self.connection.wait_closed()

    async def text(self) -> str:
        """The next frame as it was sent."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            received = await self.connection.recv()
        assert isinstance(received, str), "a server's frame is text"
        return received

    async def frame(self) -> dict[str, Any]:
        """The next frame."""
        return read_frame(await self.text())

    async def expect(self, op: str) -> dict[str, Any]:
        """The next frame, which is `op`."""
        frame = await self.frame()
        assert frame["op"] == op, frame
        return frame

    async def next_of(self, op: str) -> dict[str, Any]:
        """The next frame of `op`, whatever comes before it."""
        while (frame := await self.frame())["op"] != op:
            pass
        return frame

    async def send(self, op: str, **fields: Any) -> None:
        """Send one frame."""
        await self.connection.send(json.dumps({"op": op, **fields}))

    async def request(self, op: str, **fields: Any) -> dict[str, Any]:
        """Send one frame; return the reply."""
        await self.send(op, **fields)
        return await self.next_of("reply")

    async def wait_closed(self) -> ConnectionClose:
        """Wait for the end, by the server's hand."""
        frames: list[dict[str, Any]] = []
        with contextlib.suppress(ConnectionClosed):
            while True:
                frames.append(await self.frame())
        close_frame = self.connection.protocol.close_rcvd
        assert close_frame is not None, "the server sent no close frame"
        return ConnectionClose(close_frame.code, close_frame.reason, frames)

    async def check_responsive(self) -> None:
        """Fail unless this connection is alive and in order: nothing waits, and it is answered."""
        await self.send("heartbeat", id="is it served")
        assert (await self.expect("heartbeat"))["id"] == "is it served"
