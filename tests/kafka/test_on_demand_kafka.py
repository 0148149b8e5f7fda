"""Topics on demand: what is read while nobody is there, and what those get who come."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from bridge.app.status import feeds
from bridge.core.protocol.cursor import read_cursor
from bridge.core.replay.retention import Limits
from bridge.kafka import consumer as feeding
from bridge.kafka.client.client import Partition
from tests.kafka.library import Library, data, gaps
from tests.kafka.memory import MemoryCluster
from tests.kafka.pacing import until
from tests.kafka.returning import envelopes, running

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.kafka.client.client import Description
    from bridge.web.api.schemas import Topic
    from tests.kafka.replay_client import Client
    from tests.kafka.returning import Instance

LINGER = 0.1


class Forgetful(MemoryCluster):
    """One whose brokers have not heard of these topics the next time they are asked."""

    def __init__(self) -> None:
        super().__init__()
        self.forgotten: set[str] = set()

    async def describe(self, topics: Iterable[str]) -> dict[str, Description]:
        heard_of, self.forgotten = set(topics) - self.forgotten, set()
        return await super().describe(heard_of)


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> Forgetful:
    """A topic `t` of one partition that has five events; it is looked at often."""
    monkeypatch.setattr(feeding, "WATCH_SECONDS", 0.02)
    made = Forgetful()
    made.create("t")
    made.put("t", 0, envelopes(5))
    return made


async def asleep(it: Instance) -> None:
    await until(lambda: it.sleepers.asleep)


async def looked(kafka: MemoryCluster, times: int = 3) -> None:
    """Wait until the topics were looked at some more times."""
    enough = kafka.asked.count("describe") + times
    await until(lambda: kafka.asked.count("describe") >= enough)


def listed(it: Instance) -> list[Topic]:
    """The topic as `/v1/topics` lists it."""
    return [*feeds(it.feed, it.hub, {"t": "t"})]


async def left(it: Instance, client: Client) -> str:
    """Let `client` go, and wait until its topic is asleep; return its cursor."""
    cursor = client.cursor()
    client.vanish()
    await asleep(it)
    return cursor


# -- asleep, awake, asleep -------------------------------------------------------------------------


async def test_what_nobody_follows_is_not_read_and_keeps_nobody_waiting(kafka):
    async with running(kafka, "t", linger=LINGER) as it:
        await looked(kafka)
        assert "fetch feed" not in kafka.asked
        assert it.feed.partitions.readings == {}
        assert it.feed.lag() == {"t": 0}
        assert (it.feed.stale(), it.sleepers.awake_now()) == (None, {"t": False})
        assert [(each.state, each.partitions) for each in listed(it)] == [("asleep", [])]


async def test_who_follows_it_gets_what_happens_from_the_welcome_on(kafka):
    async with running(kafka, "t", linger=LINGER) as it:
        client = await it.wake()
        kafka.put("t", 0, envelopes(1))
        (welcome,) = client.said("welcome")
        assert read_cursor(welcome["cursor"])["t"].offsets == {0: 5}
        await client.until(lambda: client.offsets() == {0: [5]})
        assert it.sleepers.awake_now() == {"t": True}
        assert [(each.state, each.subscribers) for each in listed(it)] == [("reading", 1)]


async def test_it_goes_to_sleep_with_the_last_who_follows_it_and_no_sooner(kafka):
    async with running(kafka, "t", linger=LINGER) as it:
        first, second = await it.wake(), await it.wake()
        first.vanish()
        await asyncio.sleep(3 * LINGER)
        kafka.put("t", 0, envelopes(1))
        await second.until(lambda: second.offsets() == {0: [5]})
        second.vanish()
        await asleep(it)
        before = kafka.asked.count("fetch feed")
        kafka.put("t", 0, envelopes(3))
        await looked(kafka, 20)
        assert kafka.asked.count("fetch feed") == before
        assert it.hub.tally.read == 1
        assert it.hub.logs["t"].next == {}


async def test_who_comes_back_over_the_sleep_gets_what_it_has_missed_once(kafka):
    async with running(kafka, "t", linger=LINGER) as it:
        client = await it.wake()
        kafka.put("t", 0, envelopes(2))
        await client.until(lambda: client.offsets() == {0: [5, 6]})
        cursor = await left(it, client)
        kafka.put("t", 0, envelopes(250))
        back = await it.wake(cursor)
        assert (await back.live())["replayed"] == 250
        kafka.put("t", 0, envelopes(1))
        await back.until(lambda: back.offsets() == {0: [*range(7, 258)]})
        assert back.gaps() == []


async def test_a_fetch_that_is_on_its_way_when_it_goes_to_sleep_is_dropped(kafka):
    async with running(kafka, "t", linger=0) as it:
        client = await it.wake()
        count = kafka.asked.count("fetch feed")
        await until(lambda: kafka.asked.count("fetch feed") > count)
        await left(it, client)
        kafka.put("t", 0, envelopes(1))
        await until(lambda: all(task.done() for task in it.feed._readers.values()))
        assert it.hub.tally.read == 0


async def test_both_names_of_a_topic_wake_and_sleep_together(kafka):
    async with running(kafka, "a", "b", of="t", linger=LINGER) as it:
        client = await it.wake()
        it.hub.unfollow(client.session, ["a"], ())
        await asyncio.sleep(3 * LINGER)
        assert it.sleepers.awake_now() == {"a": True, "b": True}
        it.hub.unfollow(client.session, ["b"], ())
        await asleep(it)
        assert it.sleepers.awake_now() == {"a": False, "b": False}


# -- what may be in the way ------------------------------------------------------------------------


async def test_it_wakes_as_a_whole_or_not_at_all(kafka):
    """A partition that were begun later could have had events since the welcome."""
    kafka.create("t", 2)
    kafka.leaderless.add(Partition("t", 1))
    async with running(kafka, "t", linger=LINGER) as it:
        coming = asyncio.create_task(it.wake())
        await looked(kafka)
        assert not coming.done()
        assert it.hub.logs["t"].next == {}
        kafka.put("t", 0, envelopes(1))
        kafka.put("t", 1, envelopes(2))
        kafka.leaderless.clear()
        client = await coming
        assert it.hub.logs["t"].next == {0: 1, 1: 2}
        kafka.put("t", 1, envelopes(1))
        await client.until(lambda: client.offsets() == {1: [2]})


async def test_where_kafka_does_not_answer_nobody_waits_for_ever(kafka):
    async with running(kafka, "t", linger=LINGER, wait=0.2) as it:
        kafka.down = True
        client = it._admit("ann", None, held=False)
        assert not await it.sleepers.awake(client.session.topics)
        kafka.down = False
        assert await it.sleepers.awake(client.session.topics), "it was still waited for"


async def test_a_broker_that_has_not_heard_of_it_for_a_moment_does_not_make_it_new(
    kafka, monkeypatch
):
    async with running(kafka, "t", linger=LINGER) as it:
        await looked(kafka)
        monkeypatch.setattr(feeding, "WATCH_SECONDS", 5)
        await looked(kafka, 1)  # from now on only those that are called for
        kafka.forgotten = {"t"}
        coming = asyncio.create_task(it.wake())
        await until(lambda: not kafka.forgotten)
        it.feed.look()
        client = await coming
        kafka.put("t", 0, envelopes(1))
        await client.until(lambda: client.offsets() == {0: [5]})


# -- what may have happened meanwhile --------------------------------------------------------------


async def test_one_that_does_not_exist_yet_is_read_from_its_beginning_once_it_does(kafka):
    kafka.delete("t")
    async with running(kafka, "t", linger=LINGER) as it:
        client = await it.wake()
        assert [(each.state, each.subscribers) for each in listed(it)] == [("absent", 1)]
        kafka.create("t")
        kafka.put("t", 0, envelopes(2))
        await client.until(lambda: client.offsets() == {0: [0, 1]})
        assert client.gaps() == []


async def test_one_that_was_created_again_while_it_slept_is_told_to_who_comes_back(kafka):
    async with running(kafka, "t", linger=LINGER) as it:
        client = await it.wake()
        cursor = await left(it, client)
        kafka.create("t")
        kafka.put("t", 0, envelopes(2))
        await looked(kafka)
        assert [each.state for each in listed(it)] == ["asleep"]
        back = await it.wake(cursor)
        await back.live()
        assert back.gaps() == [("t", "recreated")]
        assert back.offsets() == {0: [0, 1]}
        assert it.hub.tally.gaps["recreated"] == 0, "nobody who was there has seen it"


async def test_partitions_that_were_added_while_it_slept_are_replayed_to_who_comes_back(kafka):
    async with running(kafka, "t", linger=LINGER) as it:
        client = await it.wake()
        cursor = await left(it, client)
        kafka.logs[Partition("t", 1)] = type(kafka.logs[Partition("t", 0)])()
        kafka.put("t", 1, envelopes(3))
        new, back = await it.wake(), await it.wake(cursor)
        await back.live()
        assert back.offsets() == {1: [0, 1, 2]}
        kafka.put("t", 1, envelopes(1))
        await new.until(lambda: new.offsets() == {1: [3]})
        await back.until(lambda: back.offsets() == {1: [0, 1, 2, 3]})


async def test_partitions_that_are_added_while_it_is_awake_are_read_from_their_beginning(kafka):
    async with running(kafka, "t", linger=LINGER) as it:
        client = await it.wake()
        kafka.logs[Partition("t", 1)] = type(kafka.logs[Partition("t", 0)])()
        kafka.put("t", 1, envelopes(3))
        await client.until(lambda: client.offsets() == {1: [0, 1, 2]})


# -- looking back ----------------------------------------------------------------------------------


async def test_its_past_is_told_while_it_sleeps_and_that_wakes_nobody(kafka):
    async with running(kafka, "t", linger=LINGER) as it:
        library = Library(it)
        began = asyncio.get_running_loop().time()
        first = await library.page(limit=2)
        assert asyncio.get_running_loop().time() - began < 0.4, "nothing has to be left to the feed"
        rest = await library.pages(first.cursor)
        assert len(data([first, *rest])) == 5
        assert it.sleepers.asleep == {"t"}
        kafka.put("t", 0, envelopes(1))
        assert (await it.wake(rest[-1].cursor)).gaps() == []


async def test_the_past_of_one_that_was_created_again_while_it_slept_is_told(kafka):
    async with running(kafka, "t", linger=LINGER) as it:
        library = Library(it, limits=Limits(1000, 1 << 20), wait=5)
        first = await library.page(limit=2)
        kafka.create("t")
        kafka.put("t", 0, envelopes(1))
        turned = await library.pages(first.cursor)
        assert (gaps(turned), len(data(turned))) == ([("t", "recreated")], 1)
