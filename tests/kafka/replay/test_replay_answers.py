"""What Kafka says while clients are caught up, and when: old, late, wrong, or nothing at all."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from bridge.kafka import partition_reader
from bridge.kafka.client.client import EARLIEST, LATEST, FetchedPartition, TopicPartition
from bridge.kafka.replay import scan
from bridge.kafka.replay.scheduler import MAX_TIME_LOOKUPS
from tests.kafka.controlled_kafka import ControlledKafka
from tests.kafka.headless_instance import envelope, envelopes, running_instance
from tests.kafka.held_replays import session_stages, wait_until
from tests.kafka.memory_kafka import NOW_MS

if TYPE_CHECKING:
    from tests.kafka.resuming_client import ResumingClient

T, U = TopicPartition("t", 0), TopicPartition("u", 0)
NOT_THE_LEADER = 6


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> ControlledKafka:
    """One whose flaws are tried again soon."""
    monkeypatch.setattr(scan, "RETRY_SECONDS", 0.02)
    return ControlledKafka()


async def test_one_who_comes_while_kafka_is_asked_is_not_judged_by_that_answer(kafka):
    """It may have been sent, by another instance, what is younger than the answer."""
    kafka.append("t", 0, envelopes(10))
    async with running_instance(kafka, "t") as it:
        kafka.held_timestamps = {LATEST}
        first = it.resume(it.cursor_at({0: 11}))
        await wait_until(lambda: kafka.pending_count)
        assert first.gaps() == []
        kafka.append("t", 0, [envelope(10)])
        await wait_until(lambda: it.hub.topic_positions["t"].next_offsets == {0: 11})
        # This instance is made to be behind again: what it reads next has not come.
        it.hub.topic_positions["t"].set_next_offset(0, 10)
        second = it.resume(it.cursor_at({0: 11}))
        await wait_until(lambda: session_stages(it.replayer, second.session) == ["unjudged"])
        it.hub.topic_positions["t"].set_next_offset(0, 11)
        kafka.held_timestamps = set()
        await second.wait_live()
        assert second.gaps() == []


async def test_a_topic_without_a_leader_keeps_only_its_own_clients_waiting(kafka):
    kafka.append("t", 0, envelopes(10))
    kafka.append("u", 0, envelopes(10))
    async with running_instance(kafka, "t", "u") as it:
        kafka.leaderless.add(U)
        waits = it.resume(it.cursor_at({0: 0}, {0: 0}))
        await wait_until(lambda: session_stages(it.replayer, waits.session) == ["unjudged"])
        other = it.resume(it.cursor_at({0: 0}), topics=["t"])
        await other.wait_live()
        assert other.offsets() == {0: [*range(10)]}
        kafka.leaderless.clear()
        await waits.wait_live()
        assert len(waits.frames_of("event")) == 20


async def test_a_partition_that_can_not_be_read_now_does_not_keep_others_from_being_read(kafka):
    kafka.append("t", 0, envelopes(10))
    kafka.append("u", 0, envelopes(1000))
    async with running_instance(kafka, "t", "u") as it:
        kafka.errors[T] = NOT_THE_LEADER
        both, other = (
            it.resume(it.cursor_at({0: 0}, {0: 0})),
            it.resume(it.cursor_at({}, {0: 0}), topics=["u"]),
        )
        await other.wait_live()
        assert len(other.frames_of("event")) == 1000
        assert kafka.max_concurrent_fetches == 1, "they share a pass"
        assert not both.is_live
        kafka.errors.clear()
        await both.wait_live()
        assert len(both.frames_of("event")) == 1010


async def test_many_questions_for_a_time_are_asked_a_few_at_a_time(kafka):
    """The feed asks on the same connection, and would have to wait for all of them."""
    kafka.append("t", 0, envelopes(10), NOW_MS)
    async with running_instance(kafka, "t") as it:
        kafka.held_timestamps = {LATEST}
        asked = [asyncio.create_task(it.connect_since(NOW_MS)) for _ in range(50)]
        await wait_until(lambda: kafka.pending_count == MAX_TIME_LOOKUPS)
        kafka.held_timestamps = set()
        for client in [await each for each in asked]:
            await client.wait_live()
            assert client.offsets() == {0: [*range(10)]}
        assert kafka.max_pending_count <= MAX_TIME_LOOKUPS + 1, "but for the replayer's own"


async def test_kafka_is_asked_calmly_where_it_gives_nothing(kafka):
    """As just after a leader's death, when the next does not know yet how much is committed."""
    kafka.append("t", 0, envelopes(200))
    async with running_instance(kafka, "t") as it:
        log = kafka.logs[T]
        batches, log.batches = log.batches, log.batches[:1]
        client = it.resume(it.cursor_at({0: 0}))
        await client.wait_until(lambda: len(client.frames_of("event")) == 100)
        began, turns = len(kafka.fetched_offsets), 0
        while len(kafka.fetched_offsets) < began + 3:
            await asyncio.sleep(0)
            turns += 1
        assert turns > 100, "the loop had hardly turned"
        log.batches = batches
        await client.wait_live()
        assert client.offsets() == {0: [*range(200)]}


