"""The queue of state and lifecycle records, written to a real Kafka in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

import pytest

from bridge.coordination import state_writer as state_writer_module
from bridge.coordination.state_writer import StateWriter
from tests.harness.admin import create_topic, fresh_name
from tests.harness.kafka_cluster import KafkaCluster
from tests.kafka.held_replays import wait_until
from tests.kafka.recording_sink import plaintext_access
from tests.kafka.topic_reader import read_records, read_values

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def broker() -> Iterator[KafkaCluster]:
    """A broker that tests stop and start."""
    with KafkaCluster() as cluster:
        yield cluster


@contextlib.asynccontextmanager
async def running(writer: StateWriter) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(writer.run())
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def fresh(bootstrap: str) -> str:
    topic = fresh_name("state-writer")
    await create_topic(bootstrap, topic)
    return topic


def logged_messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [it.getMessage() for it in caplog.records if it.name == state_writer_module.__name__]


async def read(bootstrap: str, topic: str, count: int) -> list[bytes | None]:
    """Return all values of the topic, after the first `count` and all that were on their way."""
    await read_values(bootstrap, topic, count)
    return [it.value for it in await read_records(bootstrap, topic)]


async def test_the_newest_state_record_and_every_lifecycle_record_is_written(
    kafka: KafkaCluster,
) -> None:
    state, lifecycle = await fresh(kafka.bootstrap), await fresh(kafka.bootstrap)
    writer = StateWriter(plaintext_access(kafka.bootstrap))
    for number in range(50):
        writer.queue_state_record(state, b"a", b"%d" % number)
        writer.queue_lifecycle_record(lifecycle, b"k", b"%d" % number)
    writer.queue_state_record(state, b"b", b"last")
    writer.queue_state_record(state, b"a", None)
    async with running(writer):
        await wait_until(lambda: not len(writer))
    found = await read_records(kafka.bootstrap, state)
    assert [(it.key, it.value) for it in found] == [(b"a", None), (b"b", b"last")]
    lifecycle_values = await read_records(kafka.bootstrap, lifecycle)
    assert [it.value for it in lifecycle_values] == [b"%d" % number for number in range(50)]
    assert {it.key for it in lifecycle_values} == {b"k"}


async def test_records_queued_during_a_write_are_written_in_order(
    kafka: KafkaCluster,
) -> None:
    topic = await fresh(kafka.bootstrap)
    writer = StateWriter(plaintext_access(kafka.bootstrap))
    async with running(writer):
        for number in range(500):
            writer.queue_state_record(topic, b"fact", b"fact %d" % number)
            writer.queue_lifecycle_record(topic, b"k", b"%d" % number)
            if number % 7 == 0:
                await asyncio.sleep(0)
            if number % 100 == 99:
                await wait_until(lambda: not len(writer))
    found = [it.value for it in await read_records(kafka.bootstrap, topic)]
    facts = [int(value[5:]) for value in found if value.startswith(b"fact")]
    assert [value for value in found if not value.startswith(b"fact")] == [
        b"%d" % number for number in range(500)
    ]
    assert facts == sorted(set(facts))
    assert facts[-1] == 499


async def test_queued_records_are_written_once_on_stop(kafka: KafkaCluster) -> None:
    topic = await fresh(kafka.bootstrap)
    writer = StateWriter(plaintext_access(kafka.bootstrap))
    expected = [b"%d" % number for number in range(5000)]
    async with running(writer):
        writer.queue_lifecycle_record(topic, b"k", expected[0])
        await wait_until(lambda: not len(writer))
        for value in expected[1:]:
            writer.queue_lifecycle_record(topic, b"k", value)
        await wait_until(lambda: len(writer) < 4000)
    assert len(writer) == 0
    assert await read(kafka.bootstrap, topic, 5000) == expected


async def test_a_record_queued_before_the_first_write_is_written_on_stop(
    kafka: KafkaCluster,
) -> None:
    topic = await fresh(kafka.bootstrap)
    writer = StateWriter(plaintext_access(kafka.bootstrap))
    async with running(writer):
        await asyncio.sleep(0)
        writer.queue_state_record(topic, b"k", None)
    found = await read_records(kafka.bootstrap, topic)
    assert [(it.key, it.value) for it in found] == [(b"k", None)]


async def test_an_outage_loses_no_current_record_and_keeps_the_order(
    broker: KafkaCluster, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = await fresh(broker.bootstrap)
    monkeypatch.setattr(state_writer_module, "_RETRY_SECONDS", 0.1)
    monkeypatch.setattr(state_writer_module, "_STOP_TIMEOUT_SECONDS", 0.5)
    monkeypatch.setattr(state_writer_module, "_REQUEST_TIMEOUT_MS", 1000)
    writer = StateWriter(plaintext_access(broker.bootstrap))
    expected = [b"%d %s" % (number, b"." * 100) for number in range(1000)]
    caplog.set_level(logging.WARNING, state_writer_module.__name__)
    async with running(writer):
        writer.queue_state_record(topic, b"fact", b"before")
        writer.queue_lifecycle_record(topic, b"k", expected[0])
        await wait_until(lambda: not len(writer))
        await asyncio.to_thread(broker.stop, 0)
        for number, value in enumerate(expected[1:], 1):
            writer.queue_lifecycle_record(topic, b"k", value)
            writer.queue_state_record(topic, b"fact", b"%d" % number)
        await wait_until(lambda: logged_messages(caplog))  # it has failed at least once
        writer.queue_state_record(topic, b"fact", None)
        await asyncio.to_thread(broker.start, 0)
        await wait_until(lambda: not len(writer))
        writer.queue_lifecycle_record(topic, b"k", b"after")
        await wait_until(lambda: not len(writer))
    found = await read_records(broker.bootstrap, topic)
    lifecycle_values = [it.value for it in found if it.key == b"k"]
    facts = [it.value for it in found if it.key == b"fact"]
    assert lifecycle_values == [*expected, b"after"]
    assert facts == [b"before", None], "replaced state records are not written"
    messages = logged_messages(caplog)
    assert len(messages) == 2, messages
    assert "again" in messages[1]


async def test_a_stop_does_not_wait_for_the_end_of_an_outage(
    broker: KafkaCluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    topic = await fresh(broker.bootstrap)
    monkeypatch.setattr(state_writer_module, "_STOP_TIMEOUT_SECONDS", 0.5)
    monkeypatch.setattr(state_writer_module, "_REQUEST_TIMEOUT_MS", 1000)
    writer = StateWriter(plaintext_access(broker.bootstrap))
    async with running(writer) as task:
        writer.queue_lifecycle_record(topic, b"k", b"before")
        await wait_until(lambda: not len(writer))
        await asyncio.to_thread(broker.stop, 0)
        writer.queue_lifecycle_record(topic, b"k", b"never")
        await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            async with asyncio.timeout(60):
                await task
    assert len(writer) == 1
    assert writer.lost_count == 1
    assert "lifecycle_records=1" in logged_messages(caplog)[-1]
    await asyncio.to_thread(broker.start, 0)
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert left == [], "no task is left that would write later"
    assert await read(broker.bootstrap, topic, 1) == [b"before"]


async def test_lifecycle_records_are_bounded_and_state_records_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(state_writer_module, "MAX_LIFECYCLE_RECORDS", 10)
    writer = StateWriter(plaintext_access("127.0.0.1:1"))
    for number in range(15):
        writer.queue_lifecycle_record("t", b"k", b"%d" % number)
        writer.queue_state_record("t", b"%d" % number, b"")
    assert (len(writer), writer.lost_count) == (25, 5)


async def test_written_records_make_room(
    kafka: KafkaCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = await fresh(kafka.bootstrap)
    monkeypatch.setattr(state_writer_module, "MAX_LIFECYCLE_RECORDS", 3)
    writer = StateWriter(plaintext_access(kafka.bootstrap))
    async with running(writer):
        for number in range(9):
            writer.queue_lifecycle_record(topic, b"k", b"%d" % number)
            await wait_until(lambda: not len(writer))
    assert writer.lost_count == 0


async def test_batches_shrink_to_the_limit_of_the_topic(
    kafka: KafkaCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_writer_module, "_RETRY_SECONDS", 0.05)
    topic = fresh_name("state-writer")
    await create_topic(kafka.bootstrap, topic, configs={"max.message.bytes": "2000"})
    writer = StateWriter(plaintext_access(kafka.bootstrap))
    expected = [b"%d %s" % (number, b"." * 100) for number in range(100)]
    async with running(writer):
        for value in expected:
            writer.queue_lifecycle_record(topic, b"k", value)
        await wait_until(lambda: not len(writer))
    assert [it.value for it in await read_records(kafka.bootstrap, topic)] == expected
    assert writer.lost_count == 0


async def test_a_record_that_kafka_refuses_does_not_block(
    kafka: KafkaCluster, caplog: pytest.LogCaptureFixture
) -> None:
    topic = await fresh(kafka.bootstrap)
    writer = StateWriter(plaintext_access(kafka.bootstrap))
    caplog.set_level(logging.WARNING, state_writer_module.__name__)
    async with running(writer):
        writer.queue_state_record(topic, b"first", b"1")
        writer.queue_state_record(topic, b"large", b"x" * (3 << 20))
        writer.queue_lifecycle_record(topic, b"k", b"x" * 1_048_600)
        writer.queue_state_record(topic, b"last", b"2")
        await wait_until(lambda: not len(writer))
    found = await read_records(kafka.bootstrap, topic)
    assert [it.key for it in found] == [b"first", b"last"]
    assert writer.lost_count == 2
    assert topic in caplog.text
