"""What a developer relies on, on the embedded broker and on a real one."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from bridge.kafka.client.client import EARLIEST, LATEST, Access, Cluster, Partition
from bridge.kafka.client.embedded import EmbeddedBroker, EmbeddedCluster
from bridge.kafka.producer import Producer
from tests.harness.admin import Record, create_topic, produce
from tests.kafka.returning import envelope, running
from tests.kafka.tape import following, plain

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PARTITIONS = 4
NOW = 1_795_000_000_000


class Broker(NamedTuple):
    """Where a topic of four partitions is, and how the bridge reaches it."""

    access: Access
    topic: str
    client: type[Cluster]

    @property
    def bootstrap(self) -> str:
        return self.access.bootstrap_servers


@pytest.fixture(params=["embedded", pytest.param("real", marks=pytest.mark.kafka)])
async def broker(request: pytest.FixtureRequest, topic_name: str) -> AsyncIterator[Broker]:
    if request.param == "real":
        cluster = request.getfixturevalue("kafka")
        forever = {"retention.ms": "-1"}  # the times here are what they are
        await create_topic(cluster.bootstrap, topic_name, PARTITIONS, configs=forever)
        yield Broker(plain(cluster.bootstrap), topic_name, Cluster)
        return
    embedded = EmbeddedBroker([topic_name])
    options = {"client_id": "test"}
    reach = Access(embedded.bootstrap_servers, options, may_create_topics=True, fetch_wait_ms=10)
    yield Broker(reach, topic_name, EmbeddedCluster)


@asynccontextmanager
async def producing(access: Access) -> AsyncIterator[Producer]:
    producer = Producer(access)
    try:
        await producer.start()
        yield producer
    finally:
        await producer.stop()


async def test_what_is_produced_arrives_in_order(broker: Broker) -> None:
    async with following(broker.access, broker.topic) as it:
        records = [Record(b"%d" % n, partition=n % PARTITIONS) for n in range(1000)]
        await produce(broker.bootstrap, broker.topic, records, enable_idempotence=False)
        await it.tape.until_got(1000)
        assert it.tape.places() == {p: [*range(250)] for p in range(PARTITIONS)}
        for partition in range(PARTITIONS):
            values = [got.value for got in it.tape.got() if got.partition == partition]
            assert values == [b"%d" % n for n in range(partition, 1000, PARTITIONS)]
        await it.tape.until(lambda: it.feed.lag() == {broker.topic: 0})
    assert it.tape.skipped() == []


async def test_the_bridges_own_producer_writes_where_it_says(broker: Broker) -> None:
    async with following(broker.access, broker.topic) as it, producing(broker.access) as producer:
        told = [
            await producer.write(
                broker.topic, b"%d" % n, key=b"key-%d" % n, headers=[("push-all", b"true")]
            )
            for n in range(20)
        ]
        await it.tape.until_got(20)
    came = {(got.partition, got.offset): got.value for got in it.tape.got()}
    assert came == {(at.partition, at.offset): b"%d" % n for n, at in enumerate(told)}
    assert len({at.partition for at in told}) > 1


async def test_an_instance_starts_at_the_end(broker: Broker) -> None:
    before = [Record(b"before", partition=p) for p in range(PARTITIONS)]
    await produce(broker.bootstrap, broker.topic, before, enable_idempotence=False)
    async with following(broker.access, broker.topic) as it:
        assert list(it.tape.lives().values()) == [dict.fromkeys(range(PARTITIONS), 1)]
        after = [Record(b"after", partition=3)]
        await produce(broker.bootstrap, broker.topic, after, enable_idempotence=False)
        await it.tape.until_got(1)
    assert [tuple(got) for got in it.tape.got()] == [(broker.topic, 3, 1, b"after")]


async def test_positions_are_committed(broker: Broker) -> None:
    """While it runs, and the last ones as it ends."""
    records = [Record(b"%d" % n, partition=p) for p in range(PARTITIONS) for n in range(p + 1)]
    async with following(broker.access, broker.topic) as it:
        await produce(broker.bootstrap, broker.topic, records, enable_idempotence=False)
        await it.tape.until_got(len(records))
        async with asyncio.timeout(60):
            while await committed(broker, it.group) != {0: 1, 1: 2, 2: 3, 3: 4}:
                pass
        last = [Record(b"last", partition=0)]
        await produce(broker.bootstrap, broker.topic, last, enable_idempotence=False)
        await it.tape.until_got(len(records) + 1)
    assert await committed(broker, it.group) == {0: 2, 1: 2, 2: 3, 3: 4}


async def committed(broker: Broker, group: str) -> dict[int, int | None]:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=broker.bootstrap, group_id=group, enable_auto_commit=False
    )
    try:
        await consumer.start()
        places = [TopicPartition(broker.topic, p) for p in range(PARTITIONS)]
        consumer.assign(places)
        return {place.partition: await consumer.committed(place) for place in places}
    finally:
        await consumer.stop()


async def test_places_are_found_by_time(broker: Broker) -> None:
    """To the millisecond; between two, at both ends, beyond them, and where there is nothing."""
    records = [
        Record(b"%d" % n, partition=partition, time=NOW + 1000 * n)
        for partition in (0, 1)
        for n in range(10)
    ]
    await produce(broker.bootstrap, broker.topic, records, enable_idempotence=False)
    cluster = broker.client(broker.access)
    try:
        await cluster.connect()
        leaders = {
            Partition(broker.topic, number): leader
            for number, leader in (await cluster.describe([broker.topic]))[
                broker.topic
            ].leaders.items()
        }
        times = {EARLIEST: 0, LATEST: 10, 0: 0, NOW: 0, NOW + 1: 1, NOW + 5000: 5, NOW + 9001: -1}
        for time, place in times.items():
            found = await cluster.offsets(dict.fromkeys(leaders, time), leaders)
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
        Record(envelope(n), partition=n % PARTITIONS, time=NOW + 1000 * n) for n in range(200)
    ]
    await produce(broker.bootstrap, broker.topic, records, enable_idempotence=False)
    async with running(broker.client(broker.access), broker.topic) as it:
        back = it.resume(it.at(dict.fromkeys(range(PARTITIONS), 20)))
        since = await it.since(NOW + 100_000)
        for client, first in ((back, 20), (since, 25)):
            await client.live()
            assert client.offsets() == {p: [*range(first, 50)] for p in range(PARTITIONS)}
            assert client.gaps() == []
        beyond = it.resume(it.at({0: 51, 1: 50, 2: 50, 3: 50}))
        await beyond.live()
        assert beyond.gaps() == [(broker.topic, "truncated")]
