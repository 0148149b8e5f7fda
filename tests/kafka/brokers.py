"""A broker in memory and a real one, told the same by the same words.

The rule kept here: what is only asked of the one in memory is what a real one can not be made to
do; everything else is asked of both.
"""

from __future__ import annotations

from typing import Any

from bridge.kafka.client.client import Partition
from tests.harness import admin
from tests.harness.admin import Record
from tests.kafka.memory import MemoryCluster
from tests.kafka.pacing import Paced
from tests.kafka.tape import BlinkingCluster, plain

NOW = 1_795_000_000_000
HOUR = 3_600_000


class PacedMemory(Paced, MemoryCluster):
    pass


class PacedCluster(Paced, BlinkingCluster):
    pass


class InMemory:
    """A broker in memory, and what tests do to it."""

    def __init__(self) -> None:
        self.cluster: Any = PacedMemory()

    def fresh(self) -> Any:
        """Another connection to it."""
        return self.cluster

    async def create(self, topic: str, partitions: int = 1) -> None:
        self.cluster.create(topic, partitions)

    async def delete(self, topic: str) -> None:
        self.cluster.delete(topic)

    async def produce(
        self, topic: str, values: list[bytes], partition: int = 0, time: int = NOW
    ) -> None:
        self.cluster.put(topic, partition, values, time)

    async def delete_before(self, topic: str, offset: int) -> None:
        self.cluster.logs[Partition(topic, 0)].start = offset


class Real:
    """The same on a real one."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self.cluster: Any = PacedCluster(plain(bootstrap))

    def fresh(self) -> Any:
        return PacedCluster(plain(self._bootstrap))

    async def create(self, topic: str, partitions: int = 1) -> None:
        forever = {"retention.ms": "-1"}  # the times here are what they are
        await admin.create_topic(self._bootstrap, topic, partitions, configs=forever)

    async def delete(self, topic: str) -> None:
        await admin.delete_topic(self._bootstrap, topic)

    async def produce(
        self, topic: str, values: list[bytes], partition: int = 0, time: int = NOW
    ) -> None:
        records = [Record(value, partition=partition, time=time) for value in values]
        await admin.produce(self._bootstrap, topic, records)

    async def delete_before(self, topic: str, offset: int) -> None:
        await admin.delete_records(self._bootstrap, topic, 0, before=offset)


Broker = InMemory | Real
