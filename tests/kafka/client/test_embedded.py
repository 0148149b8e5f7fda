"""What a developer relies on, on the embedded broker and on a real one."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as AIOKafkaTopicPartition

from bridge.kafka.client.client import EARLIEST, LATEST, KafkaAccess, KafkaClient, TopicPartition
from bridge.kafka.client.embedded import EmbeddedBroker, EmbeddedKafkaClient
from bridge.kafka.producer import KafkaProducer
from tests.harness.admin import RecordToProduce, create_topic, produce
from tests.kafka.headless_instance import envelope, running_instance
from tests.kafka.recording_sink import plaintext_access, running_consumer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PARTITIONS = 4
NOW = 1_795_000_000_000


class Broker(NamedTuple):
    """Where a topic of four partitions is, and how the bridge reaches it."""

    access: KafkaAccess
    topic: str
    client: type[KafkaClient]

    @property
    def bootstrap(self) -> str:
        return self.access.bootstrap_servers


@pytest.fixture(params=["embedded", pytest.param("real", marks=pytest.mark.kafka)])
async def broker(request: pytest.FixtureRequest, topic_name: str) -> AsyncIterator[Broker]:
    if request.param == "real":
        cluster = request.getfixturevalue("kafka")
        forever = {"retention.ms": "-1"}  # the times here are what they are
        await create_topic(cluster.bootstrap, topic_name, PARTITIONS, configs=forever)
        yield Broker(plaintext_access(cluster.bootstrap), topic_name, KafkaClient)
        return
    embedded = EmbeddedBroker([topic_name])
    options = {"client_id": "test"}
    reach = KafkaAccess(
        embedded.bootstrap_servers, options, may_create_topics=True, fetch_wait_ms=10
    )
    yield Broker(reach, topic_name, EmbeddedKafkaClient)


@asynccontextmanager
async def producing(access: KafkaAccess) -> AsyncIterator[KafkaProducer]:
    producer = KafkaProducer(access)
    try:
        await producer.start()
        yield producer
    finally:
        await producer.stop()


async def test_what_is_produced_arrives_in_order(broker: Broker) -> None:
    async with running_consumer(broker.access, broker.topic) as it:
        records = [RecordToProduce(b"%d" % n, partition=n % PARTITIONS) for n in range(1000)]
        await produce(broker.bootstrap, broker.topic, records, enable_idempotence=False)
        await it.sink.wait_for_records(1000)
        assert it.sink.offsets_by_partition() == {p: [*range(250)] for p in range(PARTITIONS)}
        for partition in range(PARTITIONS):
            values = [got.value for got in it.sink.delivered() if got.partition == partition]
            assert values == [b"%d" % n for n in range(partition, 1000, PARTITIONS)]
        await it.sink.wait_until(lambda: it.consumer.lag() == {broker.topic: 0})
    assert it.sink.skip_calls() == []


async def test_the_bridges_own_producer_writes_where_it_says(broker: Broker) -> None:
    async with (
        running_consumer(broker.access, broker.topic) as it,
        producing(broker.access) as producer,
    ):
        told = [
            await producer.send(
                broker.topic, b"%d" % n, key=b"key-%d" % n, headers=[("push-all", b"true")]
            )
            for n in range(20)
        ]
        await it.sink.wait_for_records(20)
    came = {(got.partition, got.offset): got.value for got in it.sink.delivered()}
    assert came == {(at.partition, at.offset): b"%d" % n for n, at in enumerate(told)}
    assert len({at.partition for at in told}) > 1


async def test_an_instance_starts_at_the_end(broker: Broker) -> None:
    before = [RecordToProduce(b"before", partition=p) for p in range(PARTITIONS)]
    await produce(broker.bootstrap, broker.topic, before, enable_idempotence=False)
    async with running_consumer(broker.access, broker.topic) as it:
        assert list(it.sink.starts_by_topic_id().values()) == [dict.fromkeys(range(PARTITIONS), 1)]
        after = [RecordToProduce(b"after", partition=3)]
        await produce(broker.bootstrap, broker.topic, after, enable_idempotence=False)
        await it.sink.wait_for_records(1)
    assert [tuple(got) for got in it.sink.delivered()] == [(broker.topic, 3, 1, b"after")]


async def test_positions_are_committed(broker: Broker) -> None:
    """While it runs. At its end there is nothing to show any more."""
    records = [
        RecordToProduce(b"%d" % n, partition=p) for p in range(PARTITIONS) for n in range(p + 1)
    ]
    async with running_consumer(broker.access, broker.topic) as it:
        await produce(broker.bootstrap, broker.topic, records, enable_idempotence=False)
        await it.sink.wait_for_records(len(records))
        async with asyncio.timeout(60):
            while await committed(broker, it.group) != {0: 1, 1: 2, 2: 3, 3: 4}:
                pass


async def committed(broker: Broker, group: str) -> dict[int, int | None]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=broker.bootstrap, group_id=group, enable_auto_commit=False
    )
    try:
        await consumer.start()
        places = [AIOKafkaTopicPartition(broker.topic, p) for p in range(PARTITIONS)]
        consumer.assign(places)
        return {place.partition: await consumer.committed(place) for place in places}
    finally:
        await consumer.stop()


async def test_places_are_found_by_time(broker: Broker) -> None:
    """To the millisecond; between two, at both ends, beyond them, and where there is nothing."""
    records = [
        RecordToProduce(b"%d" % n, partition=partition, timestamp_ms=NOW + 1000 * n)
        for partition in (0, 1)
        for n in range(10)
    ]
    await produce(broker.bootstrap, broker.topic, records, enable_idempotence=False)
    cluster = broker.client(broker.access)
    try:
        await cluster.connect()
        leaders = {
            TopicPartition(broker.topic, number): leader
            for number, leader in (await cluster.describe_topics([broker.topic]))[
                broker.topic
            ].leaders.items()
        }
        times = {EARLIEST: 0, LATEST: 10, 0: 0, NOW: 0, NOW + 1: 1, NOW + 5000: 5, NOW + 9001: -1}
        for time, place in times.items():
            found = await cluster.list_offsets(dict.fromkeys(leaders, time), leaders)
            empty = -1 if time >= 0 else 0
            assert [found[partition] for partition in sorted(leaders)] == [
                place,
                place,
                *[empty] * 2,
            ]
    finally:
        await cluster.close()


async def test_what_was_missed_is_replayed_by_cursor_and_by_time(broker: Broker) -> None:
    records = [
        RecordToProduce(envelope(n), partition=n % PARTITIONS, timestamp_ms=NOW + 1000 * n)
        for n in range(200)
    ]
    await produce(broker.bootstrap, broker.topic, records, enable_idempotence=False)
    async with running_instance(broker.client(broker.access), broker.topic) as it:
        back = it.resume(it.cursor_at(dict.fromkeys(range(PARTITIONS), 20)))
        since = await it.connect_since(NOW + 100_000)
        for client, first in ((back, 20), (since, 25)):
            await client.wait_live()
            assert client.offsets() == {p: [*range(first, 50)] for p in range(PARTITIONS)}
            assert client.gaps() == []
        beyond = it.resume(it.cursor_at({0: 51, 1: 50, 2: 50, 3: 50}))
        await beyond.wait_live()
        assert beyond.gaps() == [(broker.topic, "truncated")]
