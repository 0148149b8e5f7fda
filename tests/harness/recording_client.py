"""A client that only listens, and keeps every frame for the checker.

The rule kept here: a frame is taken off the socket at once and judged afterwards, so that
hundreds of listeners in one process are not slow readers.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlencode

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.harness.deliveries import Observation
from tests.harness.frame_schemas import read_frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from websockets.asyncio.client import ClientConnection

    from tests.harness.deliveries import ExpectedRange

TIMEOUT_SECONDS = 60.0


class RecordingClient:
    """One client: `async with` is one connection of it; entered again, it connects again."""

    def __init__(
        self,
        url: str,
        *,
        name: str = "listener",
        account: str | None = None,
        rooms: Iterable[str] = (),
        topics: Iterable[str] = (),
        **parameters: str,
    ) -> None:
        self.name = name
        self.account = account
        self.rooms = frozenset(rooms)
        self.topics = frozenset(topics)
        query = {
            "account": account or "",
            "rooms": ",".join(sorted(self.rooms)),
            "topics": ",".join(sorted(self.topics)),
            **parameters,
        }
        self._url = f"{url}?{urlencode({k: v for k, v in query.items() if v})}"
        self._texts: list[str | bytes] = []
        self._frames: list[dict[str, Any]] = []
        self._changed = asyncio.Event()
        self._connection: ClientConnection | None = None
        self._reader_task: asyncio.Task[None] | None = None
        self.close_code: int | None = None  #: with which the last connection was closed

    async def __aenter__(self) -> Self:
        self.close_code = None
        so_far = len(self._texts)
        self._connection = await connect(
            self._url,
            proxy=None,
            compression=None,
            max_size=None,
            ping_interval=None,
            open_timeout=TIMEOUT_SECONDS,
            close_timeout=1,
        )
        self._reader_task = asyncio.create_task(self._read(self._connection))
        await self.wait_until(lambda: len(self._texts) > so_far)
        assert self.frames()[so_far]["op"] == "welcome", self.frames()[so_far]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._connection is not None and self._reader_task is not None:
            await self._connection.close()
            await self._reader_task

    def frames(self) -> list[dict[str, Any]]:
        """Every frame so far, of all its connections, each of them checked."""
        self._frames += map(read_frame, self._texts[len(self._frames) :])
        return self._frames

    def events(self) -> list[dict[str, Any]]:
        """The events among them."""
        return [frame for frame in self.frames() if frame["op"] == "event"]

    async def wait_for_text(
        self, expected: str, count: int, seconds: float = TIMEOUT_SECONDS
    ) -> None:
        """Wait until so many frames have `expected` in their text."""
        seen_count = found_count = 0

        def enough() -> bool:
            nonlocal seen_count, found_count
            new_texts = self._texts[seen_count:]
            seen_count += len(new_texts)
            found_count += sum(expected in text for text in new_texts if isinstance(text, str))
            return found_count >= count

        await self.wait_until(enough, seconds)

    async def wait_until(
        self, condition: Callable[[], object], seconds: float = TIMEOUT_SECONDS
    ) -> None:
        """Wait for `condition` of what came; fail where it does not come."""
        try:
            async with asyncio.timeout(seconds):
                while not condition():
                    assert self.close_code is None, f"{self.name} was closed with {self.close_code}"
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"{self.name} waited in vain: {self.frames()[-5:]}") from None

    def observation(self, owed: Sequence[ExpectedRange]) -> Observation:
        """What the checker has to know of it."""
        return Observation(
            client=self.name,
            account=self.account,
            topics=self.topics,
            owed=owed,
            frames=self.frames(),
            rooms=self.rooms,
        )

    async def _read(self, connection: ClientConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                self._texts.append(await connection.recv())
                self._changed.set()
        self.close_code = connection.close_code
        self._changed.set()
