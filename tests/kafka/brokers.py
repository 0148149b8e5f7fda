"""A broker in memory and a real one, told the same by the same words.

The rule kept here: what is only asked of the one in memory is what a real one can not be made to
do; everything else is asked of both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.kafka.client.client import TopicPartition
from tests.harness import admin
from tests.harness.admin import RecordToProduce
from tests.kafka.held_replays import HeldReplayClient
from tests.kafka.memory_kafka import MemoryKafkaClient
from tests.kafka.recording_sink import HeldMetadataClient, plaintext_access

if TYPE_CHECKING:
    from collections.abc import Sequence

NOW_MS = 1_795_000_000_000
HOUR_MS = 3_600_000


class HeldMemoryClient(HeldReplayClient, MemoryKafkaClient):
    pass


class HeldKafkaClient(HeldReplayClient, HeldMetadataClient):
    pass


class MemoryBroker:
    """A broker in memory, and what tests do to it."""

    def __init__(self) -> None:
        self.client: Any = HeldMemoryClient()

    def new_client(self) -> Any:
        """Another connection to it."""
        return self.client

    async def create(self, topic: str, partitions: int = 1) -> None:
        self.client.create(topic, partitions)

    async def delete(self, topic: str) -> None:
        self.client.delete(topic)

    async def produce(
        self, topic: str, values: Sequence[bytes], partition: int = 0, time_ms: int = NOW_MS
    ) -> None:
        self.client.append(topic, partition, values, time_ms)

    async def delete_before(self, topic: str, offset: int) -> None:
        self.client.logs[TopicPartition(topic, 0)].start = offset


class RealBroker:
    """The same on a real one."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self.client: Any = HeldKafkaClient(plaintext_access(bootstrap))

    def new_client(self) -> Any:
        return HeldKafkaClient(plaintext_access(self._bootstrap))

    async def create(self, topic: str, partitions: int = 1) -> None:
        configs = {"retention.ms": "-1"}  # the times here are what they are
        await admin.create_topic(self._bootstrap, topic, partitions, configs=configs)

    async def delete(self, topic: str) -> None:
        await admin.delete_topic(self._bootstrap, topic)

    async def produce(
        self, topic: str, values: Sequence[bytes], partition: int = 0, time_ms: int = NOW_MS
    ) -> None:
        records = [
            RecordToProduce(value, partition=partition, timestamp_ms=time_ms) for value in values
        ]
        await admin.produce(self._bootstrap, topic, records)

    async def delete_before(self, topic: str, offset: int) -> None:
        await admin.delete_records(self._bootstrap, topic, 0, before=offset)


Broker = MemoryBroker | RealBroker
