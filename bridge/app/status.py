"""The state of one instance: what connections ask of reading, metric samples, topic states.

Rule: the parts count; this module asks them and keeps nothing.
"""

from __future__ import annotations

from collections import Counter
from operator import itemgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from bridge.core.sessions.positions import waiting_partitions
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
    from bridge.core.sessions.positions import TopicPosition
    from bridge.core.sessions.session import Session
    from bridge.kafka.consumer import Consumer
    from bridge.kafka.producer import KafkaPublisher
    from bridge.kafka.replay.scheduler import ReplayScheduler
    from bridge.web.api.schemas import TopicState


def topic_statuses(consumer: Consumer, hub: Hub, kafka_names: Mapping[str, str]) -> Iterator[Topic]:
    """Yield the status of each topic in `kafka_names`, a map of public names to Kafka's."""
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
        if hub.topic_positions[topic].is_idle and hub.on_demand.has_topic(topic):
            state = "asleep"
        elif is_stale:
            state = "stale"
        elif hub.topic_positions[topic].is_idle:
            state = "starting"
        elif kafka_name in consumer.partitions.deleted_topics:
            state = "absent"
        elif hub.topic_positions[topic].waiting:
            state = "waiting"
        elif not partitions:
            state = "absent"
        yield Topic(topic, kafka_name, state, subscribers[topic], partitions)


class StatusSources(NamedTuple):
    """Parts that an instance has besides its consumer and its replays."""

    publishers: Sequence[KafkaPublisher] = ()
    state_writer: StateWriter | None = None
    leader_tasks: LeaderTasks | None = None
    leader_election: LeaderElection | None = None


NO_SOURCES: Final = StatusSources()
#: Reasons with a sample from the start. Other reasons get one when they first occur.
_INVALID_REASONS: Final = (
    *("too_large", "bad_json", "bad_envelope", "bad_header", "bad_name", "bad_time"),
    *("bad_command", "bad_state", "bad_record", "too_many"),
)


def metric_samples(
    consumer: Consumer,
    replay_scheduler: ReplayScheduler,
    invalid_counts: Mapping[str, int],
    sources: StatusSources = NO_SOURCES,
) -> Iterator[MetricSample]:
    """Yield all samples; `invalid_counts` has the number of invalid records by reason."""
    yield MetricSample(
        "lag", "Records in Kafka that this instance has not read yet.", consumer.lag(), "topic"
    )
    if active := consumer.active_topics.activity():
        help_text = "1 if an on-demand topic is read now."
        yield MetricSample("feed_awake", help_text, active, "topic")
    yield _counter(
        "kafka_outages", "Outages: how often Kafka became unreachable.", consumer.outages
    )
    yield _counter("kafka_reconnects", "Reconnects to the bootstrap servers.", consumer.reconnects)
    yield _counter(
        "feed_failures", "Internal errors of the bridge while reading.", consumer.internal_errors
    )
    yield MetricSample(
        "dead_letters",
        "Invalid records, by reason.",
        {**dict.fromkeys(_INVALID_REASONS, 0), **invalid_counts},
        "reason",
        is_counter=True,
    )
    yield from _replay_samples(replay_scheduler)
    if sources.publishers:
        help_text = "Records that the API published, by outcome."
        outcomes = {
            outcome: sum(publisher.outcomes[outcome] for publisher in sources.publishers)
            for outcome in sources.publishers[0].outcomes
        }
        yield MetricSample("api_writes", help_text, outcomes, "outcome", is_counter=True)
    if sources.state_writer is not None:
        waiting_help = "Records for the bridge's own topics that are not written yet."
        yield MetricSample("own_records_waiting", waiting_help, len(sources.state_writer))
        yield _counter(
            "notices_lost", "Lifecycle records that were dropped.", sources.state_writer.lost_count
        )
    if sources.leader_tasks is not None:
        leader_tasks = sources.leader_tasks
        yield _counter(
            "dead_letters_written",
            "Dead letters that were written.",
            leader_tasks.dead_letters_written,
        )
        lost_help = "Dead letters that were dropped."
        yield _counter("dead_letters_lost", lost_help, leader_tasks.dead_letters.lost_count)
    if sources.leader_election is not None:
        help_text = "1 if this instance is the leader."
        yield MetricSample("on_duty", help_text, sources.leader_election.is_leader)


def _replay_samples(replay_scheduler: ReplayScheduler) -> Iterator[MetricSample]:
    cost = replay_scheduler.stats
    yield _counter("replay_records_read", "Records read from Kafka for replays.", cost.records_read)
    yield _counter("replay_bytes_read", "Bytes read from Kafka for replays.", cost.bytes_read)
    yield _counter("replay_passes", "Scans of past records that were started.", cost.scans_started)
    yield MetricSample(
        "replay_passes_running", "Scans of past records that run now.", cost.scans_running
    )
    yield MetricSample(
        "replay_waiting", "Clients that wait for a scan of Kafka.", cost.sessions_waiting
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
        *,
        topic_positions: Mapping[str, TopicPosition],
    ) -> None:
        self._topic_positions = topic_positions
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

    def waiting_partitions(self) -> list[str]:
        """Partitions that wait for a leader, those of private topics left out."""
        public = [t for t, position in self._topic_positions.items() if not position.is_private]
        return waiting_partitions(public, self._topic_positions)

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
