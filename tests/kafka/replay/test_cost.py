"""What coming back costs is told while it is going on, and afterwards."""

from __future__ import annotations

import pytest

from bridge.kafka.client.client import Partition
from bridge.kafka.replay.scheduler import Cost
from tests.kafka.memory import MemoryCluster
from tests.kafka.pacing import Paced, until
from tests.kafka.returning import envelopes, running

T = Partition("t", 0)


class Kafka(Paced, MemoryCluster):
    """A topic `t` of one partition; a fetch of a replay brings some 100 records."""

    def __init__(self) -> None:
        super().__init__()
        self.create("t")
        self.most_bytes = 1 << 13


@pytest.fixture
def kafka() -> Kafka:
    return Kafka()


async def test_records_bytes_and_passes_are_counted_and_who_waits_for_one_is_told(kafka):
    kafka.put("t", 0, envelopes(2000))
    async with running(kafka, "t") as it:
        assert it.replayer.cost == Cost(0, 0, 0, 0, 0)
        kafka.hold(lambda wanted: wanted[T] > 500)
        first = it.resume(it.at({0: 0}))
        await kafka.until_held()
        second = it.resume(it.at({0: 0}))
        await until(lambda: it.replayer.cost.waiting == 1)
        now = it.replayer.cost
        assert (now.passes, now.running, 0 < now.records < 2000) == (1, 1, True)
        kafka.let_go()
        for client in (first, second):
            await client.live()
        await until(lambda: not it.replayer.cost.running)
        done = it.replayer.cost
    written = sum(len(batch.data) for batch in kafka.logs[T].batches)
    assert done == Cost(2000, written, 1, 0, 0)


async def test_what_is_read_live_is_no_cost_of_coming_back(kafka):
    async with running(kafka, "t") as it:
        kafka.put("t", 0, envelopes(200))
        await until(lambda: it.hub.tally.read == 200)
        assert it.replayer.cost == Cost(0, 0, 0, 0, 0)
