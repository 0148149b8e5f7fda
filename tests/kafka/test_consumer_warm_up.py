"""The last seconds, read back before an instance is ready: a deploy sends nobody to Kafka."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import httpx
import pytest

from bridge.kafka.client.client import Partition
from bridge.kafka.consumer import Feed
from tests.harness.admin import Record, create_topic, fresh_name, produce
from tests.harness.bridge_process import BridgeProcess
from tests.harness.listener import Listener
from tests.kafka.memory import MemoryCluster
from tests.kafka.returning import envelope, envelopes, running
from tests.kafka.tape import PATIENCE, BlinkingCluster, Skipped, Tape, plain

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
        *(Record(envelope(n), partition=0, time=old) for n in range(3)),
        *(Record(envelope(n), partition=0, time=young) for n in range(3, 6)),
        *(Record(envelope(n), partition=1, time=old) for n in range(4)),
    ]
    await produce(kafka.bootstrap, topic_name, records)
    cluster = BlinkingCluster(plain(kafka.bootstrap))
    async with running(cluster, topic_name, empty, fresh_name(), warm=WARM_SECONDS) as it:
        # At this very moment: nothing is awaited between its readiness and these lines.
        assert it.hub.logs[topic_name].next == {0: 6, 1: 4, 2: 0}
        assert it.hub.logs[empty].next == {0: 0}
        assert [it.hub.journal.floor(topic_name, p) for p in range(3)] == [3, 4, 0]
        back = it.resume(it.at({0: 4, 1: 4, 2: 0}))
        await back.live()
        assert back.offsets() == {0: [4, 5]}
        assert it.source.records == 0, "the journal had it"


class Slow(MemoryCluster):
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

    def __init__(self, cluster: Slow, feed: Feed, tape: Tape) -> None:
        self.cluster, self.feed, self.tape = cluster, feed, tape


@pytest.fixture
async def started() -> AsyncIterator[Started]:
    cluster, tape = Slow(), Tape()
    cluster.put("t", 0, [b"old", b"old"], ago(1000))
    for value in (b"2", b"3", b"4"):
        cluster.put("t", 0, [value], ago(1))
    feed = Feed(cluster, "group", {"t": ["t"]}, tape, warm_seconds=WARM_SECONDS)
    task = asyncio.create_task(feed.run())
    try:
        async with asyncio.timeout(PATIENCE):
            await cluster.fetching.wait()
        yield Started(cluster, feed, tape)
    finally:
        task.cancel()
        await asyncio.wait([task])


async def ready(it: Started) -> None:
    async with asyncio.timeout(PATIENCE):
        await it.feed.ready.wait()


async def test_an_instance_is_ready_only_when_it_has_read_back(started: Started) -> None:
    await asyncio.sleep(0)
    assert not started.feed.ready.is_set()
    started.cluster.free.set()
    await ready(started)
    assert started.tape.places() == {0: [2, 3, 4]}, "all of it, before it was ready"


async def test_what_comes_meanwhile_is_not_waited_for(started: Started) -> None:
    """Else a busy topic would keep an instance from ever being ready."""
    started.cluster.put("t", 0, envelopes(3000, size=1000))
    started.cluster.free.set()
    await ready(started)
    assert 3 <= len(started.tape.got()) < 3003, "there is more than one fetch of it"
    await started.tape.until_got(3003)


async def test_a_topic_that_goes_while_it_is_read_back_is_not_waited_for(
    started: Started,
) -> None:
    started.cluster.delete("t")
    started.cluster.free.set()
    await ready(started)
    assert started.tape.got() == []


async def test_a_log_that_is_cut_off_while_it_is_read_back_is_not_waited_for(
    started: Started,
) -> None:
    """As an unclean election of a leader may do: what it was to catch up with is no more."""
    started.cluster.cut("t", 0, 0)
    started.cluster.free.set()
    await ready(started)
    assert started.tape.skipped() == [Skipped("t", "truncated", {0: 0})]


async def test_what_expires_while_it_is_read_back_is_not_waited_for(started: Started) -> None:
    started.cluster.logs[Partition("t", 0)].start = 5
    started.cluster.free.set()
    await ready(started)
    assert started.tape.skipped() == [Skipped("t", "expired", {0: 5})]


@pytest.mark.kafka
async def test_a_client_finds_on_a_fresh_instance_what_it_missed_between_two(
    kafka: KafkaCluster, topic_name: str
) -> None:
    """The first is gone before the second starts; what happened meanwhile is read back by it."""
    await create_topic(kafka.bootstrap, topic_name)
    async with BridgeProcess("first", [topic_name], kafka.bootstrap) as first:
        await first.ready()
        async with Listener(first.url) as client:
            await produce(kafka.bootstrap, topic_name, [Record(envelope(0))])
            await client.until(client.events)
        cursor = client.frames()[0]["cursor"]
        assert await first.terminate() == 0
    await produce(kafka.bootstrap, topic_name, [Record(envelope(n)) for n in range(1, 4)])
    async with BridgeProcess("second", [topic_name], kafka.bootstrap) as second:
        await second.ready()
        async with Listener(second.url, cursor=f"{cursor},{topic_name}:0:0") as client:
            await client.until_said('"op":"live"', 1)
            assert [each["at"].rpartition(":")[2] for each in client.events()] == ["1", "2", "3"]
            assert await replayed_records(second) == 0
        assert await second.terminate() == 0


async def replayed_records(bridge: BridgeProcess) -> float:
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as client:
        told = (await client.get(f"http://127.0.0.1:{bridge.port}/metrics")).text
    (line,) = [line for line in told.splitlines() if line.startswith(METRIC)]
    return float(line.rpartition(" ")[2])
