"""The state of one instance: what connections ask of reading, metric samples, topic states.

Rule: the parts count; this module asks them and keeps nothing.
"""

from __future__ import annotations

from collections import Counter
from operator import itemgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from bridge.web.api.schemas import Partition, Topic
from bridge.web.upstream import MetricSample

if TYPE_CHECKING:
    from collections.abc import Awaitable, Collection, Iterable, Iterator, Mapping, Sequence

    from bridge.coordination.dead_letters import DeadLetterQueue
    from bridge.coordination.leader import LeaderElection
    from bridge.coordination.leader_tasks import LeaderTasks
    from bridge.coordination.state_writer import StateWriter
    from bridge.core.protocol.cursor import Cursor
    from bridge.core.sessions.hub import Hub
    from bridge.core.sessions.session import Session
    from bridge.kafka.consumer import Consumer
    from bridge.kafka.producer import KafkaPublisher
    from bridge.kafka.replay.scheduler import ReplayScheduler
    from bridge.web.api.schemas import TopicState


def topic_statuses(consumer: Consumer, hub: Hub, kafka_names: Mapping[str, str]) -> Iterator[Topic]:
    """Yield the topics `kafka_names`: the public names, mapped to Kafka's."""
    subscribers = Counter(
        topic for session in hub.registry.by_id.values() for topic in session.topics
    )
    is_stale = consumer.stale_seconds() is not None
    for topic, kafka_name in kafka_names.items():
        readings = sorted(consumer.partitions.states_of(kafka_name).items(), key=itemgetter(0))
        partitions = [
            Partition(number, r.offset, r.end_offset, max(0, r.end_offset - r.offset))
            for number, r in readings
        ]
        is_catching_up = any(reading.offset < reading.catch_up_offset for _, reading in readings)
        state: TopicState = "starting" if is_catching_up else "reading"
        if hub.topic_positions[topic].is_idle:
            state = "asleep"
        elif is_stale:
            state = "stale"
        elif not partitions:
            state = "absent"
        yield Topic(topic, kafka_name, state, subscribers[topic], partitions)


class StatusSources(NamedTuple):
    """What an instance may have beside what reads and replays."""

    publishers: Sequence[KafkaPublisher] = ()
    state_writer: StateWriter | None = None
    leader_tasks: LeaderTasks | None = None
    leader_election: LeaderElection | None = None


NO_SOURCES: Final = StatusSources()
#: Why a record can not be used: these are told of from the start, others once they are met.
_INVALID_REASONS: Final = (
    *("too_large", "bad_json", "bad_envelope", "bad_header", "bad_name", "bad_time"),
    *("bad_command", "bad_state"),
)


def metric_samples(
    consumer: Consumer,
    replay_scheduler: ReplayScheduler,
    invalid_counts: Mapping[str, int],
    sources: StatusSources = NO_SOURCES,
) -> Iterator[MetricSample]:
    """Yield everything; `invalid_counts` counts the records that can not be used, by reason."""
    yield MetricSample(
        "lag", "Records that Kafka has and this instance has not read.", consumer.lag(), "topic"
    )
    if active := consumer.active_topics.activity():
        help_text = "1 where a topic that is read on demand is read now."
        yield MetricSample("feed_awake", help_text, active, "topic")
    yield _counter("kafka_outages", "How often Kafka was out of reach.", consumer.outages)
    yield _counter(
        "kafka_reconnects", "How often the bootstrap servers were asked again.", consumer.reconnects
    )
    yield _counter("feed_failures", "Faults of the bridge in reading.", consumer.internal_errors)
    yield MetricSample(
        "dead_letters",
        "Records that can not be used.",
        {**dict.fromkeys(_INVALID_REASONS, 0), **invalid_counts},
        "reason",
        is_counter=True,
    )
    yield from _replay_samples(replay_scheduler)
    if sources.publishers:
        help_text = "Records that were to be written for the API, by how that ended."
        outcomes = {
            outcome: sum(publisher.outcomes[outcome] for publisher in sources.publishers)
            for outcome in sources.publishers[0].outcomes
        }
        yield MetricSample("api_writes", help_text, outcomes, "outcome", is_counter=True)
    if sources.state_writer is not None:
        waiting_help = "Records of the bridge's own that are not written yet."
        yield MetricSample("own_records_waiting", waiting_help, len(sources.state_writer))
        yield _counter(
            "notices_lost", "Notices that there was no room for.", sources.state_writer.lost_count
        )
    if sources.leader_tasks is not None:
        leader_tasks = sources.leader_tasks
        yield _counter(
            "dead_letters_written", "Dead letters written.", leader_tasks.dead_letters_written
        )
        lost_help = "Dead letters that there was no room for."
        yield _counter("dead_letters_lost", lost_help, leader_tasks.dead_letters.lost_count)
    if sources.leader_election is not None:
        help_text = "1 where this instance does what one does for all."
        yield MetricSample("on_duty", help_text, sources.leader_election.is_leader)


def _replay_samples(replay_scheduler: ReplayScheduler) -> Iterator[MetricSample]:
    cost = replay_scheduler.stats
    yield _counter(
        "replay_records_read", "Records read from Kafka again, to replay.", cost.records_read
    )
    yield _counter("replay_bytes_read", "Bytes read from Kafka again, to replay.", cost.bytes_read)
    yield _counter("replay_passes", "Passes over the past, begun.", cost.scans_started)
    yield MetricSample(
        "replay_passes_running", "Passes over the past, at the moment.", cost.scans_running
    )
    yield MetricSample(
        "replay_waiting", "Clients that wait until Kafka is read.", cost.sessions_waiting
    )


def _counter(name: str, help_text: str, value: int) -> MetricSample:
    return MetricSample(name, help_text, value, is_counter=True)


class InstanceStatus:
    """What connections and metrics ask of the Kafka side (`web.upstream`)."""

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
        """Return the metric samples of the Kafka side."""
        invalid_counts = self._dead_letters.count_by_reason
        return metric_samples(self._consumer, self._replay_scheduler, invalid_counts, self._sources)

    def is_ready(self) -> bool:
        """Whether the consumer has caught up once."""
        return self._consumer.ready.is_set()

    def stale_seconds(self) -> float | None:
        """Seconds since Kafka was last reached; None while it is reachable."""
        return self._consumer.stale_seconds()

    def start_replay(self, session: Session) -> None:
        """Schedule the replay of `session`."""
        self._replay_scheduler.add(session)

    def wait_until_active(self, topics: Collection[str]) -> Awaitable[bool]:
        """Return whether all of `topics` became active in time."""
        return self._consumer.active_topics.wait_until_active(topics)

    def cursor_at(self, topics: Collection[str], timestamp_ms: int) -> Awaitable[Cursor | None]:
        """Return the cursor of `topics` at a time; None if Kafka does not answer in time."""
        return self._replay_scheduler.cursor_at(topics, timestamp_ms)