async def test_a_new_life_of_a_topic_is_not_read_before_the_clients_were_told_of_it(kafka):
    """The feed hears of it a moment before it knows where to begin."""
    kafka.append("t", 0, envelopes(1000))
    async with running_instance(kafka, "t") as it:
        kafka.hold_fetches(lambda wanted: wanted[T] > 500)
        client = it.resume(it.cursor_at({0: 0}))
        await kafka.wait_until_held()
        seen = client.offsets()
        kafka.held_timestamps = {EARLIEST}
        kafka.delete("t")
        kafka.create("t")
        kafka.append("t", 0, envelopes(2000, start=10_000))
        it.feed.request_refresh()
        await wait_until(lambda: kafka.pending_count)
        kafka.release()
        for _ in range(1000):
            await asyncio.sleep(0)
        assert client.offsets() == seen
        kafka.held_timestamps = set()
        await client.wait_live()
        await client.wait_until(lambda: len(client.frames_of("event")) == len(seen[0]) + 2000)
        assert client.gaps() == [("t", "recreated")]
        assert client.offsets() == {0: [*seen[0], *range(2000)]}


async def test_an_answer_that_is_of_a_former_life_is_not_handed_to_the_clients_of_the_next(kafka):
    """It was on its way when the topic was created again, and those who wanted it have gone."""
    kafka.append("t", 0, envelopes(1000))
    kafka.append("u", 0, envelopes(1000))
    async with running_instance(kafka, "t", "u") as it:
        old, other = (
            it.resume(it.cursor_at({0: 0}), topics=["t"]),
            it.resume(it.cursor_at({}, {0: 0}), topics=["u"]),
        )
        new: list[ResumingClient] = []

        def meanwhile(answers: list[FetchedPartition]) -> list[FetchedPartition]:
            (journey,) = it.replayer._scans
            old.disconnect()
            it.hub.set_start_offsets("t", b"another.", {0: 500})
            new.append(it.resume(it.cursor_at({0: 10}), topics=["t"]))
            assert journey.accepts(new[0].session)
            journey.add(new[0].session)
            kafka.transform_response = lambda answers: answers
            return answers

        kafka.transform_response = meanwhile
        await other.wait_live()
        assert new[0].frames_of("event") == []


async def test_a_flaw_on_the_way_is_no_gap(kafka):
    kafka.append("t", 0, envelopes(300))
    flaws = 0

    def flawed(answers: list[FetchedPartition]) -> list[FetchedPartition]:
        nonlocal flaws
        flaws += 1
        return (
            [each._replace(data=each.data[:-1] + b"?") for each in answers]
            if flaws < 3
            else answers
        )

    async with running_instance(kafka, "t") as it:
        kafka.transform_response = flawed
        client = it.resume(it.cursor_at({0: 0}))
        await client.wait_live()
        assert client.gaps() == []
        assert client.offsets() == {0: [*range(300)]}


async def test_what_is_damaged_is_a_gap_and_nobody_waits_for_the_pass_that_met_it(
    kafka, monkeypatch
):
    """It goes on with another topic; what it gave up, it will not have for anybody."""
    monkeypatch.setattr(partition_reader, "MAX_ATTEMPTS", 1)
    kafka.append("t", 0, envelopes(1000))
    kafka.append("u", 0, envelopes(300))
    spoilt = kafka.corrupt("u", 0, 150)
    async with running_instance(kafka, "t", "u") as it:
        kafka.hold_fetches(lambda wanted: wanted.get(T, 0) > 500)
        other = it.resume(it.cursor_at({0: 0}), topics=["t"])
        for place in (0, 20):
            client = it.resume(it.cursor_at({}, {0: place}), topics=["u"])
            await client.wait_live()
            assert client.gaps() == [("u", "corrupt")]
            assert client.offsets() == {0: [*range(place, spoilt[0])]}
            assert client.ops() == ["welcome", "event", "gap", "live"]
        assert not other.is_live
        kafka.release()
        await other.wait_live()
        assert other.offsets() == {0: [*range(1000)]}


@pytest.mark.parametrize("place", [0, 5])
async def test_who_comes_back_to_a_topic_that_is_gone_is_told_and_goes_on(kafka, place):
    """Else it would be told to come back later for as long as the topic is gone."""
    kafka.append("t", 0, envelopes(10))
    async with running_instance(kafka, "t", "u", wait=1.0) as it:
        kafka.delete("t")
        client = it.resume(it.cursor_at({0: place}, {0: 0}))
        await client.wait_live()
        assert client.gaps() == [("t", "truncated")]
        kafka.append("u", 0, envelopes(1))
        await client.wait_until(lambda: client.frames_of("event"))
