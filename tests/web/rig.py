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

from bridge.core.journal import Journal
from bridge.core.protocol import close_codes
from bridge.core.protocol.envelope import Batch, Router
from bridge.core.replay import retention as core_bounds
from bridge.core.replay.catchup import CatchUp
from bridge.core.sessions.hub import Hub
from bridge.core.sessions.requests import Bounds
from bridge.web.app import site
from bridge.web.auth.authenticator import OpenGate
from bridge.web.auth.origins import Doors
from bridge.web.connections.admission import Entrance, Limits
from bridge.web.connections.pool import Sockets
from bridge.web.connections.sse import Streams, events
from bridge.web.connections.websocket import WebSockets
from bridge.web.endpoints.health import probes
from bridge.web.transport.server import Server
from tests.web.client import Client
from tests.web.raw import Raw
from tests.web.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from bridge.core.sessions.session import Session
    from bridge.web.auth.authenticator import Gate
    from bridge.web.auth.client_address import Proxies

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


class Rig:
    """The parts of one bridge, and what a test does with it."""

    serving: asyncio.Task[None]

    def __init__(self, hub: Hub, entrance: Entrance, wait_seconds: float) -> None:
        self.hub = hub
        self.entrance = entrance
        self.sockets = Sockets(entrance)
        self.websockets = WebSockets(entrance, self.sockets)
        self.upstream = entrance.upstream = Upstream(
            entrance.catch_up,
            hub,
            wait_seconds=wait_seconds,
            flush=self.sockets.flush_in_slices,
            overloaded=self._overloaded,
        )
        self.streams = Streams(entrance, self.sockets)
        app = site(entrance.doors, [probes(entrance), events(self.streams)])
        self.server = Server(app, self.websockets.make, self._drain)
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
            background = [
                tasks.create_task(self.sockets.run()),
                tasks.create_task(self.upstream.replayer.run()),
            ]
            await self.server.serve([listening])
            for task in background:
                task.cancel()

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

    def _overloaded(self, session: Session) -> None:
        self.hub.hang_up(session, close_codes.OVERLOADED)
        self.sockets.flush()


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
    wait_seconds: float = PATIENCE,
    on_demand: Sequence[str] = (),
    **limits: Any,
) -> AsyncIterator[Rig]:
    """Run a bridge of `orders`, `news` and a private `audit`, unless other topics are given.

    Each has two partitions, of which 10 and 20 are the next offsets. Who waits longer than
    `wait_seconds` for Kafka is told to come back later. Those `on_demand` are asleep.
    """
    limits = {"heartbeat": 25.0, **limits}
    named = topics or {"orders": False, "news": False, "audit": True}
    hub = Hub(
        INSTANCE,
        named,
        heartbeat=limits["heartbeat"],
        ceiling=ceiling,
        jitter=lambda most: most,
        journal=Journal(1 << 22),
        on_demand=on_demand,
    )
    for topic in named.keys() - set(on_demand):
        hub.begin(topic, LIFE, {0: 10, 1: 20})
    entrance = Entrance(
        hub,
        gate if gate is not None else OpenGate(),
        doors if doors is not None else Doors(),
        Limits(bounds or Bounds(rooms=200, topics=50, changes_per_minute=300), **limits),
        catch_up=CatchUp(hub, core_bounds.Limits(records=1000, bytes=1 << 20), ceiling),
        proxies=proxies,
        wall=wall,
    )
    rig = Rig(hub, entrance, wait_seconds)
    rig.serving = asyncio.create_task(rig.run())
    try:
        await until(lambda: rig.server.started or rig.serving.done())
        yield rig
    finally:
        try:
            await rig.hang_up()
        finally:
            rig.serving.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await rig.serving


async def until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait for `condition` to be true; fail where it is not within `seconds`."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)
