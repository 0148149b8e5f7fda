"""Who shares a pass over Kafka's records, who waits for one, and who does not have to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bridge.core.catchup import CatchUp
from bridge.kafka import passes, sharing
from bridge.kafka.cluster import Partition
from tests.kafka.memory import MemoryCluster
from tests.kafka.returning import Client, running
from tests.kafka.written import Paced, envelope, envelopes, until

if TYPE_CHECKING:
    from tests.kafka.returning import Instance

T, U = Partition("t", 0), Partition("u", 0)


class Kafka(Paced, MemoryCluster):
    """Topics `t` and `u`, of one partition each; a fetch of a replay brings some 100 records."""

    def __init__(self) -> None:
        super().__init__()
        self.create("t")
        self.create("u")
        self.most_bytes = 1 << 13


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> Kafka:
    """With few records, so that a few more of them are many."""
    monkeypatch.setattr(sharing, "_FEW_RECORDS", 100)
    return Kafka()


async def all_live(*clients: Client) -> None:
    for client in clients:
        await client.live()


def sparse(count: int, **more: Any) -> list[bytes]:
    """Events of which every tenth is for all."""
    nobodys = envelope(to="nobody", **more)
    return [nobodys if n % 10 else envelope(n, **more) for n in range(count)]


def tenths(start: int, end: int) -> dict[int, list[int]]:
    """Those that are, as they come from partition 0."""
    return {0: [n for n in range(start, end) if n % 10 == 0]}


def count(it: Instance) -> int:
    return it.source.records


async def test_those_who_come_back_together_read_the_range_once(kafka):
    kafka.put("t", 0, sparse(2000))
    async with running(kafka, "t") as it:
        clients = [it.resume(it.at({0: n})) for n in range(200)]
        await all_live(*clients)
        assert count(it) == 2000
        for n, client in enumerate(clients):
            assert client.offsets() == tenths(n, 2000)
            assert client.ops() == ["welcome", "event", "live"]
            assert client.said("live")[0]["replayed"] == len(tenths(n, 2000)[0])


async def test_one_who_comes_while_a_pass_has_not_come_so_far_enters_it(kafka):
    kafka.put("t", 0, sparse(2000))
    async with running(kafka, "t") as it:
        kafka.hold(lambda wanted: wanted[T] > 1000)
        first = it.resume(it.at({0: 0}))
        await kafka.until_held()
        second = it.resume(it.at({0: 1300}))
        await until(lambda: second.session.home is not None)
        kafka.let_go()
        await all_live(first, second)
        assert count(it) == 2000
        assert second.offsets() == tenths(1300, 2000)
        assert kafka.at_a_time == 1


async def test_one_whom_a_pass_has_come_by_waits_for_the_journal_to_have_it(kafka):
    kafka.put("t", 0, sparse(2000))
    async with running(kafka, "t") as it:
        kafka.hold(lambda wanted: wanted[T] > 500)
        first = it.resume(it.at({0: 0}))
        await kafka.until_held()
        second = it.resume(it.at({0: 100}))
        third = it.resume(it.at({0: 0}))
        await until(lambda: len(it.replayer._waiting) == 2)
        kafka.let_go()
        await all_live(first, second, third)
        assert count(it) == 2000
        assert second.offsets() == tenths(100, 2000)
        assert third.offsets() == first.offsets() == tenths(0, 2000)


async def test_the_next_who_comes_back_finds_it_in_the_journal(kafka):
    kafka.put("t", 0, sparse(2000))
    async with running(kafka, "t") as it:
        await all_live(it.resume(it.at({0: 1000})))
        assert it.hub.journal.floor("t", 0) == 1000
        await all_live(again := it.resume(it.at({0: 1000}), "bob"))
        assert again.offsets() == tenths(1000, 2000)
        assert count(it) == 1000
        await all_live(further := it.resume(it.at({0: 0}), "eve"))
        assert further.offsets() == tenths(0, 2000)
        assert count(it) == 2000, "only what the journal had not"


async def test_those_who_are_far_behind_do_not_hold_up_those_who_are_near(kafka):
    """However they come: together, or the near one while the far one's pass is under way."""
    kafka.put("t", 0, sparse(5000))
    async with running(kafka, "t") as it:
        kafka.hold(lambda wanted: wanted[T] < 4000)
        far, near = it.resume(it.at({0: 0})), it.resume(it.at({0: 4900}))
        await all_live(near)
        nearer = it.resume(it.at({0: 4800}))
        await all_live(nearer)
        assert nearer.offsets() == tenths(4800, 5000)
        assert far.ops() == ["welcome"]
        kafka.let_go()
        await all_live(far)
        assert far.offsets() == tenths(0, 5000)


async def test_those_who_are_far_behind_do_not_take_all_the_turns(kafka):
    """Of three who need more each, the one who needs least does not come last."""
    kafka.put("t", 0, sparse(9000))
    async with running(kafka, "t") as it:
        kafka.hold(lambda wanted: wanted[T] < 8000)
        far = [it.resume(it.at({0: place})) for place in (0, 7000)]
        near = it.resume(it.at({0: 8900}))
        await all_live(near)
        kafka.let_go()
        await all_live(*far)
        assert kafka.at_a_time == 2


@pytest.mark.parametrize("together", [True, False])
async def test_one_who_is_near_rather_shares_a_long_pass_than_waits_for_a_turn(kafka, together):
    kafka.put("t", 0, sparse(5000))
    async with running(kafka, "t", passes=1) as it:
        kafka.hold()
        far = it.resume(it.at({0: 0}))
        if not together:
            await kafka.until_held()
        near = it.resume(it.at({0: 4900}))
        await until(lambda: near.session.home is not None)
        kafka.let_go()
        await all_live(far, near)
        assert near.offsets() == tenths(4900, 5000)
        assert count(it) == 5000


