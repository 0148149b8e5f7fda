"""Many who come back at once: live events go on, and nobody is looked at more often than needed."""

from __future__ import annotations

import pytest

from bridge.kafka import replayer as replaying
from bridge.kafka.replayer import Replayer
from tests.kafka.kafka_double import Kafka, T
from tests.kafka.returning import Client, running
from tests.kafka.written import envelope, envelopes, until


@pytest.fixture
def kafka() -> Kafka:
    return Kafka()


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
