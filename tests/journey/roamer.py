"""A client that comes back to any instance whenever its connection ends, and misses nothing.

The rule kept here: however its connection ends, what it has seen is what it has taken in; it
comes back by the contract's client rule, sometimes with the cursor alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections import Counter
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlencode, urlsplit

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage

from tests.harness.deliveries import Observation
from tests.harness.frames import check_frame
from tests.journey.recall import Recall

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from random import Random

    from websockets.asyncio.client import ClientConnection

    from tests.harness.deliveries import Owed

PATIENCE = 60.0
PAUSE = (0.05, 0.8)
NARROW_BYTES, SEGMENT_BYTES = 4096, 536
ALONE = 0.2  #: how often it comes back with the cursor alone
NO_WAY = (OSError, TimeoutError, InvalidHandshake, InvalidMessage, EOFError)


class Roamer:
    """One client of the instances at `urls`. `last` is the type of event that ends the story.

    It asks by its first frame where `hello`, else by the URL. `topics` and `types` of None are
    all. Where it is `narrow`, little is on its way to it when it stops reading.
    """

    def __init__(
        self,
        name: str,
        urls: Sequence[str],
        chance: Random,
        *,
        last: str,
        account: str,
        rooms: Iterable[str] = (),
        topics: frozenset[str] | None = None,
        types: tuple[str, ...] | None = None,
        hello: bool = False,
        narrow: bool = False,
    ) -> None:
        self.name = name
        self.account = account
        self.rooms = frozenset(rooms)
        self.topics = topics
        self.types = types
        self.recall = Recall()
        self.codes: Counter[int | None] = Counter()  #: with which its connections ended
        self.refused = 0  #: attempts that brought no welcome
        self._urls = urls
        self._chance = chance
        self._hello = hello
        self._narrow = narrow
        self._last = last
        self._lasts: set[str] = set()
        self._changed = asyncio.Event()
        self._connection: ClientConnection | None = None
        self._roaming: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._roaming = asyncio.create_task(self._roam(), name=self.name)
        await self.until(lambda: self.recall.connections)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._roaming is not None:
            self._roaming.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._roaming

    async def until(self, condition: Callable[[], object], seconds: float = PATIENCE) -> None:
        """Wait until `condition` holds, which is asked anew with every frame."""
        async with asyncio.timeout(seconds):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def lasts(self) -> int:
        """In how many partitions it has seen the last event."""
        return len(self._lasts)

    def observation(self, owed: Sequence[Owed], topics: frozenset[str]) -> Observation:
        """What the checker has to know of it; each frame is checked as to its form."""
        for frame in self.recall.frames:
            check_frame(frame)
        return Observation(
            client=self.name,
            account=self.account,
            topics=self.topics or topics,
            owed=owed,
            frames=self.recall.frames,
            rooms=self.rooms,
            types=self.types,
        )

    # -- what may befall it ----------------------------------------------------------------------

    def cut(self) -> None:
        """End its connection without a word."""
        if self._connection is not None:
            self._connection.transport.abort()

    async def part(self) -> None:
        """End its connection politely."""
        if self._connection is not None:
            await self._connection.close()

    async def stall(self, seconds: float) -> None:
        """Let it read nothing for a while."""
        if (connection := self._connection) is not None:
            connection.transport.pause_reading()
            await asyncio.sleep(seconds)
            with contextlib.suppress(RuntimeError):
                connection.transport.resume_reading()

    # -- its life --------------------------------------------------------------------------------

    async def _roam(self) -> None:
        while True:
            before = self.recall.connections
            try:
                await self._stay(self._chance.choice(self._urls))
            except NO_WAY:
                self.codes[None] += 1
            self.refused += self.recall.connections == before
            await asyncio.sleep(self._chance.uniform(*PAUSE))

    async def _stay(self, url: str) -> None:
        """Be connected to one instance for as long as that lasts."""
        asked = self._asked(self.recall.resume(alone=self._chance.random() < ALONE))
        query = {"hello": 1} if self._hello else _as_query(asked)
        # No queue of frames that it would have read and not taken in.
        connection = await connect(
            f"{url}?{urlencode(query)}",
            sock=await _dial(url, narrow=self._narrow),
            proxy=None,
            compression=None,
            max_size=None,
            max_queue=None,
            ping_interval=None,
            open_timeout=PATIENCE,
            close_timeout=1,
        )
        try:
            if self._hello:
                await connection.send(json.dumps({"op": "hello", **asked}))
            self._connection = connection
            while True:
                self._hear(await connection.recv())
        except ConnectionClosed:
            self.codes[connection.close_code] += 1
        finally:
            self._connection = None
            connection.transport.abort()

    def _asked(self, cursor: str | None) -> dict[str, Any]:
        wanted: dict[str, Any] = {"account": self.account, "rooms": sorted(self.rooms)}
        if self.topics is not None:
            wanted["topics"] = sorted(self.topics)
        if self.types is not None:
            wanted["types"] = list(self.types)
        if cursor is not None:
            wanted["cursor"] = cursor
        return wanted

    def _hear(self, text: str | bytes) -> None:
        frame = json.loads(text)
        if self.recall.hear(frame) and frame.get("type") == self._last:
            self._lasts.add(frame["at"])
        self._changed.set()


async def _dial(url: str, *, narrow: bool) -> socket.socket:
    address = urlsplit(url)
    sock = socket.socket()
    sock.setblocking(False)
    if narrow:
        # The sender's kernel makes its own buffer small too, where segments are.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, NARROW_BYTES)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT_BYTES)
    try:
        place = (address.hostname, address.port)
        await asyncio.get_running_loop().sock_connect(sock, place)
    except BaseException:
        sock.close()
        raise
    return sock


def _as_query(asked: dict[str, Any]) -> dict[str, str]:
    return {
        name: said if isinstance(said, str) else ",".join(said)
        for name, said in asked.items()
        if said
    }
