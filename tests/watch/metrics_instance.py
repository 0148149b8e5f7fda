"""`/metrics` of an instance with all its parts, none of which has begun its work.

The rule kept here: every part is the real one, so what is told is what an instance tells.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import httpx
from prometheus_client.parser import text_string_to_metric_families

from bridge.app.pipeline import Pipeline
from bridge.app.status import InstanceStatus, StatusSources
from bridge.config.topics import TopicDefinition
from bridge.coordination.dead_letters import DeadLetterQueue
from bridge.coordination.leader import LeaderElection
from bridge.coordination.leader_tasks import LeaderTasks
from bridge.coordination.state_writer import StateWriter
from bridge.coordination.topics import BridgeTopics
from bridge.core.coordination.presence import PresenceTracker
from bridge.core.coordination.room_memberships import CommandExecutor, Memberships
from bridge.core.protocol.topic_catalogue import TopicCatalogue
from bridge.core.replay import retention
from bridge.core.replay.catchup import CatchUp
from bridge.core.routes.decoder import native_decoder
from bridge.core.sessions.hub import Hub
from bridge.core.sessions.requests import RequestLimits
from bridge.kafka.client.client import KafkaAccess
from bridge.kafka.consumer import Consumer
from bridge.kafka.offsets import LogOffsets
from bridge.kafka.on_demand import ActiveTopics
from bridge.kafka.producer import KafkaPublisher
from bridge.kafka.replay.scan import ScanSource
from bridge.kafka.replay.scheduler import ReplayScheduler, ScanLimits
from bridge.web.app import create_app
from bridge.web.auth.authenticator import AllowAll
from bridge.web.auth.origins import OriginPolicy
from bridge.web.connections.admission import (
    AdmissionController,
    AdmissionLimits,
    ClientCounters,
    ExpiryTimers,
)
from bridge.web.connections.flushing import Flusher
from bridge.web.connections.pool import ConnectionPool
from bridge.web.endpoints.metrics import MetricsCollector, metrics_router
from bridge.web.transport.http_connections import HttpConnections
from tests.kafka.memory_kafka import MemoryKafkaClient

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

TOPIC = "orders"
IDLE_TOPIC = "rare"  #: on demand, and nobody is there
TOPIC_NAMES = {TOPIC: TOPIC, IDLE_TOPIC: IDLE_TOPIC}


class MetricsInstance:
    """One instance, of which a test may ask anything that `/metrics` is made of."""

    def __init__(self) -> None:
        self.client = MemoryKafkaClient()
        self.hub = Hub(
            "i1",
            dict.fromkeys(TOPIC_NAMES, False),
            heartbeat_seconds=25.0,
            max_outbox_bytes=1 << 20,
            jitter=float,
            wall_clock=time.time,
            on_demand_topics=[IDLE_TOPIC],
        )
        catch_up = CatchUp(self.hub, retention.ReplayLimits(1000, 1 << 20), 1 << 20)
        expiry, flusher = ExpiryTimers(self.hub), Flusher(self.hub)
        self.router = native_decoder(1 << 20)
        catalogue = TopicCatalogue.from_entries(
            TopicDefinition(name=name, on_demand=name == IDLE_TOPIC) for name in TOPIC_NAMES
        )
        self.dead_letters = DeadLetterQueue(catalogue)
        self.pipeline = Pipeline(self.router, self.hub, expiry, flusher, self.dead_letters.add)
        self.consumer = Consumer(
            self.client,
            "group",
            catalogue.public_names,
            self.pipeline,
            active_topics=ActiveTopics(catalogue, wait_seconds=30),
            has_subscribers=self.hub.on_demand.has_subscribers,
        )
        replay_scheduler = ReplayScheduler(
            catch_up,
            LogOffsets(self.client, catalogue.kafka_names, max_age_seconds=60),
            ScanSource(
                self.client,
                catalogue,
                self.consumer.topic_ids,
                self.consumer.partitions,
                self.router.decode,
            ),
            ScanLimits(max_scans=2, max_wait_seconds=30),
            flush=flusher.flush_in_batches,
            on_overloaded=self.pipeline.close_overloaded,
        )
        status = InstanceStatus(
            self.consumer,
            replay_scheduler,
            self.dead_letters,
            self._status_sources(),
            topic_positions=self.hub.topic_positions,
        )
        limits, counters = AdmissionLimits(RequestLimits(200, 50, 300)), ClientCounters()
        self.admission = AdmissionController(
            self.hub,
            AllowAll(),
            limits,
            catch_up=catch_up,
            upstream=status,
            command_executor=CommandExecutor(self.hub, Memberships()),
            expiry=expiry,
            counters=counters,
        )
        self.pool = ConnectionPool(
            self.hub,
            self.admission,
            expiry=expiry,
            flusher=flusher,
            upstream=status,
            limits=limits,
            counters=counters,
        )
        collector = MetricsCollector(
            self.hub,
            self.admission,
            status,
            counters=counters,
            catch_up=catch_up,
            upstream=status,
            http_connections=HttpConnections(),
        )
        app = create_app(OriginPolicy(), [metrics_router(collector)], {})
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://bridge.example"
        )

    def _status_sources(self) -> StatusSources:
        access, topics = KafkaAccess("127.0.0.1:1", {}), BridgeTopics("push-bridge")
        leader_tasks = LeaderTasks(
            access,
            self.client,
            topics,
            PresenceTracker(),
            self.dead_letters,
            dead_letters_per_second=100,
            is_current=lambda: True,
            consumer_positions=self.consumer.partitions,
        )
        producer, state_writer = KafkaPublisher(access, TOPIC_NAMES), StateWriter(access)
        return StatusSources(
            [producer], state_writer, leader_tasks, LeaderElection(access, topics, leader_tasks)
        )

    async def read_text(self) -> str:
        """Return what `/metrics` says."""
        answer = await self.http.get("/metrics")
        assert answer.status_code == 200, answer.text
        return answer.text

    async def families(self) -> dict[str, Metric]:
        """Return the families, by their names."""
        return {each.name: each for each in text_string_to_metric_families(await self.read_text())}

    async def samples(self) -> dict[str, set[str]]:
        """Return the names of all samples, each with the labels that it has."""
        found: dict[str, set[str]] = {}
        for family in (await self.families()).values():
            for sample in family.samples:
                found.setdefault(sample.name, set()).update(sample.labels)
        return found

    async def values(self) -> dict[str, float]:
        """Return every sample, its labels behind its name as `name{label}`."""
        return {
            sample.name + "".join(f"{{{value}}}" for value in sample.labels.values()): sample.value
            for family in (await self.families()).values()
            for sample in family.samples
        }


def documented_name(family: Metric) -> str:
    """Return `family` as the documentation calls it: its name, and its labels in braces."""
    names: set[str] = {name for sample in family.samples for name in sample.labels} - {"le"}
    name = family.name + ("_total" if family.type == "counter" else "")
    return name + ("{" + ", ".join(sorted(names)) + "}" if names else "")
