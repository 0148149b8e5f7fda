"""Clients that listen while a browser does something to them, in a thread of their own."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlencode

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.cli.command_process import wait_until
from tests.harness.frame_schemas import read_frame

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection


class BackgroundClient:
    """One client, and what it has been told."""

    def __init__(self, query: dict[str, str]) -> None:
        self.query = query
        self.frames: list[dict[str, Any]] = []
        self.close_info: tuple[int, str] | None = None

    @property
    def id(self) -> str:
        """What the bridge calls its connection."""
        return str(self.frames[0]["connection"])

    def wait_for_frame(self, op: str, **fields: Any) -> None:
        """Wait for a frame of `op` that has these fields."""

        def has_arrived() -> bool:
            return any(
                frame["op"] == op and fields.items() <= frame.items() for frame in self.frames
            )

        wait_until(has_arrived, f"{op} {fields} for {self.query}; {self.frames}")

    def wait_closed(self) -> tuple[int, str]:
        """Wait for the close; return its code and reason."""
        wait_until(lambda: self.close_info is not None, f"the end of {self.query}")
        assert self.close_info is not None
        return self.close_info


class BackgroundClients:
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
        asyncio.run_coroutine_threadsafe(self._disconnect(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def connect(self, *queries: dict[str, str]) -> list[BackgroundClient]:
        """Connect with each of these parameters; return them once all are welcomed."""
        clients = [BackgroundClient(query) for query in queries]
        asyncio.run_coroutine_threadsafe(self._connect(clients), self._loop).result()
        wait_until(lambda: all(guest.frames for guest in clients), "the welcomes")
        return clients

    def connect_one(self, **query: str) -> BackgroundClient:
        """Connect one."""
        (client,) = self.connect(query)
        return client

    async def _connect(self, clients: list[BackgroundClient]) -> None:
        for background_client in clients:
            connection = await connect(
                f"{self._url}?{urlencode(background_client.query)}", proxy=None
            )
            self._tasks.append(asyncio.create_task(_read_frames(connection, background_client)))

    async def _disconnect(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _read_frames(connection: ClientConnection, background_client: BackgroundClient) -> None:
    try:
        async with connection:
            while True:
                background_client.frames.append(read_frame(await connection.recv()))
    except ConnectionClosed as closed:
        close_frame = closed.rcvd
        background_client.close_info = (
            (1006, "") if close_frame is None else (close_frame.code, close_frame.reason)
        )
