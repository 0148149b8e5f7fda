"""The feeds of an instance as `/v1/topics` lists them: how far each topic is read, and for whom.

Rule: what the reading bank knows is put into the words of the one that is asked; nothing is kept.
"""

from __future__ import annotations

from collections import Counter
from operator import itemgetter
from typing import TYPE_CHECKING

from bridge.web.api.schemas import Partition, Topic

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bridge.core.sessions.hub import Hub
    from bridge.kafka.consumer import Feed
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
