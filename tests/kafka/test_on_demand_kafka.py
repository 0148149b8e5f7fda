"""Topics on demand: what is read while nobody is there, and what those get who come."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from bridge.app.status import topic_statuses
from bridge.core.protocol.cursor import decode_cursor
from bridge.core.replay.retention import ReplayLimits
from bridge.kafka import consumer as feeding
from bridge.kafka.client.client import TopicPartition
from tests.kafka.headless_instance import envelopes, running_instance
from tests.kafka.held_replays import wait_until
from tests.kafka.history_instance import HistoryInstance, data, gaps
from tests.kafka.memory_kafka import MemoryKafkaClient

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.kafka.client.client import TopicDescription
    from bridge.web.api.schemas import Topic
    from tests.kafka.headless_instance import HeadlessInstance
    from tests.kafka.resuming_client import ResumingClient

LINGER = 0.1


class Forgetful(MemoryKafkaClient):
    """One whose brokers have not heard of these topics the next time they are asked."""

    def __init__(self) -> None:
        super().__init__()
        self.forgotten: set[str] = set()

    async def describe_topics(self, topics: Iterable[str]) -> dict[str, TopicDescription]:
        heard_of, self.forgotten = set(topics) - self.forgotten, set()
        return await super().describe_topics(heard_of)


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> Forgetful:
    """A topic `t` of one partition that has five events; it is looked at often."""
    monkeypatch.setattr(feeding, "METADATA_REFRESH_SECONDS", 0.02)
    made = Forgetful()
    made.create("t")
    made.append("t", 0, envelopes(5))
    return made


async def asleep(it: HeadlessInstance) -> None:
    await wait_until(lambda: it.sleepers.idle_topics)


async def looked(kafka: MemoryKafkaClient, times: int = 3) -> None:
    """Wait until the topics were looked at some more times."""
    enough = kafka.requests.count("describe") + times
    await wait_until(lambda: kafka.requests.count("describe") >= enough)


def listed(it: HeadlessInstance) -> list[Topic]:
    """The topic as `/v1/topics` lists it."""
    return [*topic_statuses(it.feed, it.hub, {"t": "t"})]


async def left(it: HeadlessInstance, client: ResumingClient) -> str:
    """Let `client` go, and wait until its topic is asleep; return its cursor."""
    cursor = client.cursor()
    client.disconnect()
    await asleep(it)
    return cursor


# -- asleep, awake, asleep -------------------------------------------------------------------------


async def test_what_nobody_follows_is_not_read_and_keeps_nobody_waiting(kafka):
    async with running_instance(kafka, "t", linger=LINGER) as it:
        await looked(kafka)
        assert "fetch consumer" not in kafka.requests
        assert it.feed.partitions.states == {}
        assert it.feed.lag() == {"t": 0}
        assert (it.feed.stale_seconds(), it.sleepers.activity()) == (None, {"t": False})
        assert [(each.state, each.partitions) for each in listed(it)] == [("asleep", [])]


async def test_who_follows_it_gets_what_happens_from_the_welcome_on(kafka):
    async with running_instance(kafka, "t", linger=LINGER) as it:
        client = await it.connect_when_active()
        kafka.append("t", 0, envelopes(1))
        (welcome,) = client.frames_of("welcome")
        assert decode_cursor(welcome["cursor"])["t"].offsets == {0: 5}
        await client.wait_until(lambda: client.offsets() == {0: [5]})
        assert it.sleepers.activity() == {"t": True}
        assert [(each.state, each.subscribers) for each in listed(it)] == [("reading", 1)]


async def test_it_goes_to_sleep_with_the_last_who_follows_it_and_no_sooner(kafka):
    async with running_instance(kafka, "t", linger=LINGER) as it:
        first, second = await it.connect_when_active(), await it.connect_when_active()
        first.disconnect()
        await asyncio.sleep(3 * LINGER)
        kafka.append("t", 0, envelopes(1))
        await second.wait_until(lambda: second.offsets() == {0: [5]})
        second.disconnect()
        await asleep(it)
        before = kafka.requests.count("fetch consumer")
        kafka.append("t", 0, envelopes(3))
        await looked(kafka, 20)
        assert kafka.requests.count("fetch consumer") == before
        assert it.hub.counters.records_read == 1
        assert it.hub.topic_positions["t"].next_offsets == {}


async def test_who_comes_back_over_the_sleep_gets_what_it_has_missed_once(kafka):
    async with running_instance(kafka, "t", linger=LINGER) as it:
        client = await it.connect_when_active()
        kafka.append("t", 0, envelopes(2))
        await client.wait_until(lambda: client.offsets() == {0: [5, 6]})
        cursor = await left(it, client)
        kafka.append("t", 0, envelopes(250))
        back = await it.connect_when_active(cursor)
        assert (await back.wait_live())["replayed"] == 250
        kafka.append("t", 0, envelopes(1))
        await back.wait_until(lambda: back.offsets() == {0: [*range(7, 258)]})
        assert back.gaps() == []


async def test_a_fetch_that_is_on_its_way_when_it_goes_to_sleep_is_dropped(kafka):
    async with running_instance(kafka, "t", linger=0) as it:
        client = await it.connect_when_active()
        count = kafka.requests.count("fetch consumer")
        await wait_until(lambda: kafka.requests.count("fetch consumer") > count)
        await left(it, client)
        kafka.append("t", 0, envelopes(1))
        await wait_until(lambda: all(task.done() for task in it.feed._fetch_tasks.values()))
        assert it.hub.counters.records_read == 0


# -- what may be in the way ------------------------------------------------------------------------


async def test_it_wakes_as_a_whole_or_not_at_all(kafka):
    """A partition that were begun later could have had events since the welcome."""
    kafka.create("t", 2)
    kafka.leaderless.add(TopicPartition("t", 1))
    async with running_instance(kafka, "t", linger=LINGER) as it:
        coming = asyncio.create_task(it.connect_when_active())
        await looked(kafka)
        assert not coming.done()
        assert it.hub.topic_positions["t"].next_offsets == {}
        kafka.append("t", 0, envelopes(1))
        kafka.append("t", 1, envelopes(2))
        kafka.leaderless.clear()
        client = await coming
        assert it.hub.topic_positions["t"].next_offsets == {0: 1, 1: 2}
        kafka.append("t", 1, envelopes(1))
        await client.wait_until(lambda: client.offsets() == {1: [2]})


async def test_where_kafka_does_not_answer_nobody_waits_for_ever(kafka):
    async with running_instance(kafka, "t", linger=LINGER, wait=0.2) as it:
        kafka.is_down = True
        client = it._admit("ann", None, is_held=False)
        assert not await it.sleepers.wait_until_active(client.session.topics)
        kafka.is_down = False
        assert await it.sleepers.wait_until_active(client.session.topics), "it was still waited for"


async def test_a_broker_that_has_not_heard_of_it_for_a_moment_does_not_make_it_new(
    kafka, monkeypatch
):
    async with running_instance(kafka, "t", linger=LINGER) as it:
        await looked(kafka)
        monkeypatch.setattr(feeding, "METADATA_REFRESH_SECONDS", 5)
        await looked(kafka, 1)  # from now on only those that are called for
        kafka.forgotten = {"t"}
        coming = asyncio.create_task(it.connect_when_active())
        await wait_until(lambda: not kafka.forgotten)
        it.feed.request_refresh()
        client = await coming
        kafka.append("t", 0, envelopes(1))
        await client.wait_until(lambda: client.offsets() == {0: [5]})


# -- what may have happened meanwhile --------------------------------------------------------------


async def test_one_that_does_not_exist_yet_is_read_from_its_beginning_once_it_does(kafka):
    kafka.delete("t")
    async with running_instance(kafka, "t", linger=LINGER) as it:
        client = await it.connect_when_active()
        assert [(each.state, each.subscribers) for each in listed(it)] == [("absent", 1)]
        kafka.create("t")
        kafka.append("t", 0, envelopes(2))
        await client.wait_until(lambda: client.offsets() == {0: [0, 1]})
        assert client.gaps() == []


async def test_one_that_was_created_again_while_it_slept_is_told_to_who_comes_back(kafka):
    async with running_instance(kafka, "t", linger=LINGER) as it:
        client = await it.connect_when_active()
        cursor = await left(it, client)
        kafka.create("t")
        kafka.append("t", 0, envelopes(2))
        await looked(kafka)
        assert [each.state for each in listed(it)] == ["asleep"]
        back = await it.connect_when_active(cursor)
        await back.wait_live()
        assert back.gaps() == [("t", "recreated")]
        assert back.offsets() == {0: [0, 1]}
        assert it.hub.counters.gaps_by_reason["recreated"] == 0, "nobody who was there has seen it"


async def test_partitions_that_were_added_while_it_slept_are_replayed_to_who_comes_back(kafka):
    async with running_instance(kafka, "t", linger=LINGER) as it:
        client = await it.connect_when_active()
        cursor = await left(it, client)
        kafka.logs[TopicPartition("t", 1)] = type(kafka.logs[TopicPartition("t", 0)])()
        kafka.append("t", 1, envelopes(3))
        new, back = await it.connect_when_active(), await it.connect_when_active(cursor)
        await back.wait_live()
        assert back.offsets() == {1: [0, 1, 2]}
        kafka.append("t", 1, envelopes(1))
        await new.wait_until(lambda: new.offsets() == {1: [3]})
        await back.wait_until(lambda: back.offsets() == {1: [0, 1, 2, 3]})


async def test_partitions_that_are_added_while_it_is_awake_are_read_from_their_beginning(kafka):
    async with running_instance(kafka, "t", linger=LINGER) as it:
        client = await it.connect_when_active()
        kafka.logs[TopicPartition("t", 1)] = type(kafka.logs[TopicPartition("t", 0)])()
        kafka.append("t", 1, envelopes(3))
        await client.wait_until(lambda: client.offsets() == {1: [0, 1, 2]})


# -- looking back ----------------------------------------------------------------------------------


async def test_its_past_is_told_while_it_sleeps_and_that_wakes_nobody(kafka):
    async with running_instance(kafka, "t", linger=LINGER) as it:
        library = HistoryInstance(it)
        first = await library.page(limit=2)
        rest = await library.pages(first.cursor)
        assert len(data([first, *rest])) == 5
        assert it.sleepers.idle_topics == {"t"}
        kafka.append("t", 0, envelopes(1))
        assert (await it.connect_when_active(rest[-1].cursor)).gaps() == []


async def test_the_past_of_one_that_was_created_again_while_it_slept_is_told(kafka):
    async with running_instance(kafka, "t", linger=LINGER) as it:
        library = HistoryInstance(it, limits=ReplayLimits(1000, 1 << 20), wait=5)
        first = await library.page(limit=2)
        kafka.create("t")
        kafka.append("t", 0, envelopes(1))
        turned = await library.pages(first.cursor)
        assert (gaps(turned), len(data(turned))) == ([("t", "recreated")], 1)
