"""A broker for development inside this process: librdkafka's mock cluster.

It speaks enough of Kafka to produce, fetch, commit and create topics by using them. It keeps
nothing on disk, drops old records after a few megabytes, and knows no admin calls: what is tried
on it is tried, not proven.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from confluent_kafka import KafkaException, Producer

from bridge.kafka.client.client import EARLIEST, LATEST, Cluster, Lane, Partition
from bridge.kafka.client.record_batches import Aborted, unpack

if TYPE_CHECKING:
    from collections.abc import Mapping

_TIMEOUT = 10.0


class EmbeddedBroker:
    """One broker on a loopback port of its own; it lives as long as this object."""

    def __init__(self, topics: list[str]) -> None:
        """Start it, with `topics` of four partitions each.

        Raises:
            RuntimeError: If it does not come up.
        """
        self._client = Producer(
            {"bootstrap.servers": "unused", "test.mock.num.brokers": 1, "log_level": 0}
        )
        try:
            brokers = self._client.list_topics(timeout=_TIMEOUT).brokers.values()
            for topic in topics:
                self._client.list_topics(topic, timeout=_TIMEOUT)
        except KafkaException as error:
            raise RuntimeError(f"the embedded broker did not start: {error}") from None
        self.bootstrap_servers = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)


class EmbeddedCluster(Cluster):
    """A client of the embedded broker, which does not know offsets by time: they are searched."""

    async def offsets(
        self, at: Mapping[Partition, int], leaders: Mapping[Partition, int]
    ) -> dict[Partition, int]:
        """Return what a real broker would."""
        timed = {partition: ms for partition, ms in at.items() if ms >= 0}
        found = await super().offsets({p: ms for p, ms in at.items() if ms < 0}, leaders)
        if timed:
            starts = await super().offsets(dict.fromkeys(timed, EARLIEST), leaders)
            ends = await super().offsets(dict.fromkeys(timed, LATEST), leaders)
            for partition, ms in timed.items():
                low, high = starts[partition], ends[partition]
                while low < high:
                    middle = (low + high) // 2
                    if await self._timestamp(partition, middle, leaders[partition]) < ms:
                        low = middle + 1
                    else:
                        high = middle
                found[partition] = low if low < ends[partition] else -1
        return found

    async def _timestamp(self, partition: Partition, offset: int, node: int) -> int:
        """Return when the record at `offset` was written, in milliseconds since 1970."""
        answers = await self.fetch(node, {partition: offset}, {}, max_bytes=1, lane=Lane.REPLAY)
        for fetched in answers:
            for chunk in unpack(fetched.data, offset, fetched.end, Aborted([])):
                if chunk.records:
                    return chunk.records[0].timestamp
        return 0
