"""What stands in a topic of a real Kafka, as one reads it who takes only what was committed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as AIOKafkaTopicPartition

from bridge.kafka.client.client import LATEST, KafkaClient, TopicPartition
from tests.kafka.recording_sink import plaintext_access

if TYPE_CHECKING:
    from collections.abc import Callable

TIMEOUT_SECONDS = 90.0


async def read_records(
    bootstrap: str, topic: str, is_enough: Callable[[list[Any]], bool] | None = None
) -> list[Any]:
    """All records of the topic's one partition; waits until they are `is_enough`, else to its end.

    The end is where the last transaction ended that has ended.
    """
    partition = AIOKafkaTopicPartition(topic, 0)
    found: list[Any] = []
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        isolation_level="read_committed",
        fetch_max_wait_ms=100,
    )
    async with asyncio.timeout(TIMEOUT_SECONDS), consumer:
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        end = await read_committed_end(bootstrap, topic)
        while True:
            if is_enough is None and await consumer.position(partition) >= end:
                return found
            for batch in (await consumer.getmany(timeout_ms=100)).values():
                found += batch
            if is_enough is not None and is_enough(found):
                return found


async def read_committed_end(bootstrap: str, topic: str) -> int:
    """Where a topic's one partition ends for those who read only what was committed."""
    cluster = KafkaClient(plaintext_access(bootstrap))
    try:
        await cluster.connect()
        partition = TopicPartition(topic, 0)
        leader = (await cluster.describe_topics([topic]))[topic].leaders[0]
        return (await cluster.list_offsets({partition: LATEST}, {partition: leader}))[partition]
    finally:
        await cluster.close()


async def read_values(bootstrap: str, topic: str, count: int) -> list[bytes | None]:
    """The values of the first `count` records at least, once they are there."""
    return [
        it.value for it in await read_records(bootstrap, topic, lambda found: len(found) >= count)
    ]
