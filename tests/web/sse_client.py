"""A client of event streams: it asks byte by byte, and reads as a browser does."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from tests.harness.event_stream_parser import EventStreamParser
from tests.harness.frame_schemas import read_frame
from tests.web.raw_connection import TIMEOUT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.web.in_process_bridge import InProcessBridge
    from tests.web.raw_connection import HttpResponse, RawConnection


class SseClient:
    """One stream. Every event is checked to be the frame that its name says."""

    welcome: dict[str, Any]

    def __init__(self, connection: RawConnection, response: HttpResponse) -> None:
        self.connection = connection
        self.response = response
        self.parser = EventStreamParser()
        self._frames: list[dict[str, Any]] = []
        self.chunks: list[bytes] = []

    @property
    def last_event_id(self) -> str:
        """What an `EventSource` would come back with by now."""
        return self.parser.last_event_id

    async def frame(self) -> dict[str, Any]:
        """The next frame."""
        while not self._frames:
            assert await self.read(), "the stream has ended"
        return self._frames.pop(0)

    async def read(self) -> bool:
        """Take what comes next; False at the end, which has to be in order."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            chunk = await self.connection.read_chunk()
        self.chunks.append(chunk)
        for event in self.parser.feed(chunk):
            frame = read_frame(event.data)
            assert frame["op"] == event.type
            self._frames.append(frame)
        return bool(chunk)

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

    async def read_to_end(self) -> list[dict[str, Any]]:
        """Wait for the end, by the server's hand; return the frames that came before it."""
        while await self.read():
            pass
        frames, self._frames = self._frames, []
        assert await self.connection.read_to_end() == b"", (
            "the connection is closed behind the answer"
        )
        return frames

    async def wait_closed_with(self, code: int) -> dict[str, Any]:
        """Wait for the end; return the `closing` frame, which says `code`."""
        closing = (await self.read_to_end())[-1]
        assert (closing["op"], closing["code"]) == ("closing", code), closing
        return closing


async def request_stream(
    bridge: InProcessBridge, query: str = "", method: str = "GET", **headers: str
) -> HttpResponse:
    """Ask for a stream; return the head of the answer, and the body where its length is told."""
    return await request_stream_on(await bridge.open_tcp(), query, method, headers)


async def request_stream_on(
    connection: RawConnection,
    query: str = "",
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
) -> HttpResponse:
    """Ask for a stream on `connection`."""
    request_headers = {name.replace("_", "-"): value for name, value in (headers or {}).items()}
    lines = {"Host": f"{connection.host}:{connection.port}", **request_headers}
    target = f"/events{'?' if query else ''}{query}"
    head = [f"{method} {target} HTTP/1.1", *(f"{name}: {text}" for name, text in lines.items())]
    return await connection.request("\r\n".join([*head, "", ""]), has_no_body=method == "HEAD")


async def open_stream(
    bridge: InProcessBridge,
    query: str = "",
    headers: Mapping[str, str] | None = None,
    *,
    receive_bytes: int | None = None,
) -> SseClient:
    """Open a stream."""
    connection = await bridge.open_tcp(receive_bytes=receive_bytes)
    response = await request_stream_on(connection, query, headers=headers)
    assert response.status == 200, response
    return SseClient(connection, response)


async def open_welcomed_stream(
    bridge: InProcessBridge,
    query: str = "",
    headers: Mapping[str, str] | None = None,
    *,
    receive_bytes: int | None = None,
) -> SseClient:
    """Open a stream, and take the welcome."""
    client = await open_stream(bridge, query, headers, receive_bytes=receive_bytes)
    client.welcome = await client.expect("welcome")
    return client


async def check_refused(
    bridge: InProcessBridge, status: int, query: str = "", **headers: str
) -> HttpResponse:
    """Ask for a stream that is not to be had; return the answer, which is a problem."""
    before = len(bridge.pool), bridge.admission.connection_count
    response = await request_stream(bridge, query, **headers)
    assert response.status == status, response
    assert response.headers["content-type"] == "application/problem+json"
    problem = json.loads(response.body)
    assert problem["status"] == status
    assert problem["detail"]
    assert (len(bridge.pool), bridge.admission.connection_count) == before
    return response
