"""What may go wrong while sessions are caught up: nobody is forgotten, and nobody else suffers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from bridge.core.replay.catchup import CatchUp
from bridge.kafka.client.client import LATEST, TopicPartition
from bridge.kafka.replay import scan
from bridge.kafka.replay import scheduler as replaying
from bridge.kafka.replay.scheduler import ReplayScheduler
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


# -- sessions that go ---------------------------------------------------------------------------


@pytest.mark.parametrize("phase", ["turn", "unjudged", "waiting", "pass", "reading"])
@pytest.mark.parametrize("how", ["vanishes", "is hung up on"])
async def test_who_goes_in_the_middle_leaves_nothing_behind(kafka, phase, how):
    kafka.append("t", 0, envelopes(1000, size=1000))
    async with running_instance(kafka, "t", passes=1) as it:
        kafka.hold_fetches()
        first = it.resume(it.cursor_at({0: 500}), "bob")
        await kafka.wait_until_held()
        if phase == "unjudged":
            kafka.held_timestamps = {LATEST}
        client = it.resume(it.cursor_at({0: 0 if phase == "waiting" else 600}), held=True)
        if phase == "reading":
            await wait_until(lambda: session_stages(it.replayer, client.session) == ["pass"])
            kafka.release()
        await wait_until(lambda: session_stages(it.replayer, client.session) == [phase])
        if how == "vanishes":
            client.disconnect()
        else:
            it._close_overloaded(client.session)
        kafka.release()
        kafka.held_timestamps = set()
        await first.wait_live()
        await wait_until(lambda: session_stages(it.replayer, client.session) == [])
        await wait_until(lambda: client.session not in it.replayer._deadlines)
        assert client.session.replay is None
        assert it.replaying_count() == 0
        assert not it.hub.replaying


# -- deadlines ----------------------------------------------------------------------------------


async def test_who_waits_too_long_for_kafka_is_told_to_come_back(kafka):
    kafka.append("t", 0, envelopes(10))
    async with running_instance(kafka, "t", wait=0.5) as it:
        there = it.connect_new()
        kafka.is_down = True
        clients = [it.resume(it.cursor_at({0: 0})), it.resume(it.cursor_at({0: 99}))]
        assert [await client.wait_closed() for client in clients] == [4006, 4006]
        assert await (await it.connect_since(NOW_MS)).wait_closed() == 4006
        closing = clients[0].frames_of("closing")[0]
        assert (closing["reconnect"], closing["retry_after"]) == (True, 10.0)
        kafka.is_down = False
        back = it.resume(closing["cursor"])
        await back.wait_live()
        assert back.offsets() == {0: [*range(10)]}
        assert there.frames_of("closing") == []
        assert it.replayer._deadlines == {}


async def test_who_waits_too_long_for_a_turn_is_told_to_come_back(kafka):
    kafka.append("t", 0, envelopes(1000))
    async with running_instance(kafka, "t", wait=0.5, passes=1) as it:
        kafka.hold_fetches(lambda wanted: wanted[T] > 500)
        first = it.resume(it.cursor_at({0: 500}), "bob")
        await kafka.wait_until_held()
        second = it.resume(it.cursor_at({0: 0}))
        assert await second.wait_closed() == 4006
        kafka.release()
        await first.wait_live()


async def test_a_pass_that_does_not_come_on_ends_with_its_sessions_told(kafka):
    kafka.append("t", 0, envelopes(1000))
    async with running_instance(kafka, "t", wait=0.5) as it:
        kafka.hold_fetches(lambda wanted: wanted[T] > 500)
        client = it.resume(it.cursor_at({0: 0}))
        await kafka.wait_until_held()
        kafka.is_down = True
        kafka.release()
        assert await client.wait_closed() == 4006
        seen = client.offsets()[0]
        kafka.is_down = False
        back = it.resume(client.cursor())
        await back.wait_live()
        assert seen + back.offsets()[0] == [*range(1000)]


async def test_who_was_served_in_time_is_not_told_to_come_back_later(kafka):
    """The deadline is over when the pass has begun, however long that takes then."""
    kafka.append("t", 0, envelopes(1000))
    async with running_instance(kafka, "t", wait=0.5) as it:
        kafka.hold_fetches(lambda wanted: wanted[T] > 500)
        client = it.resume(it.cursor_at({0: 0}))
        await kafka.wait_until_held()
        assert it.replayer._deadlines == {}
        beyond = asyncio.get_running_loop().time() + 0.8
        await wait_until(lambda: asyncio.get_running_loop().time() > beyond)
        kafka.release()
        await client.wait_live()
        assert client.frames_of("closing") == []


# -- bugs of ours -------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["advance", "check_bounds", "missing_ranges", "deliver_scanned"])
async def test_a_bug_that_one_session_meets_ends_that_one_only(kafka, monkeypatch, method):
    kafka.append("t", 0, envelopes(10))
    sound = getattr(CatchUp, method)
    async with running_instance(kafka, "t") as it:
        ill = it.resume(it.cursor_at({0: 0}), "bob")

        def fails(self, first, *more):
            met = (
                ill.session.index is not None
                if method == "deliver_scanned"
                else first is ill.session
            )
            if met and (method != "missing_ranges" or first in it.replayer._awaiting_scan):
                raise ZeroDivisionError
            return sound(self, first, *more)

        monkeypatch.setattr(CatchUp, method, fails)
        assert await ill.wait_closed() == 4006
        well = it.resume(it.cursor_at({0: 0}))
        await well.wait_live()
        assert well.offsets() == {0: [*range(10)]}
        assert session_stages(it.replayer, ill.session) == []


# -- storms -------------------------------------------------------------------------------------


async def heard(client: ResumingClient, count: int) -> None:
    await client.wait_until(lambda: len(client.frames_of("event")) >= count)


async def test_live_events_are_delivered_while_a_storm_is_caught_up(kafka):
    """Of 5,000 who come back at once nobody is done before the first live event has arrived."""
    kafka.append("t", 0, [envelope(0), *envelopes(20, to="nobody")])
    async with running_instance(kafka, "t") as it:
        there = it.connect_new("eve")
        before = it.resume(it.cursor_at({0: 0}))
        await before.wait_live()  # the journal has it now
        storm = [it.resume(it.cursor_at({0: 0}), f"a{n}") for n in range(5000)]
        live_then = []
        for n in range(5):
            kafka.append("t", 0, [envelope(n)])
            await heard(there, n + 1)
            live_then.append(sum(client.is_live for client in storm))
        assert live_then[0] < 5000, "nothing was delivered before the storm was over"
        for client in storm:
            await client.wait_live()
        everything = {0: [0, *range(21, 26)]}
        await wait_until(lambda: all(c.offsets() == everything for c in storm[::500]))


async def test_a_storm_that_waits_is_not_looked_at_again_for_each_who_comes(kafka, monkeypatch):
    """Else a thousand who wait would cost the work of a million."""
    looked = 0
    sound = ReplayScheduler._assign

    def counted(self, session):
        nonlocal looked
        looked += 1
        return sound(self, session)

    monkeypatch.setattr(ReplayScheduler, "_assign", counted)
    monkeypatch.setattr(replaying, "BATCHING_DELAY_SECONDS", 0)
    kafka.append("t", 0, envelopes(1000))
    async with running_instance(kafka, "t") as it:
        kafka.hold_fetches(lambda wanted: wanted[T] > 500)
        first = it.resume(it.cursor_at({0: 0}))
        await kafka.wait_until_held()
        waiting: list[ResumingClient] = []
        for n in range(30):
            waiting.append(it.resume(it.cursor_at({0: n})))
            await wait_until(lambda: len(it.replayer._awaiting_scan) == len(waiting))
            await wait_until(lambda: not it.replayer._newly_awaiting)
        assert looked < 100
        kafka.release()
        for client in [first, *waiting]:
            await client.wait_live()
