"""Builds the parts of one instance, in the order in which they need each other.

Rule: each part gets all that it needs when it is made; nothing is bound later. Building starts
nothing: `instance` runs what is built here.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import ChainMap
from typing import TYPE_CHECKING, NamedTuple

from bridge.app.access import build_authenticator, build_operators, build_origin_policy
from bridge.app.decoders import build_decoder
from bridge.app.pipeline import Pipeline
from bridge.app.served_topics import ServedTopics
from bridge.app.status import InstanceStatus, StatusSources, topic_statuses
from bridge.coordination.dead_letters import DeadLetterQueue
from bridge.coordination.service import CoordinationOptions, CoordinationService
from bridge.coordination.topics import BridgeTopics
from bridge.core.journal import Journal
from bridge.core.protocol.topic_catalogue import TopicCatalogue
from bridge.core.replay.catchup import CatchUp
from bridge.core.replay.retention import ReplayLimits
from bridge.core.sessions.hub import Hub
from bridge.core.sessions.requests import RequestLimits
from bridge.kafka.consumer import Consumer
from bridge.kafka.offsets import LogOffsets
from bridge.kafka.on_demand import ActiveTopics
from bridge.kafka.partitions import AssignedPartitions, WarmUpLimits
from bridge.kafka.producer import KafkaPublisher
from bridge.kafka.replay.history import HistoryDependencies, KafkaHistoryReader
from bridge.kafka.replay.scan import ScanSource
from bridge.kafka.replay.scheduler import ReplayScheduler, ScanLimits
from bridge.web.api.access import AdminAccess
from bridge.web.api.commands import commands_router
from bridge.web.api.listings import listings_router
from bridge.web.api.publish import publish_router
from bridge.web.api.reload import reload_router
from bridge.web.app import PortDispatcher, build_openapi_document, create_app
from bridge.web.auth.client_address import TrustedProxies
from bridge.web.connections.admission import (
    START_MARGIN_SECONDS,
    AdmissionController,
    AdmissionLimits,
    ClientCounters,
    ExpiryTimers,
)
from bridge.web.connections.flushing import Flusher
from bridge.web.connections.pool import ConnectionPool
from bridge.web.connections.sse import SseEndpoint, events_router
from bridge.web.connections.websocket import WebSocketEndpoint
from bridge.web.endpoints.health import health_router
from bridge.web.endpoints.history import history_router
from bridge.web.endpoints.metrics import MetricsCollector, metrics_router
from bridge.web.endpoints.static import client_files_router, console_router
from bridge.web.http.rate_limit import RateLimit
from bridge.web.transport.http_connections import HttpConnections, HttpLimits

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from fastapi import APIRouter
    from starlette.types import ASGIApp

    from bridge.config.settings import Settings
    from bridge.kafka.client.client import KafkaAccess, KafkaClient
    from bridge.web.api.schemas import Reloaded
    from bridge.web.auth.authenticator import Authenticator
    from bridge.web.auth.origins import OriginPolicy
    from bridge.web.auth.tokens.jwks import JwksCache


class Coordination(NamedTuple):
    """The hub, and the parts that deal with the bridge's own topics."""

    hub: Hub
    catalogue: TopicCatalogue
    topics: BridgeTopics
    service: CoordinationService
    dead_letters: DeadLetterQueue
    active_topics: ActiveTopics
    partitions: AssignedPartitions
    ready: asyncio.Event


class KafkaSide(NamedTuple):
    """The parts that read Kafka."""

    consumer: Consumer
    replay_scheduler: ReplayScheduler
    history_reader: KafkaHistoryReader
    catch_up: CatchUp
    expiry: ExpiryTimers
    flusher: Flusher
    served_topics: ServedTopics
    status: InstanceStatus
    publisher: KafkaPublisher
    publishers: Sequence[KafkaPublisher]  #: those that run: none without admin tokens


