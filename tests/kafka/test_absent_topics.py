"""Topics of the settings that do not exist are named, with those that may have been meant."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from bridge.kafka import consumer as consumer_module
from bridge.kafka.consumer import MAX_LOGGED_TOPICS, Consumer
from bridge.kafka.partitions import AssignedPartitions
from tests.kafka.memory_kafka import MemoryKafkaClient
from tests.kafka.recording_sink import RecordingSink

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest


@contextlib.asynccontextmanager
async def running(
    kafka: MemoryKafkaClient, *topics: str, later: tuple[str, ...] = ()
) -> AsyncIterator[Consumer]:
    names = {topic: topic for topic in (*topics, *later)}
    consumer = Consumer(kafka, None, names, RecordingSink(), partitions=AssignedPartitions(topics))
    task = asyncio.create_task(consumer.run())
    try:
        await consumer.ready.wait()
        yield consumer
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    messages = (record.getMessage() for record in caplog.records if record.levelname == "WARNING")
    return [message for message in messages if "exist" in message]


def kafka_with(*topics: str) -> MemoryKafkaClient:
    kafka = MemoryKafkaClient()
    for topic in topics:
        kafka.create(topic)
    return kafka


async def refreshed(kafka: MemoryKafkaClient, consumer: Consumer) -> None:
    """Return once the topics were looked at twice more."""
    for _ in range(2):
        count = kafka.requests.count("describe")
        consumer.request_refresh()
        while kafka.requests.count("describe") == count:  # noqa: ASYNC110 - no event for it
            await asyncio.sleep(0.002)


async def test_a_mistyped_topic_is_named_once_with_the_nearest(
    caplog: pytest.LogCaptureFixture,
) -> None:
    kafka = kafka_with("orders", "news")
    async with running(kafka, "ordres", "news") as consumer:
        await refreshed(kafka, consumer)
        (line,) = warnings(caplog)
    assert line.startswith("topic ordres does not exist")
    assert line.endswith("similar=orders")
    assert kafka.requests.count("list topics") == 1


async def test_it_is_named_again_after_ten_minutes(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert consumer_module.ABSENT_REPORT_SECONDS == 600
    monkeypatch.setattr(consumer_module, "ABSENT_REPORT_SECONDS", 0.0)
    kafka = kafka_with("orders")
    async with running(kafka, "xyz") as consumer:
        await refreshed(kafka, consumer)
        assert len(warnings(caplog)) > 1
    assert all(line.endswith("similar=none") for line in warnings(caplog))


async def test_topics_that_exist_cost_no_request_and_no_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    kafka = kafka_with("orders")
    async with running(kafka, "orders") as consumer:
        await refreshed(kafka, consumer)
    assert warnings(caplog) == []
    assert "list topics" not in kafka.requests


async def test_a_topic_that_is_added_later_is_named_at_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    kafka = kafka_with("orders", "news")
    async with running(kafka, "ordres", later=("newz",)) as consumer:
        consumer.add_topic("newz")
        await refreshed(kafka, consumer)
    assert [line.split()[1] for line in warnings(caplog)] == ["ordres", "newz"]


async def test_many_of_them_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    async with running(kafka_with(), *(f"t{n:03}" for n in range(MAX_LOGGED_TOPICS + 5))):
        pass
    lines = warnings(caplog)
    assert len(lines) == MAX_LOGGED_TOPICS + 1
    assert lines[-1] == "5 more topics do not exist"
