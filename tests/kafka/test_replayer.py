"""What may go wrong while sessions are caught up: nobody is forgotten, and nobody else suffers."""

from __future__ import annotations

import asyncio

import pytest

from bridge.core.catchup import CatchUp
from bridge.kafka.cluster import EARLIEST, LATEST
from bridge.kafka.court import QUESTIONS
from tests.kafka.kafka_double import NOT_THE_LEADER, Kafka, T, U
from tests.kafka.memory import NOW
from tests.kafka.returning import places, running
from tests.kafka.written import envelope, envelopes, until


@pytest.fixture
def kafka() -> Kafka:
    return Kafka()


# -- sessions that go ---------------------------------------------------------------------------


@pytest.mark.parametrize("phase", ["turn", "unjudged", "waiting", "pass", "reading"])
@pytest.mark.parametrize("how", ["vanishes", "is hung up on"])
async def test_who_goes_in_the_middle_leaves_nothing_behind(kafka, phase, how):
    kafka.put("t", 0, envelopes(1000, size=1000))
    async with running(kafka, "t", passes=1) as it:
        kafka.hold()
        first = it.resume(it.at({0: 500}), "bob")
        await kafka.until_held()
        if phase == "unjudged":
            kafka.holding = {LATEST}
        client = it.resume(it.at({0: 0 if phase == "waiting" else 600}), held=True)
        if phase == "reading":
            await until(lambda: places(it.replayer, client.session) == ["pass"])
            kafka.let_go()
        await until(lambda: places(it.replayer, client.session) == [phase])
        if how == "vanishes":
            client.vanish()
        else:
            it._overloaded(client.session)
        kafka.let_go()
        kafka.holding = set()
        await first.live()
        await until(lambda: places(it.replayer, client.session) == [])
        await until(lambda: client.session not in it.replayer._deadlines)
        assert client.session.replay is None
        assert it.replaying() == 0
        assert not it.hub.replaying


# -- what Kafka says, and when ------------------------------------------------------------------


async def test_one_who_comes_while_kafka_is_asked_is_not_judged_by_that_answer(kafka):
    """It may have been sent, by another instance, what is younger than the answer."""
    kafka.put("t", 0, envelopes(10))
    async with running(kafka, "t") as it:
        kafka.holding = {LATEST}
        first = it.resume(it.at({0: 11}))
        await until(lambda: kafka.asking)
        assert first.gaps() == []
        kafka.put("t", 0, [envelope(10)])
        await until(lambda: it.hub.logs["t"].next == {0: 11})
        # This instance is made to be behind again: what it reads next has not come.
        it.hub.logs["t"].move(0, 10)
        second = it.resume(it.at({0: 11}))
        await until(lambda: places(it.replayer, second.session) == ["unjudged"])
        it.hub.logs["t"].move(0, 11)
        kafka.holding = set()
        await second.live()
        assert second.gaps() == []


async def test_a_topic_without_a_leader_keeps_only_its_own_clients_waiting(kafka):
    kafka.put("t", 0, envelopes(10))
    kafka.put("u", 0, envelopes(10))
    async with running(kafka, "t", "u") as it:
        kafka.leaderless.add(U)
        waits = it.resume(it.at({0: 0}, {0: 0}))
        await until(lambda: places(it.replayer, waits.session) == ["unjudged"])
        other = it.resume(it.at({0: 0}), topics=["t"])
        await other.live()
        assert other.offsets() == {0: [*range(10)]}
        kafka.leaderless.clear()
        await waits.live()
        assert len(waits.said("event")) == 20


async def test_a_partition_that_can_not_be_read_now_does_not_keep_others_from_being_read(kafka):
    kafka.put("t", 0, envelopes(10))
    kafka.put("u", 0, envelopes(1000))
    async with running(kafka, "t", "u") as it:
        kafka.errors[T] = NOT_THE_LEADER
        both, other = it.resume(it.at({0: 0}, {0: 0})), it.resume(it.at({}, {0: 0}), topics=["u"])
        await other.live()
        assert len(other.said("event")) == 1000
        assert kafka.at_a_time == 1, "they share a pass"
        assert not both.is_live
        kafka.errors.clear()
        await both.live()
        assert len(both.said("event")) == 1010


async def test_many_questions_for_a_time_are_asked_a_few_at_a_time(kafka):
    """The feed asks on the same connection, and would have to wait for all of them."""
    kafka.put("t", 0, envelopes(10), NOW)
    async with running(kafka, "t") as it:
        kafka.holding = {LATEST}
        asked = [asyncio.create_task(it.since(NOW)) for _ in range(50)]
        await until(lambda: kafka.asking == QUESTIONS)
        kafka.holding = set()
        for client in [await each for each in asked]:
            await client.live()
            assert client.offsets() == {0: [*range(10)]}
        assert kafka.asking_most <= QUESTIONS + 1, "but for the replayer's own"


