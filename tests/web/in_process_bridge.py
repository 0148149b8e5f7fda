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
from bridge.core.protocol.record import Batch
from bridge.core.replay import retention as core_bounds
from bridge.core.replay.catchup import CatchUp
from bridge.core.routes.decoder import native_decoder
from bridge.core.sessions.hub import Hub
from bridge.core.sessions.requests import RequestLimits
from bridge.web.app import build_openapi_document, create_app
from bridge.web.auth.client_address import TrustedProxies
from bridge.web.auth.origins import OriginPolicy
from bridge.web.connections.admission import AdmissionLimits, ClientCounters, ExpiryTimers
from bridge.web.connections.flushing import Flusher
from bridge.web.connections.pool import ConnectionPool
from bridge.web.connections.sse import SseEndpoint, events_router
from bridge.web.connections.websocket import WebSocketEndpoint
from bridge.web.endpoints.health import health_router
from bridge.web.transport.server import DrainingServer
from tests.web.raw_connection import RawConnection
from tests.web.stub_admission import build_admission
from tests.web.stub_upstream import StubUpstream
from tests.web.websocket_client import WebSocketClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from fastapi import APIRouter

    from bridge.core.sessions.session import Session
    from bridge.web.auth.authenticator import Authenticator

HOST = "127.0.0.1"
TOPIC_ID = b"8 bytes."
INSTANCE = "here"
TIMESTAMP = 1_795_000_000_123
TIMESTAMP_TEXT = "2026-11-18T11:06:40.123Z"
#: For what should come at once, on a machine that does much else.
TIMEOUT_SECONDS = 20.0


class ConsumerRecord(NamedTuple):
    """A record as Kafka stores it."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


_openapi_documents: list[dict[str, Any]] = []


def _openapi_document(routers: Sequence[APIRouter]) -> dict[str, Any]:
    """Return the document of these routes, which are the same in each bridge."""
    if not _openapi_documents:
        _openapi_documents.append(build_openapi_document(routers))
    return _openapi_documents[0]


class InProcessBridge:
    """The parts of one bridge, and what a test does with it."""

    serve_task: asyncio.Task[None]

    def __init__(
        self,
        hub: Hub,
        limits: AdmissionLimits,
        catch_up: CatchUp,
        wait_seconds: float,
        *,
        authenticator: Authenticator | None,
        origin_policy: OriginPolicy,
        trusted_proxies: TrustedProxies,
        wall_clock: Callable[[], float],
    ) -> None:
        self.hub = hub
        self.flusher = Flusher(hub)
        self.upstream = StubUpstream(
            catch_up,
            hub,
            wait_seconds=wait_seconds,
            flush=self.flusher.flush_in_batches,
            overloaded=self._close_overloaded,
        )
        self.catch_up = catch_up
        self.counters = counters = ClientCounters()
        self.expiry = ExpiryTimers(hub, wall_clock=wall_clock)
        self.admission = admission = build_admission(
            hub,
            limits,
            catch_up,
            self.upstream,
            authenticator=authenticator,
            expiry=self.expiry,
            counters=counters,
            wall_clock=wall_clock,
        )
        self.pool = ConnectionPool(
            hub,
            admission,
            expiry=self.expiry,
            flusher=self.flusher,
            upstream=self.upstream,
            limits=limits,
            counters=counters,
        )
        self.websocket_endpoint = WebSocketEndpoint(
            hub,
            admission,
            self.pool,
            origin_policy=origin_policy,
            trusted_proxies=trusted_proxies,
            upstream=self.upstream,
            limits=limits,
            counters=counters,
        )
        self.sse_endpoint = SseEndpoint(
            hub,
            admission,
            self.pool,
            origin_policy=origin_policy,
            trusted_proxies=trusted_proxies,
            limits=limits,
            counters=counters,
        )
        routers = [health_router(admission, self.upstream), events_router(self.sse_endpoint)]
        app = create_app(origin_policy, routers, _openapi_document(routers))
        self.server = DrainingServer(
            app,
            self.websocket_endpoint.create_connection,
            self._drain,
            begin_drain=self.pool.begin_drain,
            shutdown_timeout_seconds=1,
        )
        #: All at once, and then as long as it takes.
        self.drain_seconds, self.leave_seconds = 0.0, TIMEOUT_SECONDS
        self.port = 0
        self._router = native_decoder(max_bytes=1 << 24)
        self._clients = contextlib.AsyncExitStack()

    @property
    def http(self) -> str:
        return f"http://{HOST}:{self.port}"

    async def connect(
        self, query: str = "", *, path: str = "/ws", **options: Any
    ) -> WebSocketClient:
        """Open a WebSocket as a client would; `options` is websockets' own."""
        url = f"ws://{HOST}:{self.port}{path}{'?' if query else ''}{query}"
        return await self._clients.enter_async_context(WebSocketClient(url, **options))

    async def connect_welcomed(self, query: str = "", **options: Any) -> WebSocketClient:
        """Connect, and take the welcome."""
        client = await self.connect(query, **options)
        client.welcome = await client.expect("welcome")
        return client

    async def open_tcp(self, *, receive_bytes: int | None = None) -> RawConnection:
        """Open a TCP connection on which the test itself says every byte."""
        raw = RawConnection(HOST, self.port, receive_bytes)
        return await self._clients.enter_async_context(raw)

    async def open_websocket(self, query: str = "", **more: Any) -> RawConnection:
        """Open a WebSocket byte by byte, and take the welcome."""
        raw = await self.open_tcp(**more)
        answer = await raw.upgrade(f"/ws{'?' if query else ''}{query}")
        assert answer.status == 101, answer
        assert (await raw.json())["op"] == "welcome"
        return raw

    def publish(self, topic: str = "orders", partition: int = 0, **envelope: Any) -> str:
        """Put in one record with a native envelope; return its position."""
        return self.publish_record(json.dumps(envelope).encode(), topic, partition)

    def publish_record(
        self,
        value: bytes | None,
        topic: str = "orders",
        partition: int = 0,
        headers: Sequence[tuple[str, bytes | None]] = (),
    ) -> str:
        """Put in one record; return its position."""
        offset = self.hub.topic_positions[topic].next_offsets.get(partition, 0)
        record = ConsumerRecord(offset, TIMESTAMP, None, value, headers)
        self.expiry.close_expired()
        self.hub.deliver_batch(self._router.decode(Batch(topic, partition, [record], offset + 1)))
        self.pool.flusher.flush()
        return f"{topic}:{partition}:{offset}"

    async def run(self) -> None:
        """Listen and serve until cancelled."""
        listening = socket.create_server((HOST, 0))
        # Sockets that are accepted inherit it. Else the kernel alone would hold megabytes.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 15)
        self.port = listening.getsockname()[1]
        async with asyncio.TaskGroup() as tasks:
            background = [
                tasks.create_task(self.pool.run()),
                tasks.create_task(self.upstream.replayer.run()),
            ]
            await self.server.serve([listening])
            for task in background:
                task.cancel()

    async def close_all(self) -> None:
        """End every connection from both sides, at once."""
        await self._clients.aclose()
        for server in self.server.servers:
            server.close()
        await self.pool.drain(0, leave_seconds=0)
        for connection in list(self.server.server_state.connections):
            connection.transport.abort()
        await wait_until(lambda: len(self.pool) == 0)

    async def _drain(self) -> None:
        await self.pool.drain(self.drain_seconds, self.leave_seconds)

    def _close_overloaded(self, session: Session) -> None:
        self.hub.close(session, close_codes.OVERLOADED)
        self.pool.flusher.flush()


