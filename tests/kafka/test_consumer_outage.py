"""A broker that is away, at the start or for some seconds: nothing is lost, nothing comes twice."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka import AIOKafkaProducer

from tests.harness.admin import RecordToProduce, create_topic, produce
from tests.harness.bridge_process import BridgeProcess
from tests.harness.kafka_cluster import KafkaCluster
from tests.harness.recording_client import RecordingClient
from tests.kafka.recording_sink import plaintext_access, running_consumer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.kafka.recording_sink import RunningConsumer

pytestmark = pytest.mark.kafka

PARTITIONS = 4
OUTAGE_SECONDS = 20.0


async def test_a_bridge_that_was_there_before_the_broker(topic_name: str) -> None:
    with KafkaCluster() as own:
        await create_topic(own.bootstrap, topic_name)
        await asyncio.to_thread(own.stop, 0)
        async with BridgeProcess("early", [topic_name], own.bootstrap) as bridge:
            await bridge.wait_for_log("Kafka does not answer at the start")
            await bridge.wait_alive()
            assert await bridge.status("/readyz") == 503
            await asyncio.to_thread(own.start, 0)
            await bridge.wait_ready()
            async with RecordingClient(bridge.url, topics=[topic_name]) as client:
                everybody = b'{"all": true, "data": 1}'
                await produce(own.bootstrap, topic_name, [RecordToProduce(everybody)])
                await client.wait_until(client.events)
            assert [each["at"] for each in client.events()] == [f"{topic_name}:0:0"]
            assert await bridge.terminate() == 0
            assert "Traceback" not in bridge.stderr()


@contextlib.asynccontextmanager
async def patient_producer(bootstrap: str) -> AsyncIterator[AIOKafkaProducer]:
    """One that keeps trying for as long as it takes, and repeats nothing."""
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        enable_idempotence=True,
        request_timeout_ms=90_000,
        linger_ms=5,
    )
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def test_a_broker_that_was_killed_for_some_seconds(topic_name: str) -> None:
    with KafkaCluster() as own:
        await create_topic(own.bootstrap, topic_name, PARTITIONS)
        async with (
            running_consumer(plaintext_access(own.bootstrap), topic_name) as it,
            patient_producer(own.bootstrap) as producer,
        ):
            acknowledged: list[asyncio.Future[Any]] = []

            async def send(count: int) -> None:
                await producer.partitions_for(topic_name)
                for _ in range(count):
                    n = len(acknowledged)
                    value = b"%d" % n
                    acknowledged.append(
                        await producer.send(topic_name, value, partition=n % PARTITIONS)
                    )

            await send(400)
            await it.sink.wait_for_records(400)
            assert it.consumer.stale_seconds() is None
            await send(400)  # some of them are on their way as it dies
            await asyncio.to_thread(own.kill, 0)
            await send(400)
            await stale_for(it, OUTAGE_SECONDS)
            await asyncio.to_thread(own.start, 0)
            await send(400)
            places = [await future for future in acknowledged]
            await it.sink.wait_for_records(len(places))
            assert it.consumer.stale_seconds() is None
    written = {(at.partition, at.offset): b"%d" % n for n, at in enumerate(places)}
    assert {(got.partition, got.offset): got.value for got in it.sink.delivered()} == written
    assert len(it.sink.delivered()) == len(written)
    assert all(offsets == sorted(offsets) for offsets in it.sink.offsets_by_partition().values())
    assert it.sink.skip_calls() == []
    assert len(it.sink.starts_by_topic_id()) == 1, (
        "it is the same topic as before, and was not begun anew"
    )


async def stale_for(it: RunningConsumer, seconds: float) -> None:
    """Wait until the feed says that it has been without Kafka for so long."""
    async with asyncio.timeout(60):
        while (it.consumer.stale_seconds() or 0) < seconds:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.05)


async def test_a_leader_that_was_killed_is_followed_by_another(topic_name: str) -> None:
    """Three brokers, one of them killed and back: each partition is read on from another."""
    with KafkaCluster(3) as own:
        await create_topic(own.bootstrap, topic_name, 6, replication_factor=3)
        async with running_consumer(plaintext_access(own.bootstrap), topic_name) as it:
            for n, change in enumerate((None, own.kill, own.start)):
                if change is not None:
                    await asyncio.to_thread(change, 1)
                records = [
                    RecordToProduce(b"%d" % n, partition=p) for p in range(6) for _ in range(50)
                ]
                await produce(own.bootstrap, topic_name, records, request_timeout_ms=60_000)
                await it.sink.wait_for_records((n + 1) * 300)
    assert it.sink.offsets_by_partition() == {p: [*range(150)] for p in range(6)}
    assert it.sink.skip_calls() == []
