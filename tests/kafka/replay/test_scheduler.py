"""What may go wrong while sessions are caught up: nobody is forgotten, and nobody else suffers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from bridge.core.replay.catchup import CatchUp
from bridge.kafka.client.client import LATEST, Partition
from bridge.kafka.replay import scan
from bridge.kafka.replay import scheduler as replaying
from bridge.kafka.replay.scheduler import Replayer
from tests.kafka.answering import AnsweringKafka
from tests.kafka.memory import NOW
from tests.kafka.pacing import places, until
from tests.kafka.returning import envelope, envelopes, running

if TYPE_CHECKING:
    from tests.kafka.replay_client import Client

T, U = Partition("t", 0), Partition("u", 0)
NOT_THE_LEADER = 6


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> AnsweringKafka:
    """One whose flaws are tried again soon."""
    monkeypatch.setattr(scan, "_PAUSE", 0.02)
    return AnsweringKafka()


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


async def heard(client: Client, count: int) -> None:
    await client.until(lambda: len(client.said("event")) >= count)


async def test_live_events_are_delivered_while_a_storm_is_caught_up(kafka):
    """Of 5,000 who come back at once nobody is done before the first live event has arrived."""
    kafka.put("t", 0, [envelope(0), *envelopes(20, to="nobody")])
    async with running(kafka, "t") as it:
        there = it.meet("eve")
        before = it.resume(it.at({0: 0}))
        await before.live()  # the journal has it now
        storm = [it.resume(it.at({0: 0}), f"a{n}") for n in range(5000)]
        live_then = []
        for n in range(5):
            kafka.put("t", 0, [envelope(n)])
            await heard(there, n + 1)
            live_then.append(sum(client.is_live for client in storm))
        assert live_then[0] < 5000, "nothing was delivered before the storm was over"
        for client in storm:
            await client.live()
        everything = {0: [0, *range(21, 26)]}
        await until(lambda: all(c.offsets() == everything for c in storm[::500]))


async def test_a_storm_that_waits_is_not_looked_at_again_for_each_who_comes(kafka, monkeypatch):
    """Else a thousand who wait would cost the work of a million."""
    looked = 0
    sound = Replayer._place

    def counted(self, session):
        nonlocal looked
        looked += 1
        return sound(self, session)

    monkeypatch.setattr(Replayer, "_place", counted)
    monkeypatch.setattr(replaying, "GATHER_SECONDS", 0)
    kafka.put("t", 0, envelopes(1000))
    async with running(kafka, "t") as it:
        kafka.hold(lambda wanted: wanted[T] > 500)
        first = it.resume(it.at({0: 0}))
        await kafka.until_held()
        waiting: list[Client] = []
        for n in range(30):
            waiting.append(it.resume(it.at({0: n})))
            await until(lambda: len(it.replayer._waiting) == len(waiting))
            await until(lambda: not it.replayer._come)
        assert looked < 100
        kafka.let_go()
        for client in [first, *waiting]:
            await client.live()
