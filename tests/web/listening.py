"""A client of event streams: it asks byte by byte, and reads as a browser does."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from tests.harness.eventstream import EventStream
from tests.harness.frames import read_frame
from tests.web.raw import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.web.raw import Answer, Raw
    from tests.web.rig import Rig


class Listener:
    """One stream. Every event is checked to be the frame that its name says."""

    welcome: dict[str, Any]

    def __init__(self, raw: Raw, head: Answer) -> None:
        self.raw = raw
        self.head = head
        self.stream = EventStream()
        self._frames: list[dict[str, Any]] = []
        self.chunks: list[bytes] = []

    @property
    def id(self) -> str:
        """What an `EventSource` would come back with by now."""
        return self.stream.last_event_id

    async def frame(self) -> dict[str, Any]:
        """The next frame."""
        while not self._frames:
            assert await self.read(), "the stream has ended"
        return self._frames.pop(0)

    async def read(self) -> bool:
        """Take what comes next; False at the end, which has to be in order."""
        async with asyncio.timeout(PATIENCE):
            chunk = await self.raw.chunk()
        self.chunks.append(chunk)
        for event in self.stream.feed(chunk):
            frame = read_frame(event.data)
            assert frame["op"] == event.type
            self._frames.append(frame)
        return bool(chunk)

    async def expect(self, op: str) -> dict[str, Any]:
        """The next frame, which is `op`."""
        frame = await self.frame()
        assert frame["op"] == op, frame
        return frame

    async def next(self, op: str) -> dict[str, Any]:
        """The next frame of `op`, whatever comes before it."""
        while (frame := await self.frame())["op"] != op:
            pass
        return frame

    async def end(self) -> list[dict[str, Any]]:
        """Wait for the end, by the server's hand; return the frames that came before it."""
        while await self.read():
            pass
        frames, self._frames = self._frames, []
        assert await self.raw.rest() == b"", "the connection is closed behind the answer"
        return frames

    async def ended_with(self, code: int) -> dict[str, Any]:
        """Wait for the end; return the `closing` frame, which says `code`."""
        closing = (await self.end())[-1]
        assert (closing["op"], closing["code"]) == ("closing", code), closing
        return closing


async def ask(rig: Rig, query: str = "", method: str = "GET", **headers: str) -> Answer:
    """Ask for a stream; return the head of the answer, and the body where its length is told."""
    return await asked(await rig.dial(), query, method, headers)


async def asked(
    raw: Raw, query: str = "", method: str = "GET", headers: Mapping[str, str] | None = None
) -> Answer:
    """Ask for a stream on `raw`."""
    named = {name.replace("_", "-"): value for name, value in (headers or {}).items()}
    lines = {"Host": f"{raw.host}:{raw.port}", **named}
    target = f"/events{'?' if query else ''}{query}"
    head = [f"{method} {target} HTTP/1.1", *(f"{name}: {it}" for name, it in lines.items())]
    return await raw.request("\r\n".join([*head, "", ""]), bodiless=method == "HEAD")


async def opened(
    rig: Rig,
    query: str = "",
    headers: Mapping[str, str] | None = None,
    *,
    receive_bytes: int | None = None,
) -> Listener:
    """Open a stream."""
    raw = await rig.dial(receive_bytes=receive_bytes)
    answer = await asked(raw, query, headers=headers)
    assert answer.status == 200, answer
    return Listener(raw, answer)


async def listen(
    rig: Rig,
    query: str = "",
    headers: Mapping[str, str] | None = None,
    *,
    receive_bytes: int | None = None,
) -> Listener:
    """Open a stream, and take the welcome."""
    listener = await opened(rig, query, headers, receive_bytes=receive_bytes)
    listener.welcome = await listener.expect("welcome")
    return listener


async def refused(rig: Rig, status: int, query: str = "", **headers: str) -> Answer:
    """Ask for a stream that is not to be had; return the answer, which is a problem."""
    before = len(rig.sockets), rig.entrance.count
    answer = await ask(rig, query, **headers)
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "application/problem+json"
    told = json.loads(answer.body)
    assert told["status"] == status
    assert told["detail"]
    assert (len(rig.sockets), rig.entrance.count) == before
    return answer