async def test_there_are_never_more_passes_than_allowed(kafka):
    kafka.put("t", 0, sparse(9000))
    async with running(kafka, "t", journal=0) as it:
        kafka.hold()
        clients = [it.resume(it.at({0: place}), "bob") for place in (0, 7000, 8800, 8999)]
        await until(lambda: len(kafka.fetched) == 2)
        kafka.let_go()
        await all_live(*clients)
        assert kafka.at_a_time == 2


async def test_a_pass_ends_when_the_last_of_its_sessions_has_left(kafka):
    kafka.put("t", 0, sparse(2000))
    async with running(kafka, "t") as it:
        kafka.hold(lambda wanted: wanted[T] > 500)
        clients = [it.resume(it.at({0: n})) for n in range(10)]
        await kafka.until_held()
        fetches = len(kafka.fetched)
        for client in clients:
            client.vanish()
        kafka.let_go()
        await until(lambda: not it.replayer._passes)
        assert len(kafka.fetched) == fetches
        assert it.hub.journal.floor("t", 0) == 2000, "what was not read to the end is not kept"
        assert it.hub.journal.bytes == 0, "nor does it take memory"


async def test_who_has_what_it_needs_does_not_wait_for_the_rest_of_a_pass(kafka):
    kafka.put("t", 0, envelopes(10))
    kafka.put("u", 0, envelopes(350))
    async with running(kafka, "t", "u") as it:
        kafka.hold(lambda wanted: wanted.get(U, 0) > 100)
        both = it.resume(it.at({0: 0}, {0: 0}))
        one = it.resume(it.at({0: 0}), topics=["t"])
        await all_live(one)
        assert one.offsets() == {0: [*range(10)]}
        assert not both.said("live")
        kafka.let_go()
        await all_live(both)
        assert kafka.at_a_time == 1
        assert count(it) == 360


async def test_a_journal_too_small_for_the_range_still_gives_everything_once(kafka):
    kafka.put("t", 0, sparse(5000, size=1000))
    async with running(kafka, "t", journal=0) as it:
        clients = [it.resume(it.at({0: n * 500})) for n in range(5)]
        await all_live(*clients)
        for n, client in enumerate(clients):
            assert client.offsets() == tenths(n * 500, 5000)
        assert it.hub.journal.floor("t", 0) == 5000


async def test_one_who_waits_for_a_journal_that_can_not_hold_it_reads_by_itself(kafka):
    """As soon as that is known: not only when the pass that it waited for has ended."""
    kafka.put("t", 0, sparse(5000, size=1000))
    async with running(kafka, "t", journal=0) as it:
        kafka.hold(lambda wanted: wanted[T] > 500)
        first = it.resume(it.at({0: 0}), "bob")
        await kafka.until_held()
        second = it.resume(it.at({0: 0}))
        await until(lambda: it.replayer._waiting and not it.replayer._come)
        kafka.hold(lambda wanted: wanted[T] > 4500)
        await until(lambda: second.session.home is not None)
        assert first.session.home is not None
        kafka.let_go()
        await all_live(first, second)
        assert first.offsets() == second.offsets() == tenths(0, 5000)


async def test_nothing_is_lost_where_the_journal_begins_later_from_one_portion_to_the_next(
    kafka, monkeypatch
):
    """What the pass had left to the journal is its own again."""
    monkeypatch.setattr(passes, "PORTION", 10)
    sound = CatchUp.scan
    async with running(kafka, "t") as it:
        watcher = it.meet("eve")
        kafka.put("t", 0, envelopes(1000))
        await watcher.until(lambda: it.hub.logs["t"].next == {0: 1000})
        tail = it.hub.journal.tail("t", 0)
        tail.floor = 555

        def scan(self, scan, routed):
            full = sound(self, scan, routed)
            if scan.next["t", 0] == 555:
                tail.floor = 777
            return full

        monkeypatch.setattr(CatchUp, "scan", scan)
        await all_live(back := it.resume(it.at({0: 0})))
        assert back.offsets() == {0: [*range(1000)]}
        assert tail.floor == 0, "it was read up to there"


async def test_nothing_is_read_that_the_journal_has(kafka):
    kafka.put("t", 0, envelopes(1000))
    async with running(kafka, "t") as it:
        client = it.meet()
        kafka.put("t", 0, envelopes(1000))
        await client.until(lambda: len(client.said("event")) == 1000)
        await all_live(back := it.resume(it.at({0: 990})))
        assert back.offsets() == {0: [*range(990, 2000)]}
        assert count(it) <= 100, "a batch at most"


async def test_what_happens_meanwhile_comes_after_the_replay_and_once(kafka):
    kafka.put("t", 0, envelopes(1000))
    async with running(kafka, "t") as it:
        kafka.hold(lambda wanted: wanted[T] > 500)
        back, there = it.resume(it.at({0: 0})), it.meet()
        await kafka.until_held()
        kafka.put("t", 0, envelopes(10))
        await there.until(lambda: len(there.said("event")) == 10)
        kafka.let_go()
        await back.live()
        kafka.put("t", 0, [envelope(1)])
        await back.until(lambda: len(back.said("event")) == 1011)
        assert back.offsets() == {0: [*range(1011)]}
        assert back.said("live")[0]["replayed"] == 1010
