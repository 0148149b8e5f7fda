"""One bridge in this process, less Kafka: real sockets on loopback, and records put in by hand.

What a test says with `publish` goes through the router and the hub as a batch of Kafka's would.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from bridge.core.dialogue import Bounds
from bridge.core.hub import Hub
from bridge.core.router import Batch, Router
from bridge.web.doors import Doors
from bridge.web.entrance import Entrance, Limits
from bridge.web.gate import OpenGate
from bridge.web.probes import probes
from bridge.web.server import Server
from bridge.web.site import site
from bridge.web.sockets import Sockets
from tests.web.client import Client
from tests.web.raw import Raw

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from bridge.web.address import Proxies
    from bridge.web.gate import Gate

HOST = "127.0.0.1"
LIFE = b"8 bytes."
INSTANCE = "here"
TIMESTAMP = 1_795_000_000_123
TIMESTAMP_TEXT = "2026-11-18T11:06:40.123Z"
#: For what should come at once, on a machine that does much else.
PATIENCE = 20.0


class Record(NamedTuple):
    """A record as Kafka stores it."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


class Upstream:
    """Kafka as a test wants it to be. `known_ends` of None stands for one that does not answer."""

    def __init__(self) -> None:
        self.is_ready = True
        self.stale_for: float | None = None
        self.known_ends: dict[str, dict[int, int]] | None = {}
        self.asked: list[tuple[str, int]] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    def ready(self) -> bool:
        return self.is_ready

    def stale(self) -> float | None:
        return self.stale_for

    async def ends(
        self, questions: Sequence[tuple[str, int]]
    ) -> Mapping[str, Mapping[int, int]] | None:
        self.asked += questions
        await self.may_answer.wait()
        return self.known_ends


class Rig:
    """The parts of one bridge, and what a test does with it."""

    serving: asyncio.Task[None]

    def __init__(self, hub: Hub, entrance: Entrance, upstream: Upstream) -> None:
        self.hub = hub
        self.entrance = entrance
        self.upstream = upstream
        self.sockets = Sockets(entrance)
        app = site(entrance.doors, [probes(entrance)])
        self.server = Server(app, self.sockets.make, self._drain)
        self.drain_seconds = PATIENCE
        self.port = 0
        self._router = Router(max_bytes=1 << 24)
        self._dialled = contextlib.AsyncExitStack()

    @property
    def http(self) -> str:
        return f"http://{HOST}:{self.port}"

    async def connect(self, query: str = "", *, path: str = "/ws", **more: Any) -> Client:
        """Open a WebSocket as a client would; `more` is websockets' own."""
        url = f"ws://{HOST}:{self.port}{path}{'?' if query else ''}{query}"
        return await self._dialled.enter_async_context(Client(url, **more))

    async def join(self, query: str = "", **more: Any) -> Client:
        """Connect, and take the welcome."""
        client = await self.connect(query, **more)
        client.welcome = await client.expect("welcome")
        return client

    async def dial(self, *, receive_bytes: int | None = None) -> Raw:
        """Open a TCP connection on which the test itself says every byte."""
        raw = Raw(HOST, self.port, receive_bytes)
        return await self._dialled.enter_async_context(raw)

    async def open_raw(self, query: str = "", **more: Any) -> Raw:
        """Open a WebSocket byte by byte, and take the welcome."""
        raw = await self.dial(**more)
        answer = await raw.upgrade(f"/ws{'?' if query else ''}{query}")
        assert answer.status == 101, answer
        assert (await raw.json())["op"] == "welcome"
        return raw

    def publish(self, topic: str = "orders", partition: int = 0, **envelope: Any) -> str:
        """Put in one record with a native envelope; return its position."""
        return self.put_in(json.dumps(envelope).encode(), topic, partition)

    def put_in(
        self,
        value: bytes | None,
        topic: str = "orders",
        partition: int = 0,
        headers: Sequence[tuple[str, bytes | None]] = (),
    ) -> str:
        """Put in one record; return its position."""
        offset = self.hub.logs[topic].next.get(partition, 0)
        record = Record(offset, TIMESTAMP, None, value, headers)
        self.entrance.expire()
        self.hub.publish(self._router.route(Batch(topic, partition, [record], offset + 1)))
        self.sockets.flush()
        return f"{topic}:{partition}:{offset}"

    async def run(self) -> None:
        """Listen and serve until cancelled."""
        listening = socket.create_server((HOST, 0))
        # Sockets that are accepted inherit it. Else the kernel alone would hold megabytes.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 15)
        self.port = listening.getsockname()[1]
        async with asyncio.TaskGroup() as tasks:
            clock = tasks.create_task(self.sockets.run())
            await self.server.serve([listening])
            clock.cancel()

    async def hang_up(self) -> None:
        """End every connection from both sides, at once."""
        await self._dialled.aclose()
        for server in self.server.servers:
            server.close()
        await self.sockets.drain(0)
        for connection in list(self.server.server_state.connections):
            connection.transport.abort()
        await until(lambda: len(self.sockets) == 0)

    async def _drain(self) -> None:
        await self.sockets.drain(self.drain_seconds)


@contextlib.asynccontextmanager
async def opened(
    topics: Mapping[str, bool] | None = None,
    *,
    ceiling: int = 1 << 20,
    doors: Doors | None = None,
    gate: Gate | None = None,
    proxies: Proxies | None = None,
    wall: Callable[[], float] = time.time,
    bounds: Bounds | None = None,
    **limits: Any,
) -> AsyncIterator[Rig]:
    """Run a bridge of `orders`, `news` and a private `audit`, unless other topics are given.

    Each has two partitions, of which 10 and 20 are the next offsets.
    """
    limits = {"heartbeat": 25.0, **limits}
    named = topics or {"orders": False, "news": False, "audit": True}
    hub = Hub(
        INSTANCE, named, heartbeat=limits["heartbeat"], ceiling=ceiling, jitter=lambda most: most
    )
    for topic in named:
        hub.begin(topic, LIFE, {0: 10, 1: 20})
    entrance = Entrance(
        hub,
        gate if gate is not None else OpenGate(),
        doors if doors is not None else Doors(),
        Limits(bounds or Bounds(rooms=200, topics=50, changes_per_minute=300), **limits),
        proxies=proxies,
        wall=wall,
    )
    entrance.upstream = upstream = Upstream()
    rig = Rig(hub, entrance, upstream)
    rig.serving = asyncio.create_task(rig.run())
    try:
        await until(lambda: rig.server.started or rig.serving.done())
        yield rig
    finally:
        await rig.hang_up()
        rig.serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await rig.serving


async def until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait for `condition` to be true; fail where it is not within `seconds`."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)