class WebSide(NamedTuple):
    """The parts that serve clients and operators."""

    app: ASGIApp
    pool: ConnectionPool
    websocket_endpoint: WebSocketEndpoint
    http_connections: HttpConnections
    jwks: JwksCache | None


def build_coordination(
    settings: Settings, access: KafkaAccess, client: KafkaClient, drain: Callable[[], None]
) -> Coordination:
    """Build the hub and the coordination with other instances; a command may call `drain`."""
    limits, bridge_topics = settings.limits, BridgeTopics(settings.kafka.prefix)
    catalogue = TopicCatalogue.from_entries(settings.topics)
    active_topics = ActiveTopics(catalogue, wait_seconds=settings.replay.wait_seconds)
    hub = Hub(
        settings.instance_name,
        catalogue.is_private,
        heartbeat_seconds=settings.heartbeat_seconds,
        max_outbox_bytes=limits.outbox_bytes,
        jitter=lambda seconds: round(seconds * random.uniform(0.5, 1.0), 3),  # noqa: S311
        wall_clock=time.time,
        journal=Journal(settings.replay.journal_bytes),
        on_demand_topics=catalogue.on_demand_topics,
        on_first_subscriber=active_topics.request_activation,
    )
    partitions = AssignedPartitions(
        [*catalogue.public_names, bridge_topics.control, bridge_topics.state],
        active_topics.idle_topics,
        WarmUpLimits(settings.replay.journal_bytes, settings.replay.max_records),
        required_topics=(bridge_topics.control, bridge_topics.state),
    )
    ready = asyncio.Event()
    dead_letters = DeadLetterQueue(catalogue)
    service = CoordinationService(
        bridge_topics,
        hub,
        access,
        client,
        partitions,
        ready.is_set,
        dead_letters,
        CoordinationOptions(
            max_command_bytes=limits.event_bytes,
            dead_letters_per_second=limits.dead_letters_per_second,
            instance_timeout_seconds=settings.instance_timeout_seconds,
            commits=settings.kafka.commit,
            sweep_seconds=settings.kafka.sweep_seconds,
        ),
        drain=drain,
    )
    return Coordination(
        hub, catalogue, bridge_topics, service, dead_letters, active_topics, partitions, ready
    )


def build_kafka(
    settings: Settings, access: KafkaAccess, client: KafkaClient, coordination: Coordination
) -> KafkaSide:
    """Build what reads Kafka and delivers to the hub of `coordination`."""
    hub, service, replay = coordination.hub, coordination.service, settings.replay
    catalogue = coordination.catalogue
    decoder = build_decoder(settings)
    expiry, flusher = ExpiryTimers(hub), Flusher(hub)
    pipeline = Pipeline(
        decoder,
        hub,
        expiry,
        flusher,
        coordination.dead_letters.add,
        command_consumer=service.command_consumer,
    )
    consumer = _build_consumer(settings, client, coordination, pipeline)
    limits = ReplayLimits(replay.max_records, replay.max_bytes, replay.max_age_seconds)
    catch_up = CatchUp(hub, limits, settings.limits.outbox_bytes)
    log_offsets = _build_log_offsets(settings, client, coordination)
    source = ScanSource(client, catalogue, consumer.topic_ids, consumer.partitions, decoder.decode)
    scan_limits = ScanLimits(replay.passes, replay.wait_seconds)
    scheduler = ReplayScheduler(
        catch_up,
        log_offsets,
        source,
        scan_limits,
        flush=flusher.flush_in_batches,
        on_overloaded=pipeline.close_overloaded,
    )
    history_reader = KafkaHistoryReader(
        HistoryDependencies(hub, log_offsets, source, consumer.stale_seconds), scan_limits, limits
    )
    publisher = KafkaPublisher(access, catalogue.kafka_names)
    publishers = [publisher, service.command_producer.publisher] if settings.admin_tokens else []
    sources = StatusSources(
        publishers, service.state_writer, service.leader_tasks, service.leader_election
    )
    served_topics = ServedTopics(catalogue, decoder, hub, consumer, settings.limits)
    letters, positions = coordination.dead_letters, hub.topic_positions
    status = InstanceStatus(consumer, scheduler, letters, sources, topic_positions=positions)
    return KafkaSide(
        *(consumer, scheduler, history_reader, catch_up, expiry, flusher),
        *(served_topics, status, publisher, publishers),
    )


