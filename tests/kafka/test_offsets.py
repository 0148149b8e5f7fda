"""How far back the logs reach, and which place a time is: asked in the order that loses nothing."""

from __future__ import annotations

import pytest

from bridge.core.protocol.cursor import TopicOffsets
from bridge.core.replay.retention import MISSING_TOPIC, LogBounds
from bridge.kafka.client.client import TopicPartition
from bridge.kafka.offsets import LogOffsets
from tests.kafka.memory_kafka import NOW_MS, MemoryKafkaClient

AGE = 60.0


@pytest.fixture
def cluster() -> MemoryKafkaClient:
    """Topic `t`: at each offset from 0 to 3 a record, one every ten seconds, the last now."""
    made = MemoryKafkaClient()
    made.create("t", 2)
    for n in range(4):
        made.append("t", 0, [b"{}"], NOW_MS - 10_000 * (3 - n))
    return made


def horizon(cluster: MemoryKafkaClient, *, age: float = AGE) -> LogOffsets:
    return LogOffsets(
        cluster, {"t": "t", "u": "u"}, max_age_seconds=age, wall_clock=lambda: NOW_MS / 1000
    )


def identity(cluster: MemoryKafkaClient, topic: str = "t") -> bytes:
    return cluster.ids[topic].bytes[:8]


async def test_bounds_are_where_a_log_begins_and_ends_and_where_it_is_young_enough(cluster):
    cluster.logs[TopicPartition("t", 0)].start = 1
    young = await horizon(cluster, age=10).log_bounds(["t"])
    assert young == {"t": LogBounds(identity(cluster), {0: 1, 1: 0}, {0: 4, 1: 0}, {0: 2, 1: 0})}
    old = await horizon(cluster).log_bounds(["t"])
    assert old["t"].replayable_from == {0: 1, 1: 0}


async def test_where_nothing_is_young_enough_the_end_is_the_first_that_is(cluster):
    cluster.append("t", 1, [b"{}"], NOW_MS - 11_000)
    found = await horizon(cluster, age=10).log_bounds(["t"])
    assert found["t"].replayable_from[1] == 1


async def test_a_hole_at_the_beginning_of_a_log_is_not_too_old(cluster):
    """As compaction leaves them: there is nothing that could be, so all may be replayed."""
    cluster.logs[TopicPartition("t", 0)].batches.pop(0)
    assert (await horizon(cluster).log_bounds(["t"]))["t"].replayable_from[0] == 0
    assert (await horizon(cluster, age=10).log_bounds(["t"]))["t"].replayable_from[0] == 2


async def test_a_topic_that_is_not_there_is_nowhere(cluster):
    assert (await horizon(cluster).log_bounds(["t", "u"]))["u"] == MISSING_TOPIC


async def test_a_partition_without_a_leader_keeps_only_its_own_topic_unknown(cluster):
    cluster.create("u", 2)
    cluster.leaderless.add(TopicPartition("u", 1))
    assert (await horizon(cluster).log_bounds(["t", "u"])).keys() == {"t"}


@pytest.mark.parametrize(
    ("seconds_ago", "place"), [(25, 1), (20, 1), (5, 3), (0, 3), (-5, 4)], ids=str
)
async def test_since_is_the_first_record_of_that_time_or_the_end(cluster, seconds_ago, place):
    found = await horizon(cluster).cursor_at(["t", "u"], NOW_MS - 1000 * seconds_ago)
    assert found == {"t": TopicOffsets(identity(cluster), {0: place, 1: 0})}


async def test_since_goes_no_further_back_than_the_limit_or_the_log(cluster):
    assert (await horizon(cluster, age=10).cursor_at(["t"], 0))["t"].offsets[0] == 2
    cluster.logs[TopicPartition("t", 0)].start = 3
    assert (await horizon(cluster).cursor_at(["t"], 0))["t"].offsets[0] == 3


async def test_since_is_told_whole_or_not_at_all(cluster):
    cluster.leaderless.add(TopicPartition("t", 1))
    with pytest.raises(TimeoutError):
        await horizon(cluster).cursor_at(["t"], 0)


async def test_a_record_that_is_written_while_since_is_asked_is_not_passed_over(
    cluster, monkeypatch
):
    """Its time is behind the one that was asked for, so it belongs to what the client wants."""
    ask = MemoryKafkaClient.list_offsets
    answers = 0

    async def slowly(self, at, leaders):
        nonlocal answers
        found = await ask(self, at, leaders)
        answers += 1
        if answers == 1:
            self.append("t", 1, [b"{}"])
        return found

    monkeypatch.setattr(MemoryKafkaClient, "list_offsets", slowly)
    found = await horizon(cluster).cursor_at(["t"], NOW_MS - 1)
    assert found["t"].offsets[1] == 0
    assert answers == 2, "nothing was written between two questions"
