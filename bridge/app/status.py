"""What the bank that meets Kafka has counted, in the words that `/metrics` has for it.

Rule: parts count, and are asked here; what is not built on this instance is not told of.
"""

from __future__ import annotations

from collections import Counter
from operator import itemgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from bridge.web.api.schemas import Partition, Topic
from bridge.web.upstream import Figure

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bridge.coordination.leader import Duties
    from bridge.coordination.leader_tasks import Steward
    from bridge.coordination.state_writer import Scribe
    from bridge.core.sessions.hub import Hub
    from bridge.kafka.consumer import Feed
    from bridge.kafka.producer import Writer
    from bridge.kafka.replay.scheduler import Replayer
    from bridge.web.api.schemas import State


def feeds(feed: Feed, hub: Hub, names: Mapping[str, str]) -> Iterator[Topic]:
    """Yield the topics `names`: the public names, mapped to Kafka's."""
    subscribers = Counter(topic for each in hub.crowd.sessions.values() for topic in each.topics)
    stale = feed.stale() is not None
    for topic, kafka in names.items():
        readings = sorted(feed.partitions.of(kafka).items(), key=itemgetter(0))
        read = [Partition(n, r.offset, r.end, max(0, r.end - r.offset)) for n, r in readings]
        behind = any(reading.offset < reading.until for _, reading in readings)
        state: State = "starting" if behind else "reading"
        if hub.logs[topic].asleep:
            state = "asleep"
        elif stale:
            state = "stale"
        elif not read:
            state = "absent"
        yield Topic(topic, kafka, state, subscribers[topic], read)


class Parts(NamedTuple):
    """What an instance may have beside what reads and replays."""

    writers: Sequence[Writer] = ()
    scribe: Scribe | None = None
    steward: Steward | None = None
    duties: Duties | None = None


NO_PARTS: Final = Parts()
#: Why a record can not be used: these are told of from the start, others once they are met.
_REASONS: Final = (
    *("too_large", "bad_json", "bad_envelope", "bad_header", "bad_name", "bad_time"),
    *("bad_command", "bad_state"),
)


def figures(
    feed: Feed, replayer: Replayer, dead: Mapping[str, int], parts: Parts = NO_PARTS
) -> Iterator[Figure]:
    """Yield everything; `dead` counts the records that can not be used, by reason."""
    yield Figure(
        "lag", "Records that Kafka has and this instance has not read.", feed.lag(), "topic"
    )
    if awake := feed.sleepers.awake_now():
        about = "1 where a topic that is read on demand is read now."
        yield Figure("feed_awake", about, awake, "topic")
    yield _count("kafka_outages", "How often Kafka was out of reach.", feed.outages)
    yield _count(
        "kafka_reconnects", "How often the bootstrap servers were asked again.", feed.reconnects
    )
    yield _count("feed_failures", "Faults of the bridge in reading.", feed.failures)
    yield Figure(
        "dead_letters",
        "Records that can not be used.",
        {**dict.fromkeys(_REASONS, 0), **dead},
        "reason",
        counts=True,
    )
    yield from _replay(replayer)
    if parts.writers:
        about = "Records that were to be written for the API, by how that ended."
        outcomes = {
            word: sum(writer.outcomes[word] for writer in parts.writers)
            for word in parts.writers[0].outcomes
        }
        yield Figure("api_writes", about, outcomes, "outcome", counts=True)
    if parts.scribe is not None:
        waiting = "Records of the bridge's own that are not written yet."
        yield Figure("own_records_waiting", waiting, len(parts.scribe))
        yield _count("notices_lost", "Notices that there was no room for.", parts.scribe.lost)
    if parts.steward is not None:
        steward = parts.steward
        yield _count("dead_letters_written", "Dead letters written.", steward.written_letters)
        lost = "Dead letters that there was no room for."
        yield _count("dead_letters_lost", lost, steward.letters.lost)
    if parts.duties is not None:
        about = "1 where this instance does what one does for all."
        yield Figure("on_duty", about, parts.duties.on_duty)


def _replay(replayer: Replayer) -> Iterator[Figure]:
    cost = replayer.cost
    yield _count("replay_records_read", "Records read from Kafka again, to replay.", cost.records)
    yield _count("replay_bytes_read", "Bytes read from Kafka again, to replay.", cost.bytes)
    yield _count("replay_passes", "Passes over the past, begun.", cost.passes)
    yield Figure("replay_passes_running", "Passes over the past, at the moment.", cost.running)
    yield Figure("replay_waiting", "Clients that wait until Kafka is read.", cost.waiting)


def _count(name: str, about: str, value: int) -> Figure:
    return Figure(name, about, value, counts=True)
