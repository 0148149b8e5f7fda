"""When topics on demand fall asleep, who is called, and what is still on its way of them then."""

from __future__ import annotations

import asyncio

from bridge.config.topics import TopicDefinition
from bridge.core.protocol.topic_catalogue import TopicCatalogue
from bridge.kafka.client.client import FetchedPartition, TopicPartition
from bridge.kafka.fetcher import FetchErrors
from bridge.kafka.on_demand import ActiveTopics
from bridge.kafka.partition_reader import MAX_ATTEMPTS, ReadResult, ReadStatus
from bridge.kafka.partitions import PartitionState
from tests.kafka.memory_kafka import MemoryKafkaClient
from tests.kafka.recording_sink import RecordingSink


def on_demand(name: str) -> TopicCatalogue:
    """Kafka's topic `t`, which is read for 10 s after it is unused."""
    return TopicCatalogue.from_entries(
        [TopicDefinition(name=name, kafka="t", on_demand=True, linger_seconds=10)]
    )


def test_who_was_there_for_a_moment_begins_the_time_anew():
    followers: set[str] = set()
    it = ActiveTopics(on_demand("t"), wait_seconds=1)
    it.mark_active(["t"])
    assert (
        it.to_deactivate(followers.__contains__, 0)
        == it.to_deactivate(followers.__contains__, 9)
        == []
    )
    it.request_activation("t")
    assert (
        it.to_deactivate(followers.__contains__, 12)
        == it.to_deactivate(followers.__contains__, 21)
        == []
    )
    assert it.to_deactivate(followers.__contains__, 22) == ["t"]
    it.mark_idle("t")
    assert (
        it.to_deactivate(followers.__contains__, 99),
        it.to_activate(followers.__contains__),
    ) == ([], set())
    followers.add("t")
    assert it.to_activate(followers.__contains__) == {"t"}


def test_only_a_call_for_what_is_asleep_asks_for_a_look():
    it = ActiveTopics(on_demand("a"), wait_seconds=1)
    it.request_activation("a")
    assert it.refresh_requested.is_set()
    it.refresh_requested.clear()
    it.mark_active(["t"])
    it.request_activation("a")
    assert not it.refresh_requested.is_set()


def test_a_partition_that_is_read_no_more_is_not_passed_on() -> None:
    tape = RecordingSink()
    trouble = FetchErrors(MemoryKafkaClient(), {"t": "t"}, tape, asyncio.Event())
    reading = PartitionState(5, 0, 5)
    reading.failed_attempts, reading.is_dropped = MAX_ATTEMPTS, True
    trouble.skip_unreadable(
        FetchedPartition(TopicPartition("t", 0), 5, 0, 9, [], b""),
        reading,
        ReadResult(ReadStatus.UNREADABLE, "it is damaged", 7),
        "corrupt",
    )
    assert (tape.calls, reading.offset) == ([], 5)
