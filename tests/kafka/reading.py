"""What stands in a topic of a real Kafka, as one reads it who takes only what was committed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from bridge.kafka.client.client import LATEST, Cluster, Partition
from tests.kafka.tape import plain

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 90.0


async def records(
    bootstrap: str, topic: str, enough: Callable[[list[Any]], bool] | None = None
) -> list[Any]:
    """All records of the topic's one partition; waits until they are `enough`, else to its end.

    The end is where the last transaction ended that has ended.
    """
    place = TopicPartition(topic, 0)
    found: list[Any] = []
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        isolation_level="read_committed",
        fetch_max_wait_ms=100,
    )
    async with asyncio.timeout(PATIENCE), consumer:
        consumer.assign([place])
        await consumer.seek_to_beginning(place)
        end = await committed_end(bootstrap, topic)
        while True:
            if enough is None and await consumer.position(place) >= end:
                return found
            for some in (await consumer.getmany(timeout_ms=100)).values():
                found += some
            if enough is not None and enough(found):
                return found


async def committed_end(bootstrap: str, topic: str) -> int:
    """Where a topic's one partition ends for those who read only what was committed."""
    cluster = Cluster(plain(bootstrap))
    try:
        await cluster.connect()
        place = Partition(topic, 0)
        leader = (await cluster.describe([topic]))[topic].leaders[0]
        return (await cluster.offsets({place: LATEST}, {place: leader}))[place]
    finally:
        await cluster.close()


async def values(bootstrap: str, topic: str, count: int) -> list[bytes | None]:
    """The values of the first `count` records at least, once they are there."""
    return [it.value for it in await records(bootstrap, topic, lambda found: len(found) >= count)]
