"""Pages of the past from the journal and from Kafka: what they read, and what they do not."""

from __future__ import annotations

import asyncio

import pytest

from bridge.core.replay.history import HistoryUnavailable
from bridge.core.replay.retention import ReplayLimits
from bridge.kafka.client.client import BrokerConnection, TopicPartition
from bridge.kafka.replay import history
from bridge.kafka.replay import history as replay_history
from tests.kafka.headless_instance import envelope, envelopes
from tests.kafka.held_replays import wait_until
from tests.kafka.history_instance import (
    HeldFetchClient,
    data,
    gaps,
    offsets_by_partition,
    running_history,
)
from tests.kafka.memory_kafka import NOW_MS, MemoryKafkaClient

T = TopicPartition("t", 0)


class Kafka(HeldFetchClient, MemoryKafkaClient):
    """Topics `t` of one partition and `u` of three."""

    def __init__(self) -> None:
        super().__init__()
        self.create("t")
        self.create("u", 3)


@pytest.fixture
def kafka() -> Kafka:
    return Kafka()


def sparse(count: int, every: int) -> list[bytes]:
    """Events of which some are for ann."""
    return [envelope(n, to=None if n % every == 0 else "nobody") for n in range(count)]


# -- where it comes from ---------------------------------------------------------------------------


async def test_what_was_there_before_the_instance_comes_from_kafka(kafka):
    kafka.append("t", 0, envelopes(250))
    async with running_history(kafka, "t") as it:
        turned = await it.pages()
        assert offsets_by_partition(turned) == {0: [*range(250)]}
        assert [len(each.events) for each in turned] == [100, 100, 50]
        assert gaps(turned) == []


async def test_what_is_in_the_journal_comes_from_there(kafka):
    async with running_history(kafka, "t", "u") as it:
        kafka.append("t", 0, envelopes(250))
        kafka.append("u", 1, envelopes(50))
        await it.wait_caught_up()
        assert {p: len(found) for p, found in offsets_by_partition(await it.pages()).items()} == {
            0: 250,
            1: 50,
        }
    assert kafka.fetched_offsets == []


async def test_from_kafka_it_is_read_only_up_to_where_the_journal_begins(kafka):
    kafka.append("t", 0, envelopes(150))
    async with running_history(kafka, "t") as it:
        kafka.append("t", 0, envelopes(1000, start=150))
        await it.wait_caught_up()
        assert offsets_by_partition(await it.pages(limit=1000)) == {0: [*range(1150)]}
        assert it.instance.source.records_read == 150


async def test_what_the_feed_has_not_read_yet_is_awaited(kafka):
    async with running_history(kafka, "t") as it:
        kafka.hold(BrokerConnection.CONSUMER)
        await kafka.wait_until_held(BrokerConnection.CONSUMER)
        kafka.append("t", 0, envelopes(10))
        asking = asyncio.create_task(it.page())
        await wait_until(lambda: it.history.active_requests)
        assert it.hub.topic_positions["t"].next_offsets == {0: 0}
        kafka.release()
        assert offsets_by_partition([await asking]) == {0: [*range(10)]}
    assert kafka.fetched_offsets == []


async def test_what_the_feed_is_late_with_comes_from_kafka(kafka, monkeypatch):
    monkeypatch.setattr(replay_history, "CONSUMER_WAIT_SECONDS", 0.0)
    async with running_history(kafka, "t") as it:
        kafka.hold(BrokerConnection.CONSUMER)
        await kafka.wait_until_held(BrokerConnection.CONSUMER)
        kafka.append("t", 0, envelopes(150))
        turned = await it.pages()
        assert kafka.fetched_offsets
        kafka.release()
        await it.wait_caught_up()
        assert (await it.page(turned[-1].cursor)).events == []
    assert offsets_by_partition(turned) == {0: [*range(150)]}


async def test_partitions_are_merged_by_time(kafka):
    for n in range(30):
        kafka.append("u", n % 3, [envelope(n)], time_ms=NOW_MS + n)
    async with running_history(kafka, "u") as it:
        assert data(await it.pages(limit=7)) == [str(n) for n in range(30)]


