"""What can not be had of the past: told before the page that lacks it, or refused for now."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from bridge.core.protocol.cursor import read_cursor
from bridge.core.replay.history import NotNow
from bridge.kafka.client.client import Lane, Partition
from bridge.kafka.replay import history
from tests.core.given import offsets
from tests.kafka.library import Held, data, gaps, library, places
from tests.kafka.memory import NOW, MemoryCluster
from tests.kafka.pacing import until
from tests.kafka.returning import envelope, envelopes

if TYPE_CHECKING:
    from tests.harness.pages import Turned
    from tests.kafka.library import Library

T = Partition("t", 0)
DAY = 86_400


class Kafka(Held, MemoryCluster):
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
        return NOW / 1000


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> Kafka:
    """It is asked again without a pause, for a batch at a time."""
    monkeypatch.setattr(history, "_PAUSE", 0.001)
    monkeypatch.setattr(history, "FETCH_BYTES", 1)
    return Kafka()


async def held(kafka: Kafka, it: Library, cursor: str | None = None) -> asyncio.Task[Turned]:
    """Return a page that was begun, and that waits for its first record."""
    kafka.hold(Lane.HISTORY)
    asking = asyncio.create_task(it.page(cursor))
    await kafka.until_held()
    return asking


# -- gaps ------------------------------------------------------------------------------------------


async def test_what_has_expired_is_told_to_who_has_a_cursor_there(kafka):
    kafka.put("t", 0, envelopes(50))
    kafka.expire(20)
    async with library(kafka, "t") as it:
        page = await it.page()
        assert (places([page]), gaps([page])) == ({0: [*range(20, 50)]}, [])
        page = await it.page(it.at({0: 7}))
        assert (places([page]), gaps([page])) == ({0: [*range(20, 50)]}, [("t", "expired")])
        assert offsets(read_cursor(page.gaps[0]["cursor"])) == {"t": {0: 20}}


async def test_what_expires_while_it_is_asked_for_is_told_likewise(kafka):
    kafka.put("t", 0, envelopes(50))
    async with library(kafka, "t") as it:
        for cursor, told in (None, []), (it.at({0: 7}), [("t", "expired")]):
            kafka.expire(0)
            asking = await held(kafka, it, cursor)
            kafka.expire(20)
            kafka.let_go()
            page = await asking
            assert (places([page]), gaps([page])) == ({0: [*range(20, 50)]}, told)


async def test_what_expires_before_a_page_that_has_come_on_is_told_by_the_next(kafka):
    kafka.put("t", 0, envelopes(150))
    async with library(kafka, "t") as it:
        kafka.hold(Lane.HISTORY, after=1)
        asking = asyncio.create_task(it.page(limit=120))
        await kafka.until_held()
        kafka.expire(120)
        kafka.let_go()
        page = await asking
        assert (places([page]), page.more, page.gaps) == ({0: [*range(100)]}, True, [])
        rest = await it.page(page.cursor)
        assert (places([rest]), gaps([rest])) == ({0: [*range(120, 150)]}, [("t", "expired")])


async def test_what_is_too_old_is_told_to_who_has_a_cursor_there(kafka):
    kafka.put("t", 0, envelopes(50), time=NOW - 2 * DAY * 1000)
    kafka.put("t", 0, envelopes(50, 50))
    async with library(kafka, "t", age=DAY, wall=kafka.now) as it:
        page = await it.page()
        assert (places([page]), gaps([page])) == ({0: [*range(50, 100)]}, [])
        page = await it.page(it.at({0: 7}))
        assert (places([page]), gaps([page])) == ({0: [*range(50, 100)]}, [("t", "limit")])


async def test_who_pages_on_from_the_edge_of_what_is_told_does_not_fall_off_it(kafka):
    """Its events grow too old between two pages; for some minutes that does not matter."""
    for n in range(10):
        kafka.put("t", 0, [envelope(n)], time=NOW + n * 1000)
    later = 0.0
    async with library(kafka, "t", age=DAY, wall=lambda: kafka.now() + later) as it:
        later = DAY + 0.5
        first = await it.page(limit=4)
        assert places([first]) == {0: [1, 2, 3, 4]}
        later += history.GRACE_SECONDS
        rest = await it.page(first.cursor)
        assert (places([rest]), gaps([rest])) == ({0: [5, 6, 7, 8, 9]}, [])
        later += 6
        rest = await it.page(first.cursor)
        assert (places([rest]), gaps([rest])) == ({0: [7, 8, 9]}, [("t", "limit")])


async def test_a_cursor_beyond_the_end_goes_on_from_the_end(kafka):
    kafka.put("t", 0, envelopes(50))
    async with library(kafka, "t") as it:
        page = await it.page(it.at({0: 51}))
        assert (page.events, page.more, gaps([page])) == ([], False, [("t", "truncated")])
        assert offsets(read_cursor(page.cursor)) == {"t": {0: 50}}


async def test_a_cursor_ahead_of_this_instance_is_no_gap(kafka):
    kafka.put("t", 0, envelopes(50))
    async with library(kafka, "t") as it:
        kafka.hold(Lane.FEED)
        await kafka.until_held(Lane.FEED)
        kafka.put("t", 0, envelopes(50, 50))
        page = await it.page(it.at({0: 100}))
        assert (page.events, page.more, page.gaps) == ([], False, [])


async def test_a_topic_that_was_created_again_is_told_from_its_beginning(kafka):
    kafka.put("t", 0, envelopes(50))
    async with library(kafka, "t") as it:
        before = it.at({0: 7})
        kafka.delete("t")
        kafka.create("t", 2)
        kafka.put("t", 1, envelopes(5))
        page = await it.page(before)
        assert (places([page]), gaps([page])) == ({1: [*range(5)]}, [("t", "recreated")])
        assert (await it.page(page.cursor)).gaps == []


@pytest.mark.parametrize("has_cursor", [False, True])
async def test_a_topic_that_is_created_again_under_a_page_is_told_anew(kafka, has_cursor):
    kafka.put("t", 0, envelopes(50))
    async with library(kafka, "t") as it:
        life = it.hub.logs["t"].identity
        asking = await held(kafka, it, it.at({0: 7}) if has_cursor else None)
        kafka.delete("t")
        kafka.create("t")
        kafka.put("t", 0, envelopes(5, 1000))
        await until(lambda: it.hub.logs["t"].identity != life)
        kafka.let_go()
        page = await asking
        assert data([page]) == [str(n) for n in range(1000, 1005)]
        assert gaps([page]) == ([("t", "recreated")] if has_cursor else [])


async def test_a_topic_that_does_not_exist_has_no_past_until_it_does(kafka):
    async with library(kafka, "later", "t") as it:
        page = await it.page()
        assert (page.events, page.more, page.gaps) == ([], False, [])
        kafka.create("later")
        kafka.put("later", 0, envelopes(5))
        page = await it.page(page.cursor)
        assert (places([page]), page.gaps) == ({0: [*range(5)]}, [])


# -- damage ----------------------------------------------------------------------------------------


async def test_what_is_damaged_stands_before_a_page_never_within_it(kafka):
    kafka.put("t", 0, envelopes(500))
    lost = kafka.spoil("t", 0, 250)
    async with library(kafka, "t") as it:
        first = await it.page(limit=1000)
        assert (places([first]), first.more, first.gaps) == ({0: [*range(lost.start)]}, True, [])
        second = await it.page(first.cursor, limit=1000)
        assert gaps([second]) == [("t", "corrupt")]
        assert offsets(read_cursor(second.gaps[0]["cursor"])) == {"t": {0: lost.stop}}
        assert (places([second]), second.more) == ({0: [*range(lost.stop, 500)]}, False)


async def test_a_stretch_of_damage_is_passed_as_one(kafka):
    kafka.put("t", 0, envelopes(500))
    for offset in 0, 100, 200:
        kafka.spoil("t", 0, offset)
    async with library(kafka, "t") as it:
        page = await it.page(limit=1000)
        assert (places([page]), gaps([page])) == ({0: [*range(300, 500)]}, [("t", "corrupt")])


async def test_what_the_broker_calls_corrupt_is_passed_up_to_the_journal(kafka):
    kafka.put("t", 0, envelopes(50))
    async with library(kafka, "t") as it:
        kafka.put("t", 0, envelopes(10, 50))
        await it.read_up()
        kafka.errors[T] = 2
        page = await it.page()
        assert (places([page]), gaps([page])) == ({0: [*range(50, 60)]}, [("t", "corrupt")])


async def test_damage_to_one_partition_keeps_nothing_of_the_others_back(kafka):
    for n in range(3):
        kafka.put("u", n, envelopes(300), time=NOW + n)
    lost = kafka.spoil("u", 1, 150)
    async with library(kafka, "u") as it:
        turned = await it.pages(limit=1000)
        assert places(turned) == {
            0: [*range(300)],
            1: [n for n in range(300) if n not in lost],
            2: [*range(300)],
        }
        assert gaps(turned) == [("u", "corrupt")]


async def test_a_flaw_on_the_way_is_no_damage(kafka):
    kafka.put("t", 0, envelopes(50))
    async with library(kafka, "t") as it:
        sound = kafka.logs[T].batches[0]
        asking = await held(kafka, it)
        kafka.spoil("t", 0, 0)
        kafka.hold(Lane.HISTORY, after=1)
        await kafka.until_held()
        kafka.logs[T].batches[0] = sound
        kafka.let_go()
        page = await asking
        assert (places([page]), page.gaps) == ({0: [*range(50)]}, [])


# -- not now ---------------------------------------------------------------------------------------


async def test_while_kafka_is_away_nobody_is_kept_waiting(kafka):
    kafka.put("t", 0, envelopes(50))
    async with library(kafka, "t") as it:
        kafka.down = True
        await until(lambda: it.instance.feed.stale() is not None)
        with pytest.raises(NotNow, match="Kafka does not answer now"):
            await it.page()
        kafka.down = False
        await until(lambda: it.instance.feed.stale() is None)
        assert places([await it.page()]) == {0: [*range(50)]}


async def test_kafka_that_goes_away_under_a_page_is_waited_for_only_so_long(kafka):
    kafka.put("t", 0, envelopes(50))
    async with library(kafka, "t", wait=0.2) as it:
        kafka.leaderless.add(T)
        with pytest.raises(NotNow, match="Kafka does not answer in time"):
            await it.page()


async def test_a_page_that_has_come_on_is_answered_when_kafka_goes_away(kafka):
    kafka.put("t", 0, envelopes(150))
    async with library(kafka, "t") as it:
        kafka.hold(Lane.HISTORY, after=1)
        asking = asyncio.create_task(it.page(limit=120))
        await kafka.until_held()
        kafka.down = True
        await until(lambda: it.instance.feed.stale() is not None)
        kafka.let_go()
        page = await asking
        assert (places([page]), page.more) == ({0: [*range(100)]}, True)
        with pytest.raises(NotNow):
            await it.page(page.cursor)


async def test_a_leader_on_the_move_is_waited_for(kafka):
    kafka.put("t", 0, envelopes(50))
    async with library(kafka, "t") as it:
        asking = await held(kafka, it)
        kafka.errors[T] = 6
        asked = len(kafka.fetched)
        kafka.let_go()
        await until(lambda: len(kafka.fetched) > asked + 2)
        del kafka.errors[T]
        assert places([await asking]) == {0: [*range(50)]}
