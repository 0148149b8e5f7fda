"""What is published over HTTP, written to a real Kafka: acknowledged, refused, or not known."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest
from aiokafka import AIOKafkaConsumer

from bridge.core.ports import NotAcknowledged, RecordRefused, RecordTooLarge, UnknownTopic
from bridge.kafka import producer as writing
from bridge.kafka.client.client import KafkaAccess
from bridge.kafka.producer import KafkaPublisher
from tests.harness.admin import create_topic
from tests.harness.kafka_cluster import KafkaCluster
from tests.web.in_process_bridge import wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.kafka


@contextlib.asynccontextmanager
async def running(bootstrap: str, **topics: str) -> AsyncIterator[KafkaPublisher]:
    """A writer that runs, connected or not."""
    writer = KafkaPublisher(KafkaAccess(bootstrap, {"client_id": "test"}), topics)
    task = asyncio.create_task(writer.run())
    try:
        yield writer
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def connected(writer: KafkaPublisher) -> None:
    await wait_until(lambda: writer._producer is not None, 60.0)


async def test_a_record_is_written_where_it_is_said(kafka: KafkaCluster, topic_name: str) -> None:
    await create_topic(kafka.bootstrap, topic_name, 3)
    async with running(kafka.bootstrap, orders=topic_name) as writer:
        await connected(writer)
        places = [await writer.publish("orders", b"%d" % n, key=b"k") for n in range(3)]
    assert [(at.topic, at.offset) for at in places] == [("orders", 0), ("orders", 1), ("orders", 2)]
    assert len({at.partition for at in places}) == 1, "one key, one partition"


async def test_a_record_is_written_with_its_headers(kafka: KafkaCluster, topic_name: str) -> None:
    await create_topic(kafka.bootstrap, topic_name)
    headers = [("traceparent", b"00-1"), ("x", b"")]
    async with running(kafka.bootstrap, orders=topic_name) as writer:
        await connected(writer)
        await writer.publish("orders", b"1", key=None, headers=headers)
        await writer.publish("orders", b"2", key=None)
    consumer = AIOKafkaConsumer(
        topic_name, bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest"
    )
    async with consumer, asyncio.timeout(60):
        written = [await consumer.getone() for _ in range(2)]
    assert [list(record.headers) for record in written] == [headers, []]


async def test_a_topic_that_is_not_there_is_told_and_not_made(
    kafka: KafkaCluster, topic_name: str
) -> None:
    async with running(kafka.bootstrap, orders=topic_name) as writer:
        await connected(writer)
        for name in ("orders", "unknown"):
            with pytest.raises(UnknownTopic):
                await writer.publish(name, b"1", key=None)
        await create_topic(kafka.bootstrap, topic_name)  # fails where it was made
        assert (await writer.publish("orders", b"1", key=None)).offset == 0


async def test_a_record_that_kafka_does_not_take_is_told(
    kafka: KafkaCluster, topic_name: str
) -> None:
    await create_topic(kafka.bootstrap, topic_name, configs={"max.message.bytes": "1000"})
    async with running(kafka.bootstrap, orders=topic_name) as writer:
        await connected(writer)
        for size in (2000, 2 << 20):
            with pytest.raises(RecordTooLarge):
                await writer.publish("orders", b"x" * size, key=None)
        assert (await writer.publish("orders", b"1", key=None)).offset == 0
        with pytest.raises(UnknownTopic):
            await writer.publish("nowhere", b"1", key=None)
        outcomes = {
            "acknowledged": 1,
            "not_acknowledged": 0,
            "no_topic": 1,
            "too_large": 2,
            "refused": 0,
        }
        assert writer.outcomes == outcomes


async def publish_often(writer: KafkaPublisher) -> None:
    for _ in range(20):
        await writer.publish("orders", b"1", key=None)


async def test_a_clock_that_kafka_refuses_is_named_and_nothing_may_have_been_written(
    kafka: KafkaCluster, topic_name: str
) -> None:
    # A record's stamp is at least a millisecond old when the broker reads it.
    await create_topic(
        kafka.bootstrap, topic_name, configs={"message.timestamp.before.max.ms": "0"}
    )
    await create_topic(
        kafka.bootstrap, f"{topic_name}.keyed", configs={"cleanup.policy": "compact"}
    )
    names = {"orders": topic_name, "keyed": f"{topic_name}.keyed"}
    async with running(kafka.bootstrap, **names) as writer:
        await connected(writer)
        with pytest.raises(RecordRefused, match="clock"):
            await publish_often(writer)
        with pytest.raises(RecordRefused, match="key"):
            await writer.publish("keyed", b"1", key=None)
        assert (await writer.publish("keyed", b"1", key=b"k")).offset == 0
        assert writer.outcomes["refused"] == 2


async def test_an_outage_is_told_in_time_and_ends_by_itself(
    topic_name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with KafkaCluster() as own:
        await create_topic(own.bootstrap, topic_name)
        async with running(own.bootstrap, orders=topic_name) as writer:
            await connected(writer)
            await writer.publish("orders", b"before", key=None)
            own.stop(0)
            monkeypatch.setattr(writing, "ACKNOWLEDGEMENT_TIMEOUT_SECONDS", 0.5)
            for _ in range(3):
                with pytest.raises(NotAcknowledged):
                    await writer.publish("orders", b"lost or not", key=None)
            own.start(0)
            monkeypatch.setattr(writing, "ACKNOWLEDGEMENT_TIMEOUT_SECONDS", 30.0)
            async with asyncio.timeout(90):
                while True:
                    with contextlib.suppress(NotAcknowledged):
                        await writer.publish("orders", b"after", key=None)
                        break
    said = [each.getMessage() for each in caplog.records if each.name == writing.__name__]
    assert len(said) == 2, said
    assert ("does not accept" in said[0], "again" in said[1]) == (True, True)


async def test_before_kafka_was_ever_reached_that_is_told_at_once(topic_name: str) -> None:
    async with running("127.0.0.1:1", orders=topic_name) as writer:
        with pytest.raises(NotAcknowledged):
            await writer.publish("orders", b"1", key=None)
        assert writer.outcomes["not_acknowledged"] == 1
