"""The last seconds, read back before an instance is ready: a deploy sends nobody to Kafka."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import httpx
import pytest

from bridge.kafka.client.client import TopicPartition
from bridge.kafka.consumer import Consumer
from tests.harness.admin import RecordToProduce, create_topic, fresh_name, produce
from tests.harness.bridge_process import BridgeProcess
from tests.harness.recording_client import RecordingClient
from tests.kafka.headless_instance import envelope, envelopes, running_instance
from tests.kafka.memory_kafka import MemoryKafkaClient
from tests.kafka.recording_sink import (
    TIMEOUT_SECONDS,
    HeldMetadataClient,
    RecordingSink,
    SkipCall,
    plaintext_access,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.harness.kafka_cluster import KafkaCluster

WARM_SECONDS = 60
METRIC = "push_bridge_replay_records_read_total"


def ago(seconds: float) -> int:
    """That time, in milliseconds since 1970."""
    return int((time.time() - seconds) * 1000)


@pytest.mark.kafka
async def test_the_last_seconds_are_in_the_journal_as_soon_as_it_is_ready(
    kafka: KafkaCluster, topic_name: str
) -> None:
    """Of three partitions one has younger and older records, one only older, one none."""
    empty = fresh_name()
    await create_topic(kafka.bootstrap, topic_name, 3)
    await create_topic(kafka.bootstrap, empty)
    old, young = ago(WARM_SECONDS + 100), ago(WARM_SECONDS - 50)
    records = [
        *(RecordToProduce(envelope(n), partition=0, timestamp_ms=old) for n in range(3)),
        *(RecordToProduce(envelope(n), partition=0, timestamp_ms=young) for n in range(3, 6)),
        *(RecordToProduce(envelope(n), partition=1, timestamp_ms=old) for n in range(4)),
    ]
    await produce(kafka.bootstrap, topic_name, records)
    cluster = HeldMetadataClient(plaintext_access(kafka.bootstrap))
    async with running_instance(cluster, topic_name, empty, fresh_name(), warm=WARM_SECONDS) as it:
        # At this very moment: nothing is awaited between its readiness and these lines.
        assert it.hub.topic_positions[topic_name].next_offsets == {0: 6, 1: 4, 2: 0}
        assert it.hub.topic_positions[empty].next_offsets == {0: 0}
        assert [it.hub.journal.start_offset(topic_name, p) for p in range(3)] == [3, 4, 0]
        back = it.resume(it.cursor_at({0: 4, 1: 4, 2: 0}))
        await back.wait_live()
        assert back.offsets() == {0: [4, 5]}
        assert it.source.records_read == 0, "the journal had it"


class Slow(MemoryKafkaClient):
    """Every fetch of the feed waits until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.create("t")
        self.free = asyncio.Event()
        self.fetching = asyncio.Event()

    async def fetch(self, *arguments, **more):
        self.fetching.set()
        await self.free.wait()
        return await super().fetch(*arguments, **more)


class Started:
    """A feed of `t` that is about to read back its last three records."""

    def __init__(self, cluster: Slow, feed: Consumer, tape: RecordingSink) -> None:
        self.cluster, self.feed, self.tape = cluster, feed, tape


@pytest.fixture
async def started() -> AsyncIterator[Started]:
    cluster, tape = Slow(), RecordingSink()
    cluster.append("t", 0, [b"old", b"old"], ago(1000))
    for value in (b"2", b"3", b"4"):
        cluster.append("t", 0, [value], ago(1))
    feed = Consumer(cluster, "group", {"t": "t"}, tape, warm_seconds=WARM_SECONDS)
    task = asyncio.create_task(feed.run())
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await cluster.fetching.wait()
        yield Started(cluster, feed, tape)
    finally:
        task.cancel()
        await asyncio.wait([task])


async def ready(it: Started) -> None:
    async with asyncio.timeout(TIMEOUT_SECONDS):
        await it.feed.ready.wait()


async def test_an_instance_is_ready_only_when_it_has_read_back(started: Started) -> None:
    await asyncio.sleep(0)
    assert not started.feed.ready.is_set()
    started.cluster.free.set()
    await ready(started)
    assert started.tape.offsets_by_partition() == {0: [2, 3, 4]}, "all of it, before it was ready"


async def test_what_comes_meanwhile_is_not_waited_for(started: Started) -> None:
    """Else a busy topic would keep an instance from ever being ready."""
    started.cluster.append("t", 0, envelopes(3000, size=1000))
    started.cluster.free.set()
    await ready(started)
    assert 3 <= len(started.tape.delivered()) < 3003, "there is more than one fetch of it"
    await started.tape.wait_for_records(3003)


async def test_a_topic_that_goes_while_it_is_read_back_is_not_waited_for(
    started: Started,
) -> None:
    started.cluster.delete("t")
    started.cluster.free.set()
    await ready(started)
    assert started.tape.delivered() == []


async def test_a_log_that_is_cut_off_while_it_is_read_back_is_not_waited_for(
    started: Started,
) -> None:
    """As an unclean election of a leader may do: what it was to catch up with is no more."""
    started.cluster.truncate("t", 0, 0)
    started.cluster.free.set()
    await ready(started)
    assert started.tape.skip_calls() == [SkipCall("t", "truncated", {0: 0})]


async def test_what_expires_while_it_is_read_back_is_not_waited_for(started: Started) -> None:
    started.cluster.logs[TopicPartition("t", 0)].start = 5
    started.cluster.free.set()
    await ready(started)
    assert started.tape.skip_calls() == [SkipCall("t", "expired", {0: 5})]


@pytest.mark.kafka
async def test_a_client_finds_on_a_fresh_instance_what_it_missed_between_two(
    kafka: KafkaCluster, topic_name: str
) -> None:
    """The first is gone before the second starts; what happened meanwhile is read back by it."""
    await create_topic(kafka.bootstrap, topic_name)
    async with BridgeProcess("first", [topic_name], kafka.bootstrap) as first:
        await first.wait_ready()
        async with RecordingClient(first.url) as client:
            await produce(kafka.bootstrap, topic_name, [RecordToProduce(envelope(0))])
            await client.wait_until(client.events)
        cursor = client.frames()[0]["cursor"]
        assert await first.terminate() == 0
    await produce(kafka.bootstrap, topic_name, [RecordToProduce(envelope(n)) for n in range(1, 4)])
    async with BridgeProcess("second", [topic_name], kafka.bootstrap) as second:
        await second.wait_ready()
        async with RecordingClient(second.url, cursor=f"{cursor},{topic_name}:0:0") as client:
            await client.wait_for_text('"op":"live"', 1)
            assert [each["at"].rpartition(":")[2] for each in client.events()] == ["1", "2", "3"]
            assert await replayed_records(second) == 0
        assert await second.terminate() == 0


async def replayed_records(bridge: BridgeProcess) -> float:
    async with httpx.AsyncClient(trust_env=False, timeout=TIMEOUT_SECONDS) as client:
        told = (await client.get(f"http://127.0.0.1:{bridge.port}/metrics")).text
    (line,) = [line for line in told.splitlines() if line.startswith(METRIC)]
    return float(line.rpartition(" ")[2])
