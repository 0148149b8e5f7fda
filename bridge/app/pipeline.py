"""What joins the banks, which never meet: from the feed through the hub to the sockets, and back.

Rule: nothing is decided here. Records go down, questions go up.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bridge.app.status import NO_SOURCES, metric_samples
from bridge.core.protocol import close_codes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence

    from bridge.app.status import StatusSources
    from bridge.coordination.commands import CommandConsumer
    from bridge.coordination.dead_letters import DeadLetterQueue
    from bridge.core.protocol.cursor import Cursor
    from bridge.core.protocol.envelope import Batch, EnvelopeDecoder, UnusableRecord
    from bridge.core.protocol.event import Event
    from bridge.core.sessions.session import Session
    from bridge.kafka.consumer import Consumer
    from bridge.kafka.replay.scheduler import ReplayScheduler
    from bridge.web.connections.admission import AdmissionController
    from bridge.web.connections.pool import ConnectionPool
    from bridge.web.upstream import MetricSample


class TopicDispatcher:
    """Takes what the feed reads."""

    #: Set once it exists, for it needs the feed, which needs this.
    command_consumer: CommandConsumer

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def start_reading(self, topic: str, topic_id: bytes, offsets: Mapping[int, int]) -> None:
        """Say where reading starts."""
        if topic in self.command_consumer.consumed_topics:
            self.command_consumer.start_topic(topic, topic_id)
        else:
            self._pipeline.start_reading(topic, topic_id, offsets)

    def report_gap(self, topic: str, reason: str, offsets: Mapping[int, int]) -> None:
        """Say what can not be read."""
        if topic in self.command_consumer.consumed_topics:
            self.command_consumer.report_gap(topic, reason)
        else:
            self._pipeline.report_gap(topic, reason, offsets)

    def deactivate(self, topic: str, topic_id: bytes) -> None:
        """Say that a topic is not read until somebody follows it again."""
        self._pipeline.deactivate(topic, topic_id)

    async def deliver(self, batches: Sequence[Batch]) -> None:
        """Hand on what was read."""
        bridge_topics = self.command_consumer.consumed_topics
        for batch in batches:
            if batch.topic in bridge_topics:
                self.command_consumer.apply(batch)
        await self._pipeline.deliver(
            [batch for batch in batches if batch.topic not in bridge_topics]
        )


#: Of a batch with more records than these, the latency of the first and the last is observed.
_MAX_FULLY_SAMPLED = 3


class Pipeline:
    """Joins the banks: from the feed through the router and the hub to the sockets."""

    def __init__(
        self,
        decoder: EnvelopeDecoder,
        admission: AdmissionController,
        pool: ConnectionPool,
        add_dead_letter: Callable[[UnusableRecord], None],
        *,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """`add_dead_letter` takes what can not be used.

        `wall_clock` tells the seconds since 1970, which records' timestamps are of.
        """
        self._decoder = decoder
        self._admission = admission
        self._hub = admission.hub
        self._pool = pool
        self._add_dead_letter = add_dead_letter
        self._wall_clock = wall_clock

    def start_reading(self, topic: str, topic_id: bytes, offsets: Mapping[int, int]) -> None:
        """Tell the hub where reading starts."""
        self._hub.set_start_offsets(topic, topic_id, offsets)
        self._pool.flush()

    def report_gap(self, topic: str, reason: str, offsets: Mapping[int, int]) -> None:
        """Tell the hub what can not be read."""
        self._hub.skip_unreadable(topic, reason, offsets)
        self._pool.flush()

    def deactivate(self, topic: str, topic_id: bytes) -> None:
        """Say that a topic is not read until somebody follows it again."""
        self._hub.on_demand.deactivate(topic, topic_id)

    async def deliver(self, batches: Sequence[Batch]) -> None:
        """Route, publish, and write to the sockets: each of them once."""
        self._admission.close_expired()
        delivered: list[Event] = []
        for batch in batches:
            decoded = self._decoder.decode(batch)
            for unusable_record in decoded.unusable:
                self._add_dead_letter(unusable_record)
            delivered_before, events = self._hub.events_delivered, decoded.events
            self._hub.deliver_batch(decoded)
            if self._hub.events_delivered > delivered_before:
                delivered += events if len(events) < _MAX_FULLY_SAMPLED else (events[0], events[-1])
        await self._pool.flush_in_batches()
        now = self._wall_clock()
        for event in delivered:
            self._hub.counters.latency_seconds.observe(max(0.0, now - event.timestamp / 1000))

    def close_overloaded(self, session: Session) -> None:
        """Hang up on a client that has waited too long for its turn."""
        self._hub.close(session, close_codes.OVERLOADED)
        self._pool.flush()


class InstanceStatus:
    """What the sockets and the metrics may ask of the bank that reads."""

    def __init__(
        self,
        consumer: Consumer,
        replay_scheduler: ReplayScheduler,
        dead_letters: DeadLetterQueue,
        sources: StatusSources = NO_SOURCES,
    ) -> None:
        self._consumer = consumer
        self._replay_scheduler = replay_scheduler
        self._dead_letters = dead_letters
        self._sources = sources

    def samples(self) -> Iterable[MetricSample]:
        """What was counted."""
        invalid_counts = self._dead_letters.count_by_reason
        return metric_samples(self._consumer, self._replay_scheduler, invalid_counts, self._sources)

    def is_ready(self) -> bool:
        """Whether the feed has caught up once."""
        return self._consumer.ready.is_set()

    def stale_seconds(self) -> float | None:
        """Seconds without Kafka."""
        return self._consumer.stale_seconds()

    def start_replay(self, session: Session) -> None:
        """Catch up `session`."""
        self._replay_scheduler.add(session)

    def wait_until_active(self, topics: Collection[str]) -> Awaitable[bool]:
        """Whether all of these topics are read by now."""
        return self._consumer.active_topics.wait_until_active(topics)

    def cursor_at(self, topics: Collection[str], timestamp_ms: int) -> Awaitable[Cursor | None]:
        """The cursor of these topics at a time."""
        return self._replay_scheduler.cursor_at(topics, timestamp_ms)
