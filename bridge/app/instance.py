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

from bridge.app.pipeline import InstanceStatus, Pipeline, TopicDispatcher
from bridge.app.status import StatusSources, topic_statuses
from bridge.coordination.dead_letters import DeadLetterQueue
from bridge.coordination.service import CoordinationService
from bridge.coordination.topics import BridgeTopics
from bridge.core.journal import Journal
from bridge.core.protocol.envelope import EnvelopeDecoder
from bridge.core.protocol.topic_catalogue import TopicCatalogue
from bridge.core.replay import retention
from bridge.core.replay.catchup import CatchUp
from bridge.core.sessions.hub import Hub
from bridge.core.sessions.requests import RequestLimits
from bridge.kafka.client.client import REQUEST_ERRORS, KafkaAccess, KafkaClient
from bridge.kafka.consumer import Consumer
from bridge.kafka.offsets import LogOffsets
from bridge.kafka.on_demand import ActiveTopics
from bridge.kafka.producer import KafkaPublisher
from bridge.kafka.replay.history import HistoryDependencies, KafkaHistoryReader
from bridge.kafka.replay.scan import ScanSource
from bridge.kafka.replay.scheduler import ReplayScheduler, ScanLimits
from bridge.web.api.commands import commands_router
from bridge.web.api.listings import listings_router
from bridge.web.api.publish import AdminTokens, publish_router
from bridge.web.app import PortDispatcher, build_openapi_document, create_app
from bridge.web.auth.client_address import TrustedProxies
from bridge.web.auth.jwt import build_allow_all, build_jwt_authenticator
from bridge.web.auth.origins import LOOPBACK_HOSTS, OriginPolicy
from bridge.web.connections.admission import AdmissionController, AdmissionLimits
from bridge.web.connections.pool import ConnectionPool
from bridge.web.connections.sse import SseEndpoint, events_router
from bridge.web.connections.websocket import WebSocketEndpoint
from bridge.web.endpoints.health import health_router
from bridge.web.endpoints.history import history_router
from bridge.web.endpoints.metrics import MetricsCollector, metrics_router
from bridge.web.endpoints.static import client_files_router, console_router
from bridge.web.http.rate_limit import RateLimit
from bridge.web.transport.server import DrainingServer

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from starlette.types import ASGIApp

    from bridge.config.settings import AuthSettings, KafkaSettings, Settings
    from bridge.web.auth.authenticator import Authenticator
    from bridge.web.auth.jwks import JwksCache

_log = logging.getLogger(__name__)

DRAIN_TIMEOUT_SECONDS = 10.0
_RETRY_SECONDS = 1.0


def build_kafka_access(kafka: KafkaSettings, **overrides: Any) -> KafkaAccess:  # noqa: ANN401 - `KafkaAccess`'s own fields
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
    fetch_options = {"fetch_wait_ms": kafka.fetch_max_wait_ms}
    return KafkaAccess(kafka.bootstrap_servers, options, **{**fetch_options, **overrides})


