"""Issue of wrong clocks: what a start reads back is bounded, whatever the stamps of records say."""

from __future__ import annotations

import pytest

from bridge.core.replay.retention import ReplayLimits
from bridge.kafka.partitions import WarmUpLimits
from tests.kafka.headless_instance import envelopes, running_instance
from tests.kafka.memory_kafka import NOW_MS, MemoryKafkaClient

WARM_SECONDS = 60
DAY_MS = 86_400_000
VALUE_BYTES = 200
EVERY_WRONG_CLOCK = pytest.mark.parametrize(
    "stamp_ms",
    [NOW_MS * 1000, NOW_MS // 1000, NOW_MS + 10 * DAY_MS, NOW_MS, 0],
    ids=["microseconds", "seconds", "far future", "out of order", "epoch"],
)


class CountingKafka(MemoryKafkaClient):
    """Counts what live reading fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched_bytes = 0

    async def fetch(self, *arguments, **more):
        fetched = await super().fetch(*arguments, **more)
        self.fetched_bytes += sum(len(each.data) for each in fetched)
        return fetched


def misled_log(stamp_ms: int, partitions: int = 1) -> CountingKafka:
    """A day-old log of 30,000 records in each partition, with one wrong stamp at its beginning."""
    kafka = CountingKafka()
    kafka.create("t", partitions)
    for number in range(partitions):
        kafka.append("t", number, envelopes(1), stamp_ms)
        kafka.append("t", number, envelopes(30_000, size=VALUE_BYTES), NOW_MS - DAY_MS)
    return kafka


@EVERY_WRONG_CLOCK
@pytest.mark.parametrize("partitions", [1, 3])
async def test_a_start_reads_back_no_more_bytes_than_the_journal(
    stamp_ms: int, partitions: int
) -> None:
    kafka, limit = misled_log(stamp_ms, partitions), 1 << 20
    async with running_instance(
        kafka, "t", warm=WARM_SECONDS, wall_ms=NOW_MS, warm_limits=WarmUpLimits(limit, 10**9)
    ) as it:
        assert it.hub.topic_positions["t"].next_offsets == dict.fromkeys(range(partitions), 30_001)
        batch = max(len(each.data) for log in kafka.logs.values() for each in log.batches)
        assert kafka.fetched_bytes <= limit + batch


async def test_a_start_reads_back_no_more_records_than_a_replay() -> None:
    kafka = misled_log(NOW_MS)
    async with running_instance(
        kafka, "t", warm=WARM_SECONDS, wall_ms=NOW_MS, warm_limits=WarmUpLimits(1 << 40, 500)
    ) as it:
        assert it.hub.journal.start_offset("t", 0) == 30_001 - 500


@pytest.mark.parametrize("stamp_ms", [NOW_MS * 1000, NOW_MS + 10 * DAY_MS])
async def test_a_stamp_in_the_future_does_not_make_the_whole_log_recent(stamp_ms: int) -> None:
    kafka = misled_log(stamp_ms)
    async with running_instance(kafka, "t", warm=WARM_SECONDS, wall_ms=NOW_MS) as it:
        assert it.hub.journal.start_offset("t", 0) == 30_001 - 10_000


async def test_without_a_journal_nothing_is_read_back() -> None:
    kafka = misled_log(NOW_MS)
    async with running_instance(
        kafka, "t", warm=WARM_SECONDS, wall_ms=NOW_MS, warm_limits=WarmUpLimits(0, 10**9)
    ) as it:
        assert (it.hub.journal.start_offset("t", 0), kafka.fetched_bytes) == (30_001, 0)


async def test_what_is_read_back_ends_at_the_newest_record_without_a_hole() -> None:
    kafka = misled_log(NOW_MS)
    async with running_instance(
        kafka, "t", warm=WARM_SECONDS, wall_ms=NOW_MS, warm_limits=WarmUpLimits(1 << 20, 10**9)
    ) as it:
        begin = it.hub.journal.start_offset("t", 0)
        assert 25_000 < begin < 30_001, "the newest part, not the oldest"
        back = it.resume(it.cursor_at({0: begin}))
        await back.wait_live()
        assert back.offsets() == {0: list(range(begin, 30_001))}
        assert it.source.records_read == 0, "the journal had it"


async def test_right_clocks_are_read_back_as_before() -> None:
    kafka = MemoryKafkaClient()
    kafka.create("t")
    kafka.append("t", 0, envelopes(500), NOW_MS - DAY_MS)
    kafka.append("t", 0, envelopes(300), NOW_MS - 1000)
    async with running_instance(
        kafka, "t", warm=WARM_SECONDS, wall_ms=NOW_MS, warm_limits=WarmUpLimits(1 << 20, 1000)
    ) as it:
        assert it.hub.journal.start_offset("t", 0) == 500


# -- MAX_BYTES of a replay -------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 50_000, 100_000, 3_000_000])
async def test_max_bytes_may_end_a_replay_in_the_middle_of_a_topic(limit: int) -> None:
    """What is read from Kafka stays below the limit plus one fetch of a partition."""
    kafka = MemoryKafkaClient()
    kafka.create("t", 2)
    for number in range(2):
        kafka.append("t", number, envelopes(20_000, size=VALUE_BYTES))
    async with running_instance(kafka, "t", limits=ReplayLimits(10**9, limit)) as it:
        back = it.resume(it.cursor_at({0: 0, 1: 0}))
        await back.wait_live()
        batch = max(len(each.data) for log in kafka.logs.values() for each in log.batches)
        assert it.source.bytes_read < limit + batch
        got = back.offsets()
        assert all(offsets == list(range(len(offsets))) for offsets in got.values())
        assert back.gaps() == [("t", "limit")]
        kafka.append("t", 0, envelopes(1))
        await back.wait_until(lambda: back.offsets().get(0, [])[-1:] == [20_000])