async def test_since_a_time(kafka):
    for n in range(30):
        kafka.append("u", n % 3, [envelope(n)], time_ms=NOW_MS + n)
    async with running_history(kafka, "u") as it:
        turned = await it.pages(since=NOW_MS + 10, limit=7)
        assert data(turned) == [str(n) for n in range(10, 30)]
        assert (await it.page(since=NOW_MS + 1000)).more is False
        assert gaps(turned) == []


async def test_only_what_is_for_the_reader_is_told(kafka):
    kafka.append("t", 0, [envelope(0, to="ann"), envelope(1, to="bob"), envelope(2)])
    async with running_history(kafka, "t") as it:
        assert data([await it.page()]) == ["0", "2"]
        assert data([await it.page(account="bob")]) == ["1", "2"]
        assert data([await it.page(account=None)]) == ["2"]
        assert data([await it.page(types=["other"])]) == []


async def test_a_page_ends_where_the_log_ended_when_it_was_asked_for(kafka):
    kafka.append("t", 0, envelopes(10))
    async with running_history(kafka, "t") as it:
        kafka.hold(BrokerConnection.HISTORY)
        asking = asyncio.create_task(it.page())
        await kafka.wait_until_held()
        kafka.append("t", 0, envelopes(10, start=10))
        kafka.release()
        page = await asking
        assert (offsets_by_partition([page]), page.more) == ({0: [*range(10)]}, False)
        assert offsets_by_partition([await it.page(page.cursor)]) == {0: [*range(10, 20)]}


async def test_the_end_of_a_page_is_a_cursor_for_a_connection(kafka):
    kafka.append("t", 0, envelopes(150))
    async with running_history(kafka, "t") as it:
        page = await it.page()
        client = it.instance.resume(page.cursor)
        await client.wait_live()
        assert client.offsets() == {0: [*range(100, 150)]}
        back = await it.page(client.cursor())
        assert (back.events, back.more) == ([], False)


# -- what it costs ---------------------------------------------------------------------------------


async def test_a_page_that_is_complete_reads_no_further(kafka):
    kafka.append("t", 0, envelopes(20_000))
    async with running_history(kafka, "t") as it:
        page = await it.page(limit=10)
        assert offsets_by_partition([page]) == {0: [*range(10)]}
        assert it.instance.source.records_read <= 100, "more than a batch"


async def test_the_records_of_a_page_are_bounded_to_the_record(kafka):
    kafka.append("t", 0, sparse(2000, every=150))
    async with running_history(kafka, "t", limits=ReplayLimits(70, 1 << 30)) as it:
        page, scanned = await it.page(), [70]
        assert (page.positions, page.more, it.instance.source.records_read) == (["t:0:0"], True, 70)
        pages = [page]
        while pages[-1].more:
            pages.append(await it.page(pages[-1].cursor))
            scanned.append(it.instance.source.records_read - sum(scanned))
        assert offsets_by_partition(pages) == {0: [*range(0, 2000, 150)]}
        assert max(scanned) == 70
        assert sum(scanned) == 2000


async def test_the_bytes_of_a_page_are_bounded(kafka):
    kafka.append("t", 0, sparse(4000, every=500))
    batch = len(kafka.logs[T].batches[0].data)
    async with running_history(kafka, "t", limits=ReplayLimits(10**9, 2 * batch)) as it:
        turned = await it.pages()
        assert len(turned) >= 4000 // 300
        assert offsets_by_partition(turned) == {0: [*range(0, 4000, 500)]}


async def test_partitions_that_are_bounded_are_read_abreast(kafka):
    """So that a page that is cut has something in order, and none is left far behind."""
    for n in range(3):
        kafka.append("u", n, sparse(900, every=3))
    async with running_history(kafka, "u", limits=ReplayLimits(350, 1 << 30)) as it:
        assert offsets_by_partition(await it.pages()) == {p: [*range(0, 900, 3)] for p in range(3)}


