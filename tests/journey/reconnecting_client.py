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
from tests.harness.frame_schemas import check_frame
from tests.journey.resume_state import ResumeState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from random import Random

    from websockets.asyncio.client import ClientConnection

    from tests.harness.deliveries import ExpectedRange

TIMEOUT_SECONDS = 60.0
PAUSE_SECONDS = (0.05, 0.8)
SMALL_BUFFER_BYTES, SEGMENT_BYTES = 4096, 536
CURSOR_ONLY_SHARE = 0.2  #: how often it comes back with the cursor alone
CONNECT_ERRORS = (OSError, TimeoutError, InvalidHandshake, InvalidMessage, EOFError)


class ReconnectingClient:
    """One client of the instances at `urls`. `last` is the type of event that ends the story.

    It asks by its first frame where `hello`, else by the URL. `topics` and `types` of None are
    all. Where it is `narrow`, little is on its way to it when it stops reading.
    """

    def __init__(
        self,
        name: str,
        urls: Sequence[str],
        rng: Random,
        *,
        last_type: str,
        account: str,
        rooms: Iterable[str] = (),
        topics: frozenset[str] | None = None,
        types: tuple[str, ...] | None = None,
        sends_hello: bool = False,
        has_small_buffers: bool = False,
    ) -> None:
        self.name = name
        self.account = account
        self.rooms = frozenset(rooms)
        self.topics = topics
        self.types = types
        self.resume_state = ResumeState()
        self.close_codes: Counter[int | None] = Counter()  #: with which its connections ended
        self.failed_attempts = 0  #: attempts that brought no welcome
        self._urls = urls
        self._rng = rng
        self._sends_hello = sends_hello
        self._has_small_buffers = has_small_buffers
        self._last_type = last_type
        self._last_positions: set[str] = set()
        self._changed = asyncio.Event()
        self._connection: ClientConnection | None = None
        self._run_task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._run_task = asyncio.create_task(self._run(), name=self.name)
        await self.wait_until(lambda: self.resume_state.connection_count)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._run_task is not None:
            self._run_task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._run_task

    async def wait_until(
        self, condition: Callable[[], object], seconds: float = TIMEOUT_SECONDS
    ) -> None:
        """Wait until `condition` holds, which is asked anew with every frame."""
        async with asyncio.timeout(seconds):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def last_event_count(self) -> int:
        """In how many partitions it has seen the last event."""
        return len(self._last_positions)

    def observation(self, owed: Sequence[ExpectedRange], topics: frozenset[str]) -> Observation:
        """What the checker has to know of it; each frame is checked as to its form."""
        for frame in self.resume_state.frames:
            check_frame(frame)
        return Observation(
            client=self.name,
            account=self.account,
            topics=self.topics or topics,
            owed=owed,
            frames=self.resume_state.frames,
            rooms=self.rooms,
            types=self.types,
        )

    # -- what may befall it ----------------------------------------------------------------------

    def cut(self) -> None:
        """End its connection without a word."""
        if self._connection is not None:
            self._connection.transport.abort()

    async def close(self) -> None:
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

    async def _run(self) -> None:
        while True:
            before = self.resume_state.connection_count
            try:
                await self._connect_once(self._rng.choice(self._urls))
            except CONNECT_ERRORS:
                self.close_codes[None] += 1
            self.failed_attempts += self.resume_state.connection_count == before
            await asyncio.sleep(self._rng.uniform(*PAUSE_SECONDS))

    async def _connect_once(self, url: str) -> None:
        """Be connected to one instance for as long as that lasts."""
        fields = self._connect_fields(
            self.resume_state.resume(cursor_only=self._rng.random() < CURSOR_ONLY_SHARE)
        )
        query = {"hello": 1} if self._sends_hello else _as_query(fields)
        # No queue of frames that it would have read and not taken in.
        connection = await connect(
            f"{url}?{urlencode(query)}",
            sock=await _open_socket(url, has_small_buffers=self._has_small_buffers),
            proxy=None,
            compression=None,
            max_size=None,
            max_queue=None,
            ping_interval=None,
            open_timeout=TIMEOUT_SECONDS,
            close_timeout=1,
        )
        try:
            if self._sends_hello:
                await connection.send(json.dumps({"op": "hello", **fields}))
            self._connection = connection
            while True:
                self._receive(await connection.recv())
        except ConnectionClosed:
            self.close_codes[connection.close_code] += 1
        finally:
            self._connection = None
            connection.transport.abort()

    def _connect_fields(self, cursor: str | None) -> dict[str, Any]:
        fields: dict[str, Any] = {"account": self.account, "rooms": sorted(self.rooms)}
        if self.topics is not None:
            fields["topics"] = sorted(self.topics)
        if self.types is not None:
            fields["types"] = list(self.types)
        if cursor is not None:
            fields["cursor"] = cursor
        return fields

    def _receive(self, text: str | bytes) -> None:
        frame = json.loads(text)
        if self.resume_state.receive(frame) and frame.get("type") == self._last_type:
            self._last_positions.add(frame["at"])
        self._changed.set()


async def _open_socket(url: str, *, has_small_buffers: bool) -> socket.socket:
    address = urlsplit(url)
    sock = socket.socket()
    sock.setblocking(False)
    if has_small_buffers:
        # The sender's kernel makes its own buffer small too, where segments are.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER_BYTES)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT_BYTES)
    try:
        host_and_port = (address.hostname, address.port)
        await asyncio.get_running_loop().sock_connect(sock, host_and_port)
    except BaseException:
        sock.close()
        raise
    return sock


def _as_query(fields: dict[str, Any]) -> dict[str, str]:
    return {
        name: value if isinstance(value, str) else ",".join(value)
        for name, value in fields.items()
        if value
    }