def _build_consumer(
    settings: Settings, client: KafkaClient, coordination: Coordination, pipeline: Pipeline
) -> Consumer:
    hub, service = coordination.hub, coordination.service
    own_names = {t: t for t in (coordination.topics.control, coordination.topics.state)}
    return Consumer(
        client,
        f"{settings.kafka.prefix}.{settings.instance_name}" if settings.kafka.commit else None,
        ChainMap(own_names, coordination.catalogue.public_names),  # type: ignore[arg-type]  # it is only read
        pipeline,
        warm_seconds=settings.replay.warm_seconds,
        from_beginning=own_names,
        active_topics=coordination.active_topics,
        has_subscribers=lambda topic: (
            hub.on_demand.has_subscribers(topic) or service.is_leader_for(topic)
        ),
        partitions=coordination.partitions,
        ready=coordination.ready,
    )


def _build_log_offsets(
    settings: Settings, client: KafkaClient, coordination: Coordination
) -> LogOffsets:
    topic_positions = coordination.hub.topic_positions
    return LogOffsets(
        client,
        coordination.catalogue.kafka_names,
        max_age_seconds=settings.replay.max_age_seconds,
        waiting=lambda topic: topic_positions[topic].waiting,
    )


def build_web(
    settings: Settings,
    coordination: Coordination,
    kafka: KafkaSide,
    *,
    loopback_only: bool,
    loopback_pages: bool,
    admin_port: int | None,
    page_token: str | None,
    reload: Callable[[], Awaitable[Reloaded]],
) -> WebSide:
    """Build what serves clients; with `admin_port` operators are served on that port only.

    `page_token` is an admin token that the page at `/` hands to everybody who opens it.
    """
    pages = {"loopback_only": loopback_only, "loopback_pages": loopback_pages}
    origin_policy = build_origin_policy(settings, **pages)
    authenticator, jwks = _build_authenticator(settings, coordination, loopback_only=loopback_only)
    trusted_proxies = TrustedProxies(settings.trusted_proxies)
    clients = _build_clients(
        settings, coordination, kafka, authenticator, origin_policy, trusted_proxies
    )
    admission, hub = clients.admission, coordination.hub
    access = AdminAccess(build_operators(settings), trusted_proxies)
    http_connections = _build_http_connections(settings)
    health = health_router(admission, kafka.status)
    public = [health, events_router(clients.sse_endpoint), client_files_router()]
    history, admin_history = (
        history_router(
            admission,
            kafka.history_reader,
            known,
            clients.pool,
            origin_policy=origin_policy,
            trusted_proxies=trusted_proxies,
            jitter=hub.jitter,
        )
        for known in (AdminAccess([]), access)
    )
    metrics = MetricsCollector(
        hub,
        admission,
        kafka.status,
        counters=clients.counters,
        catch_up=kafka.catch_up,
        upstream=kafka.status,
        http_connections=http_connections,
    )
    operators = [metrics_router(metrics)]
    api = _api_routers(settings, coordination, kafka, clients.pool, access, reload)
    document = build_openapi_document([*public, admin_history, *operators, *api])
    if settings.admin_tokens:
        by_account = settings.auth.mode == "none"
        console = console_router(origin_policy, by_account=by_account, admin_token=page_token)
        operators += [*api, console]
    app: ASGIApp = create_app(origin_policy, [*public, admin_history, *operators], document)
    if admin_port is not None:
        public_app = create_app(origin_policy, [*public, history], document)
        app = PortDispatcher(public_app, {admin_port: app})
    return WebSide(app, clients.pool, clients.websocket_endpoint, http_connections, jwks)