def build_authenticator(
    auth: AuthSettings, *, loopback_only: bool
) -> tuple[Authenticator, JwksCache | None]:
    """Return what clients are known by, and the keys that have to be kept up to date, if any."""
    if auth.mode == "none":
        return build_allow_all(loopback_only=loopback_only), None
    return build_jwt_authenticator(
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
        access: KafkaAccess,
        client_factory: Callable[[KafkaAccess], KafkaClient] = KafkaClient,
        loopback_only: bool = False,
        admin: socket.socket | None = None,
        page_token: str | None = None,
    ) -> None:
        """`page_token` is an admin token that the page at `/` hands to whoever opens it."""
        limits, catalogue = settings.limits, TopicCatalogue.from_entries(settings.topics)
        hub = Hub(
            settings.instance_name,
            catalogue.is_private,
            heartbeat_seconds=settings.heartbeat_seconds,
            max_outbox_bytes=limits.outbox_bytes,
            jitter=lambda seconds: round(seconds * random.uniform(0.5, 1.0), 3),  # noqa: S311
            journal=Journal(settings.replay.journal_bytes),
            on_demand_topics=catalogue.on_demand_topics,
        )
        may_scan = retention.ReplayLimits(settings.replay.max_records, settings.replay.max_bytes)
        self._cluster = client_factory(access)
        may_ask = RequestLimits(limits.rooms, limits.topics, limits.changes_per_minute)
        group = f"{settings.kafka.prefix}.{settings.instance_name}"
        doors = OriginPolicy(settings.allowed_origins, LOOPBACK_HOSTS if loopback_only else None)
        admits, self._keys = build_authenticator(settings.auth, loopback_only=loopback_only)
        self.admission = AdmissionController(
            hub,
            catch_up=CatchUp(hub, may_scan, limits.outbox_bytes),
            authenticator=admits,
            origin_policy=doors,
            trusted_proxies=TrustedProxies(settings.trusted_proxies),
            limits=AdmissionLimits(
                may_ask,
                max_connections=limits.connections,
                max_connections_per_account=limits.connections_per_account,
                max_connections_per_address=limits.connections_per_address,
                max_handshakes_per_second=limits.handshakes_per_second,
                max_frame_bytes=limits.frame_bytes,
                outbox_timeout_seconds=limits.outbox_seconds,
                heartbeat_seconds=settings.heartbeat_seconds,
                max_stale_seconds=settings.stale_seconds,
            ),
        )
        self.pool = ConnectionPool(self.admission)
        websockets = WebSocketEndpoint(self.admission, self.pool)
        router, replay = EnvelopeDecoder(limits.event_bytes), settings.replay
        dead_letters, own = DeadLetterQueue(catalogue), BridgeTopics(settings.kafka.prefix)
        span = Pipeline(router, self.admission, self.pool, dead_letters.add)
        sleepers = ActiveTopics(
            catalogue,
            lambda topic: hub.on_demand.has_subscribers(topic) or self._staff.is_leader_for(topic),
            wait_seconds=replay.wait_seconds,
        )
        hub.on_demand.on_first_subscriber = sleepers.request_activation
        switch = TopicDispatcher(span)
        self.consumer = Consumer(
            self._cluster,
            group,
            {**catalogue.public_names, own.control: [own.control], own.state: [own.state]},
            switch,
            warm_seconds=replay.warm_seconds,
            from_beginning=(own.control, own.state),
            active_topics=sleepers,
        )
        self._staff = staff = CoordinationService(
            *(own, hub, access, self.consumer, self._cluster, dead_letters),
            max_command_bytes=limits.event_bytes,
            dead_letters_per_second=limits.dead_letters_per_second,
            drain=self._leave,
        )
        switch.command_consumer, self.admission.command_executor = (
            staff.command_consumer,
            staff.command_executor,
        )
        horizon = LogOffsets(
            self._cluster, catalogue.kafka_names, max_age_seconds=replay.max_age_seconds
        )
        source = ScanSource(
            self._cluster,
            catalogue,
            self.consumer.topic_ids,
            self.consumer.partitions.leader_of,
            router.decode,
        )
        rules = ScanLimits(replay.passes, replay.wait_seconds)
        self._replayer = ReplayScheduler(
            self.admission.catch_up,
            horizon,
            source,
            rules,
            flush=self.pool.flush_in_batches,
            on_overloaded=span.close_overloaded,
        )
        tokens = [token.get_secret_value() for token in settings.admin_tokens]
        writer = KafkaPublisher(access, catalogue.kafka_names)
        self._writers = [writer, staff.command_producer.publisher] if tokens else []
        parts = StatusSources(
            self._writers, staff.state_writer, staff.leader_tasks, staff.leader_election
        )
        reading = InstanceStatus(self.consumer, self._replayer, dead_letters, parts)
        self.admission.upstream = reading
        everybody = [
            health_router(self.admission),
            events_router(SseEndpoint(self.admission, self.pool)),
            client_files_router(),
        ]
        archive = KafkaHistoryReader(
            HistoryDependencies(hub, horizon, source, self.consumer.stale_seconds), rules, may_scan
        )
        past, any_past = (
            history_router(self.admission, archive, AdminTokens(known), self.pool)
            for known in ([], tokens)
        )
        operators = [metrics_router(MetricsCollector(hub, self.admission, reading))]
        pace, directory = RateLimit(limits.publishes_per_second), staff.directory
        backends = [
            publish_router(writer, tokens, max_event_bytes=limits.event_bytes, rate_limit=pace),
            commands_router(staff.command_producer, directory, tokens, rate_limit=pace),
            listings_router(
                directory,
                tokens,
                last_seen=self.pool.last_seen,
                topics=lambda: [*topic_statuses(self.consumer, hub, catalogue.kafka_names)],
            ),
        ]
        document = build_openapi_document([*everybody, any_past, *operators, *backends])
        if tokens:
            by_account = settings.auth.mode == "none"
            operators += [
                *backends,
                console_router(doors, by_account=by_account, admin_token=page_token),
            ]
        app: ASGIApp = create_app(doors, [*everybody, any_past, *operators], document)
        self._admin = admin
        if admin is not None:
            usual = create_app(doors, [*everybody, past], document)
            app = PortDispatcher(usual, {admin.getsockname()[1]: app})
        self._server = DrainingServer(app, websockets.create_connection, self._drain)

    async def run(self, listener: socket.socket, *, on_ready: Callable[[], None]) -> None:
        """Serve on `listener` until a signal; `on_ready` is called once the feed is ready.

        Cancellation: ends at once, without a drain.
        """
        tasks = [
            asyncio.create_task(self._feed_clients(on_ready), name="feed"),
            asyncio.create_task(self.pool.run(), name="clock"),
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
            except REQUEST_ERRORS as error:
                _log.warning("Kafka does not answer at the start, will keep trying: %s", error)
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                break
        await self._staff.prepare()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.consumer.run())
            tasks.create_task(self._replayer.run())
            await self.consumer.ready.wait()
            tasks.create_task(self._staff.run())
            started()

    def _leave(self) -> None:
        """Drain, as after a signal."""
        self._server.should_exit = True

    async def _drain(self) -> None:
        _log.info("draining: telling %d clients to go elsewhere", len(self.pool))
        await self.pool.drain(DRAIN_TIMEOUT_SECONDS)