@contextlib.asynccontextmanager
async def running_bridge(
    topics: Mapping[str, bool] | None = None,
    *,
    ceiling: int = 1 << 20,
    doors: OriginPolicy | None = None,
    gate: Authenticator | None = None,
    proxies: TrustedProxies | None = None,
    wall: Callable[[], float] = time.time,
    bounds: RequestLimits | None = None,
    wait_seconds: float = TIMEOUT_SECONDS,
    on_demand: Sequence[str] = (),
    **limits: Any,
) -> AsyncIterator[InProcessBridge]:
    """Run a bridge of `orders`, `news` and a private `audit`, unless other topics are given.

    Each has two partitions, of which 10 and 20 are the next offsets. Who waits longer than
    `wait_seconds` for Kafka is told to come back later. Those `on_demand` are asleep.
    """
    limits = {"heartbeat_seconds": 25.0, **limits}
    private_by_topic = topics or {"orders": False, "news": False, "audit": True}
    hub = Hub(
        INSTANCE,
        private_by_topic,
        heartbeat_seconds=limits["heartbeat_seconds"],
        max_outbox_bytes=ceiling,
        jitter=lambda most: most,
        wall_clock=time.time,
        journal=Journal(1 << 22),
        on_demand_topics=on_demand,
    )
    for topic in private_by_topic.keys() - set(on_demand):
        hub.set_start_offsets(topic, TOPIC_ID, {0: 10, 1: 20})
    bridge = InProcessBridge(
        hub,
        AdmissionLimits(
            bounds or RequestLimits(max_rooms=200, max_topics=50, max_changes_per_minute=300),
            **limits,
        ),
        CatchUp(hub, core_bounds.ReplayLimits(max_records=1000, max_bytes=1 << 20), ceiling),
        wait_seconds,
        authenticator=gate,
        origin_policy=doors if doors is not None else OriginPolicy(),
        trusted_proxies=proxies if proxies is not None else TrustedProxies(),
        wall_clock=wall,
    )
    bridge.serve_task = asyncio.create_task(bridge.run())
    try:
        await wait_until(lambda: bridge.server.started or bridge.serve_task.done())
        yield bridge
    finally:
        try:
            await bridge.close_all()
        finally:
            bridge.serve_task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await bridge.serve_task


async def wait_until(condition: Callable[[], object], seconds: float = TIMEOUT_SECONDS) -> None:
    """Wait for `condition` to be true; fail where it is not within `seconds`."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)


def connection_of(session: Session) -> Any:
    """The connection of a session, with what only the tests ask of it."""
    return session.connection