async def test_a_page_that_takes_long_is_answered_as_it_is(kafka, monkeypatch):
    monkeypatch.setattr(replay_history, "MAX_PAGE_SECONDS", -1.0)
    kafka.append("t", 0, sparse(5000, every=1000))
    async with running_history(kafka, "t") as it:
        turned = await it.pages()
        assert offsets_by_partition(turned) == {0: [*range(0, 5000, 1000)]}
        assert len(turned) > 5


@pytest.mark.parametrize("limits", [ReplayLimits(0, 1 << 30), ReplayLimits(10**9, 0)])
async def test_where_nothing_may_be_read_only_the_journal_is_told(kafka, limits):
    kafka.append("t", 0, envelopes(100))
    async with running_history(kafka, "t", limits=limits) as it:
        kafka.append("t", 0, envelopes(10, start=100))
        await it.wait_caught_up()
        page = await it.page()
        assert (offsets_by_partition([page]), page.more, page.gaps) == (
            {0: [*range(100, 110)]},
            False,
            [],
        )
        back = await it.page(it.cursor_at({0: 50}))
        assert (offsets_by_partition([back]), gaps([back])) == (
            {0: [*range(100, 110)]},
            [("t", "limit")],
        )
    assert kafka.fetched_offsets == []


# -- one after the other ---------------------------------------------------------------------------


async def test_so_many_pages_are_read_from_kafka_at_a_time(kafka):
    kafka.append("t", 0, envelopes(10))
    async with running_history(kafka, "t", passes=2) as it:
        kafka.hold(BrokerConnection.HISTORY)
        asking = [asyncio.create_task(it.page()) for _ in range(6)]
        await kafka.wait_until_held(count=2)
        kafka.release()
        for page in asking:
            assert len((await page).events) == 10
    assert kafka.max_concurrent_fetches == 2


async def test_who_waits_too_long_for_a_turn_is_told_so(kafka):
    kafka.append("t", 0, envelopes(10))
    async with running_history(kafka, "t", passes=1, wait=0.2) as it:
        kafka.hold(BrokerConnection.HISTORY)
        first = asyncio.create_task(it.page())
        await kafka.wait_until_held()
        with pytest.raises(HistoryUnavailable, match="too many"):
            await it.page()
        kafka.release()
        assert len((await first).events) == 10


async def test_the_journal_waits_for_no_turn(kafka):
    kafka.append("t", 0, envelopes(10))
    async with running_history(kafka, "t", passes=1) as it:
        kafka.append("t", 0, envelopes(5, start=10))
        await it.wait_caught_up()
        kafka.hold(BrokerConnection.HISTORY)
        first = asyncio.create_task(it.page())
        await kafka.wait_until_held()
        assert offsets_by_partition([await it.page(it.cursor_at({0: 10}))]) == {0: [*range(10, 15)]}
        kafka.release()
        await first


async def test_too_many_requests_are_refused_at_once(kafka, monkeypatch):
    monkeypatch.setattr(history, "MAX_REQUESTS", 3)
    kafka.append("t", 0, envelopes(10))
    async with running_history(kafka, "t") as it:
        kafka.hold(BrokerConnection.HISTORY)
        asking = [asyncio.create_task(it.page()) for _ in range(3)]
        await wait_until(lambda: it.history.active_requests == 3)
        with pytest.raises(HistoryUnavailable, match="too many"):
            await it.page()
        kafka.release()
        await asyncio.gather(*asking)
        assert it.history.active_requests == 0
        await it.page()


async def test_a_page_that_nobody_waits_for_any_more_is_not_read(kafka):
    kafka.append("t", 0, envelopes(10))
    async with running_history(kafka, "t", passes=1) as it:
        kafka.hold(BrokerConnection.HISTORY)
        asking = [asyncio.create_task(it.page()) for _ in range(2)]
        await kafka.wait_until_held()
        for each in asking:
            each.cancel()
        await asyncio.wait(asking)
        kafka.release()
        assert it.history.active_requests == 0
        assert len((await it.page()).events) == 10, "the turn was given back"
        assert len(kafka.fetched_offsets) == 2
        assert it.instance.source.records_read == 10
