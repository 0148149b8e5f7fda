"""Who reads with whom, and who has the next turn: nobody waits for those who are far behind."""

from __future__ import annotations

import pytest

from bridge.kafka.client.client import Partition
from bridge.kafka.replay import scheduler
from bridge.kafka.replay.scheduler import alike, lowest, may_share
from tests.kafka.pacing import until
from tests.kafka.returning import running
from tests.kafka.sparse import SparseKafka, all_live, sparse, tenths

T = Partition("t", 0)


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> SparseKafka:
    """With few records, so that a few more of them are many."""
    monkeypatch.setattr(scheduler, "_FEW_RECORDS", 100)
    return SparseKafka()


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
        await all_live(it.resume(it.at({0: 8990})))  # the first turn of all is over
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
        assert it.source.records == 5000


async def test_there_are_never_more_passes_than_allowed(kafka):
    kafka.put("t", 0, sparse(9000))
    async with running(kafka, "t", journal=0) as it:
        kafka.hold()
        clients = [it.resume(it.at({0: place}), "bob") for place in (0, 7000, 8800, 8999)]
        await until(lambda: len(kafka.fetched) == 2)
        kafka.let_go()
        await all_live(*clients)
        assert kafka.at_a_time == 2


async def test_who_waits_for_a_turn_has_it_when_a_pass_ends(kafka):
    """Also where the journal could not hold what that pass has read."""
    kafka.put("t", 0, sparse(5000, size=1000))
    async with running(kafka, "t", journal=0, passes=1) as it:
        kafka.hold(lambda wanted: wanted[T] > 4500)
        first = it.resume(it.at({0: 2000}), "bob")
        await kafka.until_held()
        second = it.resume(it.at({0: 0}))
        await until(lambda: it.replayer._waiting and not it.replayer._come)
        kafka.let_go()
        await all_live(first, second)
        assert second.offsets() == tenths(0, 5000)


@pytest.mark.usefixtures("kafka")
@pytest.mark.parametrize(
    ("least", "group"),
    [(False, ["first", "like the first"]), (True, ["least", "like the least"])],
)
def test_those_who_need_about_as_much_go_together(least, group):
    needs = {"first": 2000, "least": 1, "like the first": 8000, "far": 9000, "like the least": 400}
    apart = {name: {("t", 0): (0, count)} for name, count in needs.items()}
    assert alike(apart, least=least) == group


def test_a_pass_begins_where_the_lowest_of_them_is():
    one = {("t", 0): (5, 10), ("u", 0): (3, 10)}
    other = {("t", 0): (4, 10), ("t", 1): (9, 10)}
    assert lowest([one, other]) == {("t", 0): 4, ("t", 1): 9, ("u", 0): 3}


@pytest.mark.usefixtures("kafka")
@pytest.mark.parametrize(
    ("left", "needed", "may"), [(400, 100, True), (401, 100, False), (400, 1, True)]
)
def test_one_who_needs_little_shares_only_what_is_not_much(left, needed, may):
    assert may_share(left, needed) == may
