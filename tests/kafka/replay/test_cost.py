"""What coming back costs is told while it is going on, and afterwards."""

from __future__ import annotations

import pytest

from bridge.kafka.client.client import TopicPartition
from bridge.kafka.replay.scheduler import ReplayStats
from tests.kafka.headless_instance import envelopes, running_instance
from tests.kafka.held_replays import HeldReplayClient, wait_until
from tests.kafka.history_instance import HistoryInstance, offsets_by_partition
from tests.kafka.memory_kafka import MemoryKafkaClient

T = TopicPartition("t", 0)


class Kafka(HeldReplayClient, MemoryKafkaClient):
    """A topic `t` of one partition; a fetch of a replay brings some 100 records."""

    def __init__(self) -> None:
        super().__init__()
        self.create("t")
        self.fetch_max_bytes = 1 << 13


@pytest.fixture
def kafka() -> Kafka:
    return Kafka()


async def test_records_bytes_and_passes_are_counted_and_who_waits_for_one_is_told(kafka):
    kafka.append("t", 0, envelopes(2000))
    async with running_instance(kafka, "t") as it:
        assert it.replayer.stats == ReplayStats(0, 0, 0, 0, 0)
        kafka.hold_fetches(lambda wanted: wanted[T] > 500)
        first = it.resume(it.cursor_at({0: 0}))
        await kafka.wait_until_held()
        second = it.resume(it.cursor_at({0: 0}))
        await wait_until(lambda: it.replayer.stats.sessions_waiting == 1)
        now = it.replayer.stats
        assert (now.scans_started, now.scans_running, 0 < now.records_read < 2000) == (1, 1, True)
        kafka.release()
        for client in (first, second):
            await client.wait_live()
        await wait_until(lambda: not it.replayer.stats.scans_running)
        done = it.replayer.stats
    written = sum(len(batch.data) for batch in kafka.logs[T].batches)
    assert done == ReplayStats(2000, written, 1, 0, 0)


async def test_what_is_read_live_is_no_cost_of_coming_back(kafka):
    async with running_instance(kafka, "t") as it:
        kafka.append("t", 0, envelopes(200))
        await wait_until(lambda: it.hub.counters.records_read == 200)
        assert it.replayer.stats == ReplayStats(0, 0, 0, 0, 0)


async def test_what_a_page_reads_is_counted_once(kafka):
    kafka.append("t", 0, envelopes(200))
    async with running_instance(kafka, "t") as it:
        page = await HistoryInstance(it).page(limit=1000)
        assert offsets_by_partition([page]) == {0: [*range(200)]}
        written = sum(len(batch.data) for batch in kafka.logs[T].batches)
        assert (it.replayer.stats.records_read, it.replayer.stats.bytes_read) == (200, written)
