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

from bridge.app.pipeline import Reading, Span, Switch
from bridge.app.status import Parts, feeds
from bridge.config import topics
from bridge.coordination.commands import Means
from bridge.coordination.dead_letters import Burial, Casualties, Letters
from bridge.coordination.service import Staff
from bridge.coordination.topics import Own
from bridge.core.journal import Journal
from bridge.core.protocol.envelope import Router
from bridge.core.replay import retention
from bridge.core.replay.catchup import CatchUp
from bridge.core.sessions.hub import Hub
from bridge.core.sessions.requests import Bounds
from bridge.kafka.client.client import OUT_OF_REACH, Access, Cluster
from bridge.kafka.consumer import Feed
from bridge.kafka.offsets import Horizon
from bridge.kafka.on_demand import Sleepers
from bridge.kafka.producer import Writer
from bridge.kafka.replay.history import History, Shelf
from bridge.kafka.replay.scan import Source
from bridge.kafka.replay.scheduler import Replayer, Rules
from bridge.web.api.commands import commands
from bridge.web.api.listings import listings
from bridge.web.api.publish import AdminTokens, api
from bridge.web.app import ByPort, openapi, site
from bridge.web.auth.client_address import Proxies
from bridge.web.auth.jwt import open_gate, token_gate
from bridge.web.auth.origins import LOOPBACK_HOSTS, Doors
from bridge.web.connections.admission import Entrance, Limits
from bridge.web.connections.pool import Sockets
from bridge.web.connections.sse import Streams, events
from bridge.web.connections.websocket import WebSockets
from bridge.web.endpoints.health import probes
from bridge.web.endpoints.history import history
from bridge.web.endpoints.metrics import Metrics, metrics
from bridge.web.endpoints.static import library, page
from bridge.web.http.rate_limit import Pace
from bridge.web.transport.server import Server

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from starlette.types import ASGIApp

    from bridge.config.settings import Auth, Kafka, Settings
    from bridge.web.auth.authenticator import Gate
    from bridge.web.auth.jwks import Jwks

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


class Instance:
    """One bridge. What is for operators is served on the listener `admin` only, if there is one."""

    def __init__(
        self,
        settings: Settings,
        *,
        access: Access,
        cluster: Callable[[Access], Cluster] = Cluster,
        loopback_only: bool = False,
        admin: socket.socket | None = None,
        page_token: str | None = None,
    ) -> None:
        """`page_token` is an admin token that the page at `/` hands to whoever opens it."""
        limits, sources = settings.limits, topics.sources(settings.topics)
        on_demand = topics.on_demand(settings.topics)
        hub = Hub(
            settings.instance_name,
            {topic.name: topic.private for topic in settings.topics},
            heartbeat=settings.heartbeat_seconds,
            ceiling=limits.outbox_bytes,
            jitter=lambda seconds: round(seconds * random.uniform(0.5, 1.0), 3),  # noqa: S311
            journal=Journal(settings.replay.journal_bytes),
            on_demand=[name for kafka in on_demand for name in sources[kafka]],
        )
        may_scan = retention.Limits(settings.replay.max_records, settings.replay.max_bytes)
        self._cluster = cluster(access)
        may_ask = Bounds(limits.rooms, limits.topics, limits.changes_per_minute)
        group = f"{settings.kafka.prefix}.{settings.instance_name}"
        doors = Doors(settings.allowed_origins, LOOPBACK_HOSTS if loopback_only else None)
        admits, self._keys = gate(settings.auth, loopback_only=loopback_only)
        self.entrance = Entrance(
            hub,
            catch_up=CatchUp(hub, may_scan, limits.outbox_bytes),
            gate=admits,
            doors=doors,
            proxies=Proxies(settings.trusted_proxies),
            limits=Limits(
                may_ask,
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
        websockets = WebSockets(self.entrance, self.sockets)
        casualties, router, replay = Casualties(), Router(limits.event_bytes), settings.replay
        letters, own = Letters(), Own(settings.kafka.prefix)
        burial = Burial(casualties, letters, sources)
        span = Span(router, self.entrance, self.sockets, burial.bury)
        sleepers = Sleepers(
            on_demand,
            sources,
            lambda topic: hub.demand.followed(topic) or self._staff.minds(topic),
            wait_seconds=replay.wait_seconds,
        )
        hub.demand.call = sleepers.call
        switch = Switch(span)
        self.feed = Feed(
            self._cluster,
            group,
            {**sources, own.control: [own.control], own.state: [own.state]},
            switch,
            warm_seconds=replay.warm_seconds,
            whole=(own.control, own.state),
            sleepers=sleepers,
        )
        self._staff = staff = Staff(
            *(own, hub, access, self.feed, self._cluster, letters),
            Means(hub.instance, limits.event_bytes, leave=self._leave, dead=burial.bury),
            letters_per_second=limits.dead_letters_per_second,
        )
        switch.office, self.entrance.backend = staff.office, staff.backend
        names = {topic.name: topic.kafka_name for topic in settings.topics}
        horizon = Horizon(self._cluster, names, max_age_seconds=replay.max_age_seconds)
        source = Source(
            self._cluster, sources, self.feed.ids, self.feed.partitions.leader, router.route
        )
        rules = Rules(replay.passes, replay.wait_seconds)
        self._replayer = Replayer(
            self.entrance.catch_up,
            horizon,
            source,
            rules,
            flush=self.sockets.flush_in_slices,
            overloaded=span.overloaded,
        )
        tokens = [token.get_secret_value() for token in settings.admin_tokens]
        writer = Writer(access, names)
        self._writers = [writer, staff.orders.writer] if tokens else []
        parts = Parts(self._writers, staff.scribe, staff.steward, staff.duties)
        reading = Reading(self.feed, self._replayer, casualties, parts)
        self.entrance.upstream = reading
        everybody = [probes(self.entrance), events(Streams(self.entrance, self.sockets)), library()]
        archive = History(Shelf(hub, horizon, source, self.feed.stale), rules, may_scan)
        past, any_past = (
            history(self.entrance, archive, AdminTokens(known), self.sockets)
            for known in ([], tokens)
        )
        operators = [metrics(Metrics(hub, self.entrance, reading))]
        pace, directory = Pace(limits.publishes_per_second), staff.directory
        backends = [
            api(writer, tokens, event_bytes=limits.event_bytes, pace=pace),
            commands(staff.orders, directory, tokens, pace=pace),
            listings(
                directory,
                tokens,
                heard=self.sockets.heard,
                topics=lambda: [*feeds(self.feed, hub, names)],
            ),
        ]
        document = openapi([*everybody, any_past, *operators, *backends])
        if tokens:
            by_account = settings.auth.mode == "none"
            operators += [*backends, page(doors, by_account=by_account, admin_token=page_token)]
        app: ASGIApp = site(doors, [*everybody, any_past, *operators], document)
        self._admin = admin
        if admin is not None:
            usual = site(doors, [*everybody, past], document)
            app = ByPort(usual, {admin.getsockname()[1]: app})
        self._server = Server(app, websockets.make, self._drain)

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
        tasks += [asyncio.create_task(writer.run(), name="writer") for writer in self._writers]
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
        await self._staff.prepare()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.feed.run())
            tasks.create_task(self._replayer.run())
            await self.feed.ready.wait()
            tasks.create_task(self._staff.run())
            started()

    def _leave(self) -> None:
        """Drain, as after a signal."""
        self._server.should_exit = True

    async def _drain(self) -> None:
        _log.info("draining: telling %d clients to go elsewhere", len(self.sockets))
        await self.sockets.drain(DRAIN_SECONDS)
