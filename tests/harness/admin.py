"""What tests do to topics: make, grow, delete and fill them, each by one awaited call.

The rule kept here: when a call returns, Kafka has done it and says so when asked; when Kafka
refuses, its own error is raised. `bootstrap` is always a cluster's plain addresses.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.errors import for_code

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping

TIMEOUT_SECONDS = 60
POLL_SECONDS = 0.05


class RecordToProduce(NamedTuple):
    """What a producer says; `time` is in milliseconds, and without `partition` the key decides."""

    value: bytes | None
    key: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()
    partition: int | None = None
    timestamp_ms: int | None = None


def fresh_name(stem: str = "topic") -> str:
    """A topic's name that no other test has."""
    return f"{stem}-{uuid.uuid4().hex[:12]}"


async def create_topic(
    bootstrap: str,
    topic: str,
    partitions: int = 1,
    *,
    replication_factor: int = 1,
    configs: Mapping[str, str] | None = None,
) -> None:
    """Create a topic; return once each of its partitions has a leader."""
    async with _admin_client(bootstrap) as admin:
        new = NewTopic(topic, partitions, replication_factor, topic_configs=dict(configs or {}))
        _raise_refusal((await admin.create_topics([new])).topic_errors)
        await _wait_for_leaders(admin, topic, partitions)


async def add_partitions(bootstrap: str, topic: str, total: int) -> None:
    """Grow a topic to so many partitions; return once the new ones have leaders too."""
    async with _admin_client(bootstrap) as admin:
        await admin.create_partitions({topic: NewPartitions(total)})
        await _wait_for_leaders(admin, topic, total)


async def delete_topic(bootstrap: str, topic: str) -> None:
    """Delete a topic; return once the cluster does not name it any more."""
    async with _admin_client(bootstrap) as admin:
        _raise_refusal((await admin.delete_topics([topic])).topic_error_codes)

        async def is_deleted() -> bool:
            return topic not in await admin.list_topics()

        await _wait_until(is_deleted, f"{topic} was deleted, and is still named")


async def delete_records(bootstrap: str, topic: str, partition: int, before: int) -> int:
    """Delete what is before this offset, as retention would; return the log's new start."""
    topic_partition = TopicPartition(topic, partition)
    async with _admin_client(bootstrap) as admin:
        starts = await admin.delete_records(
            {topic_partition: RecordsToDelete(before_offset=before)}
        )
    return int(starts[topic_partition])


async def produce(
    bootstrap: str, topic: str, records: Iterable[RecordToProduce], **settings: object
) -> list[tuple[int, int]]:
    """Produce all of these; return the partition and offset of each, as acknowledged.

    In order and without repeats even where brokers fail on the way. `settings` are aiokafka's.
    """
    producer_settings = {"enable_idempotence": True, "linger_ms": 5, **settings}
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, **producer_settings)
    try:
        await producer.start()
        # It can not send to a partition that it has not heard of.
        await producer.partitions_for(topic)
        futures = [
            await producer.send(
                topic,
                record.value,
                key=record.key,
                headers=list(record.headers),
                partition=record.partition,
                timestamp_ms=record.timestamp_ms,
            )
            for record in records
        ]
        return [
            (metadata.partition, metadata.offset) for metadata in await asyncio.gather(*futures)
        ]
    finally:
        await producer.stop()  # one that could not start, too


async def wait_transactions_ended(bootstrap: str, topic: str, partition: int = 0) -> None:
    """Return once no transaction is open; the answer to a commit comes before its marker."""
    topic_partition = TopicPartition(topic, partition)
    consumers = [
        AIOKafkaConsumer(bootstrap_servers=bootstrap, isolation_level=level)
        for level in ("read_committed", "read_uncommitted")
    ]
    try:
        for consumer in consumers:
            await consumer.start()

        async def has_ended() -> bool:
            committed, written = [await each.end_offsets([topic_partition]) for each in consumers]
            return bool(committed == written)

        await _wait_until(has_ended, f"a transaction in {topic} does not end")
    finally:
        for consumer in consumers:
            await consumer.stop()


@asynccontextmanager
async def _admin_client(bootstrap: str) -> AsyncIterator[Any]:
    client = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        await client.start()
        yield client
    finally:
        await client.close()


def _raise_refusal(responses: Iterable[tuple[Any, ...]]) -> None:
    """Each answer is a topic, an error code and perhaps more; aiokafka leaves them unread."""
    for topic, code, *_ in responses:
        if code:
            raise for_code(code)(topic)


async def _wait_for_leaders(admin: AIOKafkaAdminClient, topic: str, partitions: int) -> None:
    async def has_leaders() -> bool:
        (description,) = await admin.describe_topics([topic])
        leaders = [partition["leader"] for partition in description["partitions"]]
        return len(leaders) == partitions and -1 not in leaders

    await _wait_until(has_leaders, f"{topic} has no leader for each of {partitions} partitions")


async def _wait_until(condition: Callable[[], Awaitable[bool]], message: str) -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not await condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{message} after {TIMEOUT_SECONDS} s")
        await asyncio.sleep(POLL_SECONDS)
