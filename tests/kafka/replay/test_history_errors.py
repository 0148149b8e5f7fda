"""What can not be had of the past: told before the page that lacks it, or refused for now."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from bridge.core.protocol.cursor import decode_cursor, encode_cursor
from bridge.core.replay.history import HistoryUnavailable
from bridge.kafka.client.client import BrokerConnection, TopicPartition
from bridge.kafka.replay import history
from tests.core.factories import offsets_by_topic
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

if TYPE_CHECKING:
    from tests.harness.history_pages import ReceivedPage
    from tests.kafka.history_instance import HistoryInstance

T = TopicPartition("t", 0)
DAY = 86_400


class Kafka(HeldFetchClient, MemoryKafkaClient):
    """Topics `t` of one partition and `u` of three."""

    def __init__(self) -> None:
        super().__init__()
        self.create("t")
        self.create("u", 3)

    def expire(self, start: int) -> None:
        """Lose what is below `start` in `t`, as retention does."""
        self.logs[T].start = start

    def now(self) -> float:
        """The time of what is written, in seconds."""
        return NOW_MS / 1000


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> Kafka:
    """It is asked again without a pause, for a batch at a time."""
    monkeypatch.setattr(history, "RETRY_SECONDS", 0.001)
    monkeypatch.setattr(history, "MAX_SCAN_FETCH_BYTES", 1)
    return Kafka()


async def held(
    kafka: Kafka, it: HistoryInstance, cursor: str | None = None
) -> asyncio.Task[ReceivedPage]:
    """Return a page that was begun, and that waits for its first record."""
    kafka.hold(BrokerConnection.HISTORY)
    asking = asyncio.create_task(it.page(cursor))
    await kafka.wait_until_held()
    return asking


# -- gaps ------------------------------------------------------------------------------------------


async def test_what_has_expired_is_told_to_who_has_a_cursor_there(kafka):
    kafka.append("t", 0, envelopes(50))
    kafka.expire(20)
    async with running_history(kafka, "t") as it:
        page = await it.page()
        assert (offsets_by_partition([page]), gaps([page])) == ({0: [*range(20, 50)]}, [])
        page = await it.page(it.cursor_at({0: 7}))
        assert (offsets_by_partition([page]), gaps([page])) == (
            {0: [*range(20, 50)]},
            [("t", "expired")],
        )
        assert offsets_by_topic(decode_cursor(page.gaps[0]["cursor"])) == {"t": {0: 20}}


async def test_what_expires_while_it_is_asked_for_is_told_likewise(kafka):
    kafka.append("t", 0, envelopes(50))
    async with running_history(kafka, "t") as it:
        for cursor, told in (None, []), (it.cursor_at({0: 7}), [("t", "expired")]):
            kafka.expire(0)
            asking = await held(kafka, it, cursor)
            kafka.expire(20)
            kafka.release()
            page = await asking
            assert (offsets_by_partition([page]), gaps([page])) == ({0: [*range(20, 50)]}, told)


async def test_what_expires_before_a_page_that_has_come_on_is_told_by_the_next(kafka):
    kafka.append("t", 0, envelopes(150))
    async with running_history(kafka, "t") as it:
        kafka.hold(BrokerConnection.HISTORY, free_fetches=1)
        asking = asyncio.create_task(it.page(limit=120))
        await kafka.wait_until_held()
        kafka.expire(120)
        kafka.release()
        page = await asking
        assert (offsets_by_partition([page]), page.more, page.gaps) == (
            {0: [*range(100)]},
            True,
            [],
        )
        rest = await it.page(page.cursor)
        assert (offsets_by_partition([rest]), gaps([rest])) == (
            {0: [*range(120, 150)]},
            [("t", "expired")],
        )


async def test_what_is_too_old_is_told_to_who_has_a_cursor_there(kafka):
    kafka.append("t", 0, envelopes(50), time_ms=NOW_MS - 2 * DAY * 1000)
    kafka.append("t", 0, envelopes(50, 50))
    async with running_history(kafka, "t", age=DAY, wall=kafka.now) as it:
        page = await it.page()
        assert (offsets_by_partition([page]), gaps([page])) == ({0: [*range(50, 100)]}, [])
        page = await it.page(it.cursor_at({0: 7}))
        assert (offsets_by_partition([page]), gaps([page])) == (
            {0: [*range(50, 100)]},
            [("t", "limit")],
        )


async def test_who_pages_on_from_the_edge_of_what_is_told_does_not_fall_off_it(kafka):
    """Its events grow too old between two pages.

    That does not matter, and to a cursor without its time not for some minutes.
    """
    for n in range(10):
        kafka.append("t", 0, [envelope(n)], time_ms=NOW_MS + n * 1000)
    later = 0.0
    async with running_history(kafka, "t", age=DAY, wall=lambda: kafka.now() + later) as it:
        later = DAY + 0.5
        first = await it.page(limit=4)
        assert offsets_by_partition([first]) == {0: [1, 2, 3, 4]}
        later += history.GRACE_SECONDS
        undated = encode_cursor(decode_cursor(first.cursor))
        rest = await it.page(undated)
        assert (offsets_by_partition([rest]), gaps([rest])) == ({0: [5, 6, 7, 8, 9]}, [])
        later += 6
        rest = await it.page(first.cursor)
        assert (offsets_by_partition([rest]), gaps([rest])) == ({0: [5, 6, 7, 8, 9]}, [])
        rest = await it.page(undated)
        assert (offsets_by_partition([rest]), gaps([rest])) == ({0: [7, 8, 9]}, [("t", "limit")])


async def test_a_cursor_beyond_the_end_goes_on_from_the_end(kafka):
    kafka.append("t", 0, envelopes(50))
    async with running_history(kafka, "t") as it:
        page = await it.page(it.cursor_at({0: 51}))
        assert (page.events, page.more, gaps([page])) == ([], False, [("t", "truncated")])
        assert offsets_by_topic(decode_cursor(page.cursor)) == {"t": {0: 50}}


async def test_a_cursor_ahead_of_this_instance_is_no_gap(kafka):
    kafka.append("t", 0, envelopes(50))
    async with running_history(kafka, "t") as it:
        kafka.hold(BrokerConnection.CONSUMER)
        await kafka.wait_until_held(BrokerConnection.CONSUMER)
        kafka.append("t", 0, envelopes(50, 50))
        page = await it.page(it.cursor_at({0: 100}))
        assert (page.events, page.more, page.gaps) == ([], False, [])


async def test_a_topic_that_was_created_again_is_told_from_its_beginning(kafka):
    kafka.append("t", 0, envelopes(50))
    async with running_history(kafka, "t") as it:
        before = it.cursor_at({0: 7})
        kafka.delete("t")
        kafka.create("t", 2)
        kafka.append("t", 1, envelopes(5))
        page = await it.page(before)
        assert (offsets_by_partition([page]), gaps([page])) == (
            {1: [*range(5)]},
            [("t", "recreated")],
        )
        assert (await it.page(page.cursor)).gaps == []


@pytest.mark.parametrize("has_cursor", [False, True])
async def test_a_topic_that_is_created_again_under_a_page_is_told_anew(kafka, has_cursor):
    kafka.append("t", 0, envelopes(50))
    async with running_history(kafka, "t") as it:
        life = it.hub.topic_positions["t"].topic_id
        asking = await held(kafka, it, it.cursor_at({0: 7}) if has_cursor else None)
        kafka.delete("t")
        kafka.create("t")
        kafka.append("t", 0, envelopes(5, 1000))
        await wait_until(lambda: it.hub.topic_positions["t"].topic_id != life)
        kafka.release()
        page = await asking
        assert data([page]) == [str(n) for n in range(1000, 1005)]
        assert gaps([page]) == ([("t", "recreated")] if has_cursor else [])


async def test_a_topic_that_does_not_exist_has_no_past_until_it_does(kafka):
    async with running_history(kafka, "later", "t") as it:
        page = await it.page()
        assert (page.events, page.more, page.gaps) == ([], False, [])
        kafka.create("later")
        kafka.append("later", 0, envelopes(5))
        page = await it.page(page.cursor)
        assert (offsets_by_partition([page]), page.gaps) == ({0: [*range(5)]}, [])


# -- damage ----------------------------------------------------------------------------------------


async def test_what_is_damaged_stands_before_a_page_never_within_it(kafka):
    kafka.append("t", 0, envelopes(500))
    lost = kafka.corrupt("t", 0, 250)
    async with running_history(kafka, "t") as it:
        first = await it.page(limit=1000)
        assert (offsets_by_partition([first]), first.more, first.gaps) == (
            {0: [*range(lost.start)]},
            True,
            [],
        )
        second = await it.page(first.cursor, limit=1000)
        assert gaps([second]) == [("t", "corrupt")]
        assert offsets_by_topic(decode_cursor(second.gaps[0]["cursor"])) == {"t": {0: lost.stop}}
        assert (offsets_by_partition([second]), second.more) == (
            {0: [*range(lost.stop, 500)]},
            False,
        )


async def test_a_stretch_of_damage_is_passed_as_one(kafka):
    kafka.append("t", 0, envelopes(500))
    for offset in 0, 100, 200:
        kafka.corrupt("t", 0, offset)
    async with running_history(kafka, "t") as it:
        page = await it.page(limit=1000)
        assert (offsets_by_partition([page]), gaps([page])) == (
            {0: [*range(300, 500)]},
            [("t", "corrupt")],
        )


async def test_what_the_broker_calls_corrupt_is_passed_up_to_the_journal(kafka):
    kafka.append("t", 0, envelopes(50))
    async with running_history(kafka, "t") as it:
        kafka.append("t", 0, envelopes(10, 50))
        await it.wait_caught_up()
        kafka.errors[T] = 2
        page = await it.page()
        assert (offsets_by_partition([page]), gaps([page])) == (
            {0: [*range(50, 60)]},
            [("t", "corrupt")],
        )


async def test_damage_to_one_partition_keeps_nothing_of_the_others_back(kafka):
    for n in range(3):
        kafka.append("u", n, envelopes(300), time_ms=NOW_MS + n)
    lost = kafka.corrupt("u", 1, 150)
    async with running_history(kafka, "u") as it:
        turned = await it.pages(limit=1000)
        assert offsets_by_partition(turned) == {
            0: [*range(300)],
            1: [n for n in range(300) if n not in lost],
            2: [*range(300)],
        }
        assert gaps(turned) == [("u", "corrupt")]


async def test_a_flaw_on_the_way_is_no_damage(kafka):
    kafka.append("t", 0, envelopes(50))
    async with running_history(kafka, "t") as it:
        sound = kafka.logs[T].batches[0]
        asking = await held(kafka, it)
        kafka.corrupt("t", 0, 0)
        kafka.hold(BrokerConnection.HISTORY, free_fetches=1)
        await kafka.wait_until_held()
        kafka.logs[T].batches[0] = sound
        kafka.release()
        page = await asking
        assert (offsets_by_partition([page]), page.gaps) == ({0: [*range(50)]}, [])


# -- not now ---------------------------------------------------------------------------------------


async def test_while_kafka_is_away_nobody_is_kept_waiting(kafka):
    kafka.append("t", 0, envelopes(50))
    async with running_history(kafka, "t") as it:
        kafka.is_down = True
        await wait_until(lambda: it.instance.feed.stale_seconds() is not None)
        with pytest.raises(HistoryUnavailable, match="Kafka does not answer now"):
            await it.page()
        kafka.is_down = False
        await wait_until(lambda: it.instance.feed.stale_seconds() is None)
        assert offsets_by_partition([await it.page()]) == {0: [*range(50)]}


async def test_kafka_that_goes_away_under_a_page_is_waited_for_only_so_long(kafka):
    kafka.append("t", 0, envelopes(50))
    async with running_history(kafka, "t", wait=0.2) as it:
        kafka.leaderless.add(T)
        with pytest.raises(HistoryUnavailable, match="Kafka does not answer in time"):
            await it.page()


async def test_a_page_that_has_come_on_is_answered_when_kafka_goes_away(kafka):
    kafka.append("t", 0, envelopes(150))
    async with running_history(kafka, "t") as it:
        kafka.hold(BrokerConnection.HISTORY, free_fetches=1)
        asking = asyncio.create_task(it.page(limit=120))
        await kafka.wait_until_held()
        kafka.is_down = True
        await wait_until(lambda: it.instance.feed.stale_seconds() is not None)
        kafka.release()
        page = await asking
        assert (offsets_by_partition([page]), page.more) == ({0: [*range(100)]}, True)
        with pytest.raises(HistoryUnavailable):
            await it.page(page.cursor)


async def test_a_leader_on_the_move_is_waited_for(kafka):
    kafka.append("t", 0, envelopes(50))
    async with running_history(kafka, "t") as it:
        asking = await held(kafka, it)
        kafka.errors[T] = 6
        asked = len(kafka.fetched_offsets)
        kafka.release()
        await wait_until(lambda: len(kafka.fetched_offsets) > asked + 2)
        del kafka.errors[T]
        assert offsets_by_partition([await asking]) == {0: [*range(50)]}