def _build_authenticator(
    settings: Settings, coordination: Coordination, *, loopback_only: bool
) -> tuple[Authenticator, JwksCache | None]:
    return build_authenticator(
        settings.auth,
        loopback_only=loopback_only,
        is_private=coordination.catalogue.is_private,
    )


class _Clients(NamedTuple):
    """The parts that admit clients and write to them."""

    admission: AdmissionController
    pool: ConnectionPool
    sse_endpoint: SseEndpoint
    websocket_endpoint: WebSocketEndpoint
    counters: ClientCounters


def _build_clients(
    settings: Settings,
    coordination: Coordination,
    kafka: KafkaSide,
    authenticator: Authenticator,
    origin_policy: OriginPolicy,
    trusted_proxies: TrustedProxies,
) -> _Clients:
    hub, upstream, counters = coordination.hub, kafka.status, ClientCounters()
    limits = _admission_limits(settings)
    admission = AdmissionController(
        hub,
        authenticator,
        limits,
        catch_up=kafka.catch_up,
        upstream=upstream,
        command_executor=coordination.service.command_executor,
        expiry=kafka.expiry,
        counters=counters,
    )
    pool = ConnectionPool(
        hub,
        admission,
        expiry=kafka.expiry,
        flusher=kafka.flusher,
        upstream=upstream,
        limits=limits,
        counters=counters,
    )
    sse = SseEndpoint(
        hub,
        admission,
        pool,
        origin_policy=origin_policy,
        trusted_proxies=trusted_proxies,
        limits=limits,
        counters=counters,
    )
    websockets = WebSocketEndpoint(
        hub,
        admission,
        pool,
        origin_policy=origin_policy,
        trusted_proxies=trusted_proxies,
        upstream=upstream,
        limits=limits,
        counters=counters,
    )
    return _Clients(admission, pool, sse, websockets, counters)


def _api_routers(
    settings: Settings,
    coordination: Coordination,
    kafka: KafkaSide,
    pool: ConnectionPool,
    access: AdminAccess,
    reload: Callable[[], Awaitable[Reloaded]],
) -> list[APIRouter]:
    """Return the routes of `/v1`."""
    service, limits = coordination.service, settings.limits
    rate_limit = RateLimit(limits.publishes_per_second)
    kafka_names = coordination.catalogue.kafka_names
    return [
        publish_router(
            kafka.publisher,
            access,
            max_event_bytes=limits.event_bytes,
            max_addresses=limits.audience,
            rate_limit=rate_limit,
            header_format=coordination.catalogue.header_format,
        ),
        commands_router(service.command_producer, service.directory, access, rate_limit=rate_limit),
        listings_router(
            service.directory,
            access,
            last_seen=pool.last_seen,
            topics=lambda: [*topic_statuses(kafka.consumer, coordination.hub, kafka_names)],
        ),
        reload_router(reload, access, rate_limit=rate_limit),
    ]


def _build_http_connections(settings: Settings) -> HttpConnections:
    limits = settings.limits
    return HttpConnections(
        HttpLimits(limits.http_connections, settings.keepalive_seconds, limits.outbox_seconds)
    )


def _admission_limits(settings: Settings) -> AdmissionLimits:
    limits = settings.limits
    return AdmissionLimits(
        RequestLimits(limits.rooms, limits.topics, limits.changes_per_minute),
        max_connections=limits.connections,
        max_connections_per_account=limits.connections_per_account,
        max_connections_per_address=limits.connections_per_address,
        max_handshakes_per_second=limits.handshakes_per_second,
        max_frame_bytes=limits.frame_bytes,
        max_frames_per_second=limits.frames_per_second,
        outbox_timeout_seconds=limits.outbox_seconds,
        heartbeat_seconds=settings.heartbeat_seconds,
        max_stale_seconds=settings.stale_seconds,
        # Topics become active, then the start position is fetched: Kafka is waited for twice.
        start_timeout_seconds=2 * settings.replay.wait_seconds + START_MARGIN_SECONDS,
    )
