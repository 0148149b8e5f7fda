"""Clients that listen while a browser does something to them, in a thread of their own."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlencode

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.cli.command import until
from tests.harness.frames import read_frame

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection


class Guest:
    """One client, and what it has been told."""

    def __init__(self, query: dict[str, str]) -> None:
        self.query = query
        self.frames: list[dict[str, Any]] = []
        self.closed: tuple[int, str] | None = None

    @property
    def id(self) -> str:
        """What the bridge calls its connection."""
        return str(self.frames[0]["connection"])

    def waits_for(self, op: str, **fields: Any) -> None:
        """Wait for a frame of `op` that has these fields."""

        def came() -> bool:
            return any(
                frame["op"] == op and fields.items() <= frame.items() for frame in self.frames
            )

        until(came, f"{op} {fields} for {self.query}; {self.frames}")

    def waits_for_the_end(self) -> tuple[int, str]:
        """Wait for the close; return its code and reason."""
        until(lambda: self.closed is not None, f"the end of {self.query}")
        assert self.closed is not None
        return self.closed


class Guests:
    """Clients of one bridge, until the block ends."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/").replace("http", "ws", 1) + "/ws"
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._tasks: list[asyncio.Task[None]] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._leave(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def come(self, *queries: dict[str, str]) -> list[Guest]:
        """Connect with each of these parameters; return them once all are welcomed."""
        guests = [Guest(query) for query in queries]
        asyncio.run_coroutine_threadsafe(self._come(guests), self._loop).result()
        until(lambda: all(guest.frames for guest in guests), "the welcomes")
        return guests

    def one(self, **query: str) -> Guest:
        """Connect one."""
        (guest,) = self.come(query)
        return guest

    async def _come(self, guests: list[Guest]) -> None:
        for guest in guests:
            client = await connect(f"{self._url}?{urlencode(guest.query)}", proxy=None)
            self._tasks.append(asyncio.create_task(_listen(client, guest)))

    async def _leave(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _listen(client: ClientConnection, guest: Guest) -> None:
    try:
        async with client:
            while True:
                guest.frames.append(read_frame(await client.recv()))
    except ConnectionClosed as end:
        got = end.rcvd
        guest.closed = (1006, "") if got is None else (got.code, got.reason)
