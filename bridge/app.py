"""One instance: builds everything, wires the banks to the span, owns the order of start and end.

Order of the start: the listener first, so that `/healthz` answers and early clients are told to
come back, then Kafka, for as long as that takes. Order of the end: the clients, the listener,
then Kafka; whoever comes meanwhile is told to go elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from typing import TYPE_CHECKING, Any

from aiokafka.helpers import create_ssl_context

from bridge.core.dialogue import Bounds
from bridge.core.hub import Hub
from bridge.core.router import Batch, Router
from bridge.kafka.cluster import OUT_OF_REACH, Access, Cluster
from bridge.kafka.feed import Feed
from bridge.kafka.writer import Writer
from bridge.telemetry import Casualties
from bridge.web.address import Proxies
from bridge.web.admission import open_gate, token_gate
from bridge.web.api import api
from bridge.web.doors import LOOPBACK_HOSTS, Doors
from bridge.web.entrance import Entrance, Limits
from bridge.web.metrics import Metrics, metrics
from bridge.web.openapi import openapi
from bridge.web.page import page
from bridge.web.ports import ByPort
from bridge.web.probes import probes
from bridge.web.server import Server
from bridge.web.site import site
from bridge.web.sockets import Sockets

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping, Sequence

    from starlette.types import ASGIApp

    from bridge.settings import Auth, Kafka, Settings
    from bridge.web.gate import Gate
    from bridge.web.jwks import Jwks

_log = logging.getLogger(__name__)

DRAIN_SECONDS = 10.0
_RETRY_SECONDS = 1.0


def access(kafka: Kafka, **more: Any) -> Access:  # noqa: ANN401 - `Access`'s own fields
    """Return how to reach Kafka, from its settings."""
    options: dict[str, Any] = {
        "client_id": "push-bridge",
        "security_protocol": kafka.security_protocol,
        "sasl_mechanism": kafka.sasl_mechanism,
        "sasl_plain_username": kafka.sasl_plain_username,
        "sasl_kerberos_service_name": kafka.sasl_kerberos_service_name,
        "sasl_kerberos_domain_name": kafka.sasl_kerberos_domain_name,
    }
    if kafka.sasl_plain_password is not None:
        options["sasl_plain_password"] = kafka.sasl_plain_password.get_secret_value()
    if kafka.security_protocol.endswith("SSL"):
        password = kafka.ssl_password
        options["ssl_context"] = create_ssl_context(
            cafile=kafka.ssl_cafile,
            certfile=kafka.ssl_certfile,
            keyfile=kafka.ssl_keyfile,
            password=None if password is None else password.get_secret_value(),
        )
    wait = {"fetch_wait_ms": kafka.fetch_max_wait_ms}
    return Access(kafka.bootstrap_servers, options, **{**wait, **more})


def gate(auth: Auth, *, loopback_only: bool) -> tuple[Gate, Jwks | None]:
    """Return what clients are known by, and the keys that have to be kept up to date, if any."""
    if auth.mode == "none":
        return open_gate(loopback_only=loopback_only), None
    return token_gate(
        secret=None if auth.secret is None else auth.secret.get_secret_value(),
        jwks_url=auth.jwks_url,
        algorithms=auth.algorithms,
        audience=auth.audience,
        issuer=auth.issuer,
    )


class Span:
    """Joins the banks: from the feed through the router and the hub to the sockets."""

    def __init__(
        self, router: Router, entrance: Entrance, sockets: Sockets, casualties: Casualties
    ) -> None:
        self._router = router
        self._entrance = entrance
        self._hub = entrance.hub
        self._sockets = sockets
        self._casualties = casualties

    def begin(self, topic: str, identity: bytes, offsets: Mapping[int, int]) -> None:
        """Tell the hub where reading starts."""
        self._hub.begin(topic, identity, offsets)
        self._sockets.flush()

    def skip(self, topic: str, reason: str, offsets: Mapping[int, int]) -> None:
        """Tell the hub what can not be read."""
        self._hub.skip(topic, reason, offsets)
        self._sockets.flush()

    async def deliver(self, batches: Sequence[Batch]) -> None:
        """Route, publish, and write to the sockets: each of them once."""
        self._entrance.expire()
        for batch in batches:
            routed = self._router.route(batch)
            for casualty in routed.casualties:
                self._casualties.count(casualty)
            self._hub.publish(routed)
        await self._sockets.flush_in_slices()


class Reading:
    """What the sockets and the metrics may ask of the feed."""

    def __init__(self, feed: Feed, casualties: Casualties) -> None:
        self._feed = feed
        self._casualties = casualties

    def lag(self) -> Mapping[str, int]:
        """Records that are still to be read, by topic."""
        return self._feed.lag()

    def dead(self) -> Mapping[str, int]:
        """Records that could not be used, by reason."""
        return self._casualties.by_reason

    def replayed(self) -> int:
        """Records that were read again: this version does not replay."""
        return 0

    def ready(self) -> bool:
        """Whether the feed has caught up once."""
        return self._feed.ready.is_set()

    def stale(self) -> float | None:
        """Seconds without Kafka."""
        return self._feed.stale()

    async def ends(
        self, questions: Sequence[tuple[str, int]]
    ) -> Mapping[str, Mapping[int, int]] | None:
        """The ends of these partitions, or None where Kafka does not tell."""
        try:
            return await self._feed.ends(questions)
        except OUT_OF_REACH:
            return None


class Instance:
    """One bridge. What is for operators is served on the listener `admin` only, if there is one."""

    def __init__(
        self,
        settings: Settings,
        *,
        access: Access,
        loopback_only: bool = False,
        admin: socket.socket | None = None,
        page_token: str | None = None,
    ) -> None:
        """`page_token` is an admin token that the page at `/` hands to whoever opens it."""
        limits = settings.limits
        hub = Hub(
            settings.instance_name,
            {topic.name: topic.private for topic in settings.topics},
            heartbeat=settings.heartbeat_seconds,
            ceiling=limits.outbox_bytes,
            jitter=lambda seconds: round(seconds * random.uniform(0.5, 1.0), 3),  # noqa: S311
        )
        self._cluster = Cluster(access)
        sources: dict[str, list[str]] = {}
        for topic in settings.topics:
            sources.setdefault(topic.kafka_name, []).append(topic.name)
        bounds = Bounds(limits.rooms, limits.topics, limits.changes_per_minute)
        group = f"{settings.kafka.prefix}.{settings.instance_name}"
        doors = Doors(settings.allowed_origins, LOOPBACK_HOSTS if loopback_only else None)
        admits, self._keys = gate(settings.auth, loopback_only=loopback_only)
        self.entrance = Entrance(
            hub,
            gate=admits,
            doors=doors,
            proxies=Proxies(settings.trusted_proxies),
            limits=Limits(
                bounds,
                connections=limits.connections,
                per_account=limits.connections_per_account,
                per_address=limits.connections_per_address,
                handshakes_per_second=limits.handshakes_per_second,
                frame_bytes=limits.frame_bytes,
                outbox_seconds=limits.outbox_seconds,
                heartbeat=settings.heartbeat_seconds,
                stale=settings.stale_seconds,
            ),
        )
        self.sockets = Sockets(self.entrance)
        casualties = Casualties()
        span = Span(Router(limits.event_bytes), self.entrance, self.sockets, casualties)
        self.feed = Feed(self._cluster, group, sources, span)
        self.entrance.upstream = reading = Reading(self.feed, casualties)
        names = {topic.name: topic.kafka_name for topic in settings.topics}
        tokens = [token.get_secret_value() for token in settings.admin_tokens]
        self._writer = Writer(access, names)
        self._writes = bool(tokens)
        everybody = [probes(self.entrance)]
        operators = [metrics(Metrics(hub, self.entrance, reading))]
        backends = api(
            self._writer,
            tokens,
            event_bytes=limits.event_bytes,
            publishes_per_second=limits.publishes_per_second,
        )
        document = openapi([*everybody, *operators, backends])
        if tokens:
            by_account = settings.auth.mode == "none"
            operators += [backends, page(doors, by_account=by_account, admin_token=page_token)]
        app: ASGIApp = site(doors, [*everybody, *operators], document)
        self._admin = admin
        if admin is not None:
            app = ByPort(site(doors, everybody, document), {admin.getsockname()[1]: app})
        self._server = Server(app, self.sockets.make, self._drain)

    async def run(self, listener: socket.socket, *, started: Callable[[], None]) -> None:
        """Serve on `listener` until a signal; `started` is called once the feed is ready.

        Cancellation: ends at once, without a drain.
        """
        tasks = [
            asyncio.create_task(self._feed_clients(started), name="feed"),
            asyncio.create_task(self.sockets.run(), name="clock"),
        ]
        if self._keys is not None:
            tasks.append(asyncio.create_task(self._keys.run(), name="keys"))
        if self._writes:
            tasks.append(asyncio.create_task(self._writer.run(), name="writer"))
        for task in tasks:
            task.add_done_callback(self._ended)
        try:
            await self._server.serve([listener, *([self._admin] if self._admin else [])])
        finally:
            for task in tasks:
                task.cancel()
            for task in tasks:
                with contextlib.suppress(asyncio.CancelledError):
                    await task
            await self._cluster.close()

    def _ended(self, task: asyncio.Task[None]) -> None:
        """End the instance with a task that should have outlived it: something is badly wrong."""
        if not task.cancelled():
            _log.critical("%s ended", task.get_name(), exc_info=task.exception())
            self._server.should_exit = True

    async def _feed_clients(self, started: Callable[[], None]) -> None:
        while True:
            try:
                await self._cluster.connect()
            except OUT_OF_REACH as error:
                _log.warning("Kafka does not answer at the start, will keep trying: %s", error)
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                break
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.feed.run())
            await self.feed.ready.wait()
            started()

    async def _drain(self) -> None:
        _log.info("draining: telling %d clients to go elsewhere", len(self.sockets))
        await self.sockets.drain(DRAIN_SECONDS)
