"""The bounds of Kafka's logs, and the cursor at a time.

Rule: `log_bounds` returns all partitions of a topic or leaves the topic out, except for those that
wait for a leader. This module does not retry: callers do.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bridge.core.protocol.cursor import TOPIC_ID_BYTES, Cursor, TopicOffsets
from bridge.core.replay.retention import MISSING_TOPIC, LogBounds
from bridge.kafka.client.client import EARLIEST, LATEST, TopicPartition

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping

    from bridge.kafka.client.client import KafkaClient, TopicDescription


class LogOffsets:
    """Requests offsets of the topics in `kafka_names`, which maps public names to Kafka's.

    Topics that are not in it, or no longer, are left out of all answers.
    """

    def __init__(
        self,
        client: KafkaClient,
        kafka_names: Mapping[str, str],
        *,
        max_age_seconds: float,
        wall_clock: Callable[[], float] = time.time,
        waiting: Callable[[str], Container[int]] = lambda _topic: (),
    ) -> None:
        """`waiting` has the partitions of a topic that wait for a leader: they may be missing.

        `wall_clock` returns seconds since 1970, like the timestamps of records.
        """
        self._client = client
        self._kafka_names = kafka_names
        self._max_age_seconds = max_age_seconds
        self._wall_clock = wall_clock
        self._waiting = waiting

    async def log_bounds(
        self, topics: Iterable[str], *, grace_seconds: float = 0
    ) -> dict[str, LogBounds]:
        """Return where logs begin, end and may be replayed from, for topics known completely.

        `grace_seconds` extends the age that may be replayed.

        Raises:
            One of `REQUEST_ERRORS`.
        """
        kafka_names = self._known(topics)
        descriptions = await self._client.describe_topics(set(kafka_names.values()))
        leaders = _leaders(descriptions)
        start_offsets, end_offsets = (
            await self._list_offsets(leaders, EARLIEST),
            await self._list_offsets(leaders, LATEST),
        )
        young_offsets, first_record_offsets = (
            await self._list_offsets(leaders, self._oldest_ms(grace_seconds)),
            await self._list_offsets(leaders, 0),
        )
        known = (
            start_offsets.keys()
            & end_offsets.keys()
            & young_offsets.keys()
            & first_record_offsets.keys()
        )
        # If the first record is young enough, so is the whole log: there are no records below it.
        replayable_from = {
            p: start_offsets[p] if young_offsets[p] == first_record_offsets[p] else young_offsets[p]
            for p in known
        }
        bounds: dict[str, LogBounds] = {}
        for topic, kafka_name in kafka_names.items():
            partitions = [
                partition
                for partition in leaders
                if partition.topic == kafka_name
                and (partition in known or partition.number not in self._waiting(topic))
            ]
            if kafka_name not in descriptions:
                bounds[topic] = MISSING_TOPIC
            elif known.issuperset(partitions):
                bounds[topic] = LogBounds(
                    _identity(descriptions[kafka_name]),
                    {p.number: start_offsets[p] for p in partitions},
                    {p.number: end_offsets[p] for p in partitions},
                    {
                        p.number: replayable_from[p] if replayable_from[p] >= 0 else end_offsets[p]
                        for p in partitions
                    },
                )
        return bounds

    async def cursor_at(self, topics: Iterable[str], timestamp_ms: int) -> Cursor:
        """Return the cursor of these topics at a time, in milliseconds since 1970.

        A time too old to be replayed is replaced by the oldest time that may be.

        Raises:
            One of `REQUEST_ERRORS`, also if Kafka does not return all partitions.
        """
        kafka_names = self._known(topics)
        descriptions = await self._client.describe_topics(set(kafka_names.values()))
        leaders = _leaders(descriptions)
        # The ends first: records written between the two responses would be skipped otherwise.
        end_offsets = await self._list_offsets(leaders, LATEST)
        time_offsets = await self._list_offsets(leaders, max(timestamp_ms, self._oldest_ms()))
        known = end_offsets.keys() & time_offsets.keys()
        cursor: Cursor = {}
        for topic, kafka_name in kafka_names.items():
            if description := descriptions.get(kafka_name):
                partitions = [p for p in leaders if p.topic == kafka_name]
                missing = {p.number for p in partitions if p not in known}
                if any(number not in self._waiting(topic) for number in missing):
                    raise TimeoutError("some partitions have no leader now")
                partition_offsets = {
                    p.number: time_offsets[p] if time_offsets[p] >= 0 else end_offsets[p]
                    for p in partitions
                    if p in known
                }
                awaited = dict.fromkeys(missing, max(0, timestamp_ms // 1000))
                cursor[topic] = TopicOffsets(_identity(description), partition_offsets, awaited)
        return cursor

    async def find_awaited(
        self, times: Mapping[str, Mapping[int, int]]
    ) -> dict[str, dict[int, int]]:
        """Return the first offset of each partition at its time, in seconds since 1970.

        Partitions without a leader are left out.

        Raises:
            One of `REQUEST_ERRORS`.
        """
        kafka_names = self._known(times)
        descriptions = await self._client.describe_topics(set(kafka_names.values()))
        leaders = _leaders(descriptions)
        timestamps = {
            partition: seconds * 1000
            for topic, kafka_name in kafka_names.items()
            for number, seconds in times[topic].items()
            if (partition := TopicPartition(kafka_name, number)) in leaders
        }
        end_offsets = await self._client.list_offsets(dict.fromkeys(timestamps, LATEST), leaders)
        found = await self._client.list_offsets(timestamps, leaders)
        return {
            topic: {
                number: found[p] if found[p] >= 0 else end_offsets[p]
                for number in times[topic]
                if (p := TopicPartition(kafka_name, number)) in found and p in end_offsets
            }
            for topic, kafka_name in kafka_names.items()
        }

    def _known(self, topics: Iterable[str]) -> dict[str, str]:
        """Return the Kafka names of those of `topics` that there are; they may change meanwhile."""
        return {t: self._kafka_names[t] for t in topics if t in self._kafka_names}

    def _oldest_ms(self, grace_seconds: float = 0) -> int:
        # No grace if nothing may be replayed.
        return int(
            (self._wall_clock() - self._max_age_seconds - min(grace_seconds, self._max_age_seconds))
            * 1000
        )

    async def _list_offsets(
        self, leaders: Mapping[TopicPartition, int], timestamp_ms: int
    ) -> dict[TopicPartition, int]:
        return await self._client.list_offsets(dict.fromkeys(leaders, timestamp_ms), leaders)


def _leaders(descriptions: Mapping[str, TopicDescription]) -> dict[TopicPartition, int]:
    return {
        TopicPartition(topic, number): leader
        for topic, description in descriptions.items()
        for number, leader in description.leaders.items()
    }


def _identity(description: TopicDescription) -> bytes:
    return b"" if description.topic_id is None else description.topic_id.bytes[:TOPIC_ID_BYTES]