async def test_kafka_is_asked_calmly_where_it_gives_nothing(kafka):
    """As just after a leader's death, when the next does not know yet how much is committed."""
    kafka.put("t", 0, envelopes(200))
    async with running(kafka, "t") as it:
        log = kafka.logs[T]
        batches, log.batches = log.batches, log.batches[:1]
        client = it.resume(it.at({0: 0}))
        await client.until(lambda: len(client.said("event")) == 100)
        began, turns = len(kafka.fetched), 0
        while len(kafka.fetched) < began + 3:
            await asyncio.sleep(0)
            turns += 1
        assert turns > 100, "the loop had hardly turned"
        log.batches = batches
        await client.live()
        assert client.offsets() == {0: [*range(200)]}


async def test_a_new_life_of_a_topic_is_not_read_before_the_clients_were_told_of_it(kafka):
    """The feed hears of it a moment before it knows where to begin."""
    kafka.put("t", 0, envelopes(1000))
    async with running(kafka, "t") as it:
        kafka.hold(lambda wanted: wanted[T] > 500)
        client = it.resume(it.at({0: 0}))
        await kafka.until_held()
        seen = client.offsets()
        kafka.holding = {EARLIEST}
        kafka.delete("t")
        kafka.create("t")
        kafka.put("t", 0, envelopes(2000, start=10_000))
        it.feed.look()
        await until(lambda: kafka.asking)
        kafka.let_go()
        for _ in range(1000):
            await asyncio.sleep(0)
        assert client.offsets() == seen
        kafka.holding = set()
        await client.live()
        await client.until(lambda: len(client.said("event")) == len(seen[0]) + 2000)
        assert client.gaps() == [("t", "recreated")]
        assert client.offsets() == {0: [*seen[0], *range(2000)]}


# -- deadlines ----------------------------------------------------------------------------------


async def test_who_waits_too_long_for_kafka_is_told_to_come_back(kafka):
    kafka.put("t", 0, envelopes(10))
    async with running(kafka, "t", wait=0.5) as it:
        there = it.meet()
        kafka.down = True
        clients = [it.resume(it.at({0: 0})), it.resume(it.at({0: 99}))]
        assert [await client.closed() for client in clients] == [4006, 4006]
        assert await (await it.since(NOW)).closed() == 4006
        closing = clients[0].said("closing")[0]
        assert (closing["reconnect"], closing["retry_after"]) == (True, 10.0)
        kafka.down = False
        back = it.resume(closing["cursor"])
        await back.live()
        assert back.offsets() == {0: [*range(10)]}
        assert there.said("closing") == []
        assert it.replayer._deadlines == {}


async def test_who_waits_too_long_for_a_turn_is_told_to_come_back(kafka):
    kafka.put("t", 0, envelopes(1000))
    async with running(kafka, "t", wait=0.5, passes=1) as it:
        kafka.hold(lambda wanted: wanted[T] > 500)
        first = it.resume(it.at({0: 500}), "bob")
        await kafka.until_held()
        second = it.resume(it.at({0: 0}))
        assert await second.closed() == 4006
        kafka.let_go()
        await first.live()


async def test_a_pass_that_does_not_come_on_ends_with_its_sessions_told(kafka):
    kafka.put("t", 0, envelopes(1000))
    async with running(kafka, "t", wait=0.5) as it:
        kafka.hold(lambda wanted: wanted[T] > 500)
        client = it.resume(it.at({0: 0}))
        await kafka.until_held()
        kafka.down = True
        kafka.let_go()
        assert await client.closed() == 4006
        seen = client.offsets()[0]
        kafka.down = False
        back = it.resume(client.cursor())
        await back.live()
        assert seen + back.offsets()[0] == [*range(1000)]


async def test_who_was_served_in_time_is_not_told_to_come_back_later(kafka):
    """The deadline is over when the pass has begun, however long that takes then."""
    kafka.put("t", 0, envelopes(1000))
    async with running(kafka, "t", wait=0.5) as it:
        kafka.hold(lambda wanted: wanted[T] > 500)
        client = it.resume(it.at({0: 0}))
        await kafka.until_held()
        assert it.replayer._deadlines == {}
        beyond = asyncio.get_running_loop().time() + 0.8
        await until(lambda: asyncio.get_running_loop().time() > beyond)
        kafka.let_go()
        await client.live()
        assert client.said("closing") == []


# -- bugs of ours -------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["step", "judge", "missing", "scan"])
async def test_a_bug_that_one_session_meets_ends_that_one_only(kafka, monkeypatch, method):
    kafka.put("t", 0, envelopes(10))
    sound = getattr(CatchUp, method)
    async with running(kafka, "t") as it:
        ill = it.resume(it.at({0: 0}), "bob")

        def fails(self, first, *more):
            met = ill.session.home is not None if method == "scan" else first is ill.session
            if met and (method != "missing" or first in it.replayer._waiting):
                raise ZeroDivisionError
            return sound(self, first, *more)

        monkeypatch.setattr(CatchUp, method, fails)
        assert await ill.closed() == 4006
        well = it.resume(it.at({0: 0}))
        await well.live()
        assert well.offsets() == {0: [*range(10)]}
        assert places(it.replayer, ill.session) == []


# -- storms -------------------------------------------------------------------------------------
