"""What is in a real log beside records: holes and markers, of which a replay makes no losses."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from aiokafka import AIOKafkaProducer

from tests.harness.admin import (
    RecordToProduce,
    create_topic,
    fresh_name,
    produce,
    wait_transactions_ended,
)
from tests.kafka.headless_instance import envelope, envelopes, running_instance
from tests.kafka.recording_sink import HeldMetadataClient, plaintext_access

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.harness.kafka_cluster import KafkaCluster

pytestmark = pytest.mark.kafka


@asynccontextmanager
async def transactional(kafka: KafkaCluster) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka.bootstrap, transactional_id=fresh_name("tx")
    )
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def test_transactions_leave_holes_and_no_gaps(kafka: KafkaCluster, topic_name: str) -> None:
    """Committed and aborted ones, and a plain record amid one; the last in the log is a marker."""
    await create_topic(kafka.bootstrap, topic_name)
    async with transactional(kafka) as producer:
        for n, ends in enumerate([producer.commit_transaction, producer.abort_transaction] * 2):
            await producer.begin_transaction()
            for _ in range(3):
                await producer.send_and_wait(topic_name, envelope(n), partition=0)
            if n == 1:
                await produce(
                    kafka.bootstrap, topic_name, [RecordToProduce(envelope(), partition=0)]
                )
            await ends()
    await wait_transactions_ended(kafka.bootstrap, topic_name)
    due = [0, 1, 2, 7, 9, 10, 11]
    async with running_instance(
        HeldMetadataClient(plaintext_access(kafka.bootstrap)), topic_name
    ) as it:
        assert it.hub.topic_positions[topic_name].next_offsets == {0: 17}
        for place in (17, *range(13, -1, -1)):  # the lowest last, so that each reads from Kafka
            client = it.resume(it.cursor_at({0: place}))
            await client.wait_live()
            assert client.gaps() == []
            assert client.offsets().get(0, []) == [offset for offset in due if offset >= place]
        assert it.source.records_read == len(due)


async def test_an_open_transaction_is_waited_for(kafka: KafkaCluster, topic_name: str) -> None:
    """What is behind it is neither replayed nor live until it ends: then it comes, in order."""
    await create_topic(kafka.bootstrap, topic_name)
    await produce(
        kafka.bootstrap, topic_name, [RecordToProduce(each, partition=0) for each in envelopes(3)]
    )
    async with transactional(kafka) as producer:
        await producer.begin_transaction()
        await producer.send_and_wait(topic_name, envelope(3), partition=0)
        await produce(kafka.bootstrap, topic_name, [RecordToProduce(envelope(4), partition=0)])
        async with running_instance(
            HeldMetadataClient(plaintext_access(kafka.bootstrap)), topic_name
        ) as it:
            client = it.resume(it.cursor_at({0: 0}))
            await client.wait_live()
            assert client.offsets() == {0: [0, 1, 2]}
            await producer.commit_transaction()
            await client.wait_until(lambda: len(client.frames_of("event")) == 5)
            assert client.offsets() == {0: [*range(5)]}
            assert client.gaps() == []
            again = it.resume(client.cursor())
            await again.wait_live()
            assert again.frames_of("event") == []


async def test_holes_of_compaction_are_no_gaps(kafka: KafkaCluster, topic_name: str) -> None:
    """Whole batches are gone, also where the cursor points and where the log began."""
    eager = {
        "cleanup.policy": "compact",
        "segment.bytes": str(1 << 20),
        "min.cleanable.dirty.ratio": "0.001",
        "max.compaction.lag.ms": "100",
    }
    await create_topic(kafka.bootstrap, topic_name, configs=eager)
    records = [
        RecordToProduce(
            envelope(n, size=8_000), key=b"%d" % (n if n % 100 == 99 else 1), partition=0
        )
        for n in range(600)
    ]
    await produce(kafka.bootstrap, topic_name, records)
    async with asyncio.timeout(90):
        while size(kafka, topic_name) > 2_500_000:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    async with running_instance(
        HeldMetadataClient(plaintext_access(kafka.bootstrap)), topic_name
    ) as it:
        middle = it.resume(it.cursor_at({0: 50}))
        await middle.wait_live()
        whole = it.resume(it.cursor_at({0: 0}))
        await whole.wait_live()
        assert it.source.records_read < 500, "nothing was compacted"
        for client in (middle, whole):
            assert client.gaps() == []
            (came,) = client.offsets().values()
            assert {*range(99, 600, 100)} <= {*came}
            assert came == sorted({*came})


def size(kafka: KafkaCluster, topic: str) -> int:
    """Bytes of its segments; one that is just being replaced counts for nothing."""
    return sum(path.stat().st_size for path in kafka.segments(topic) if path.exists())
