"""Who reads with whom, and who has the next turn: nobody waits for those who are far behind."""

from __future__ import annotations

import pytest

from bridge.kafka.client.client import TopicPartition
from bridge.kafka.replay import scheduler
from bridge.kafka.replay.scheduler import lowest_offsets, may_share, similar_in_size
from tests.kafka.headless_instance import running_instance
from tests.kafka.held_replays import wait_until
from tests.kafka.sparse_topics import SparseKafka, matching_offsets, sparse_values, wait_all_live

T = TopicPartition("t", 0)


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> SparseKafka:
    """With few records, so that a few more of them are many."""
    monkeypatch.setattr(scheduler, "_SMALL_SCAN_RECORDS", 100)
    return SparseKafka()


async def test_those_who_are_far_behind_do_not_hold_up_those_who_are_near(kafka):
    """However they come: together, or the near one while the far one's pass is under way."""
    kafka.append("t", 0, sparse_values(5000))
    async with running_instance(kafka, "t") as it:
        kafka.hold_fetches(lambda wanted: wanted[T] < 4000)
        far, near = it.resume(it.cursor_at({0: 0})), it.resume(it.cursor_at({0: 4900}))
        await wait_all_live(near)
        nearer = it.resume(it.cursor_at({0: 4800}))
        await wait_all_live(nearer)
        assert nearer.offsets() == matching_offsets(4800, 5000)
        assert far.ops() == ["welcome"]
        kafka.release()
        await wait_all_live(far)
        assert far.offsets() == matching_offsets(0, 5000)


async def test_those_who_are_far_behind_do_not_take_all_the_turns(kafka):
    """Of three who need more each, the one who needs least does not come last."""
    kafka.append("t", 0, sparse_values(9000))
    async with running_instance(kafka, "t") as it:
        await wait_all_live(it.resume(it.cursor_at({0: 8990})))  # the first turn of all is over
        kafka.hold_fetches(lambda wanted: wanted[T] < 8000)
        far = [it.resume(it.cursor_at({0: place})) for place in (0, 7000)]
        near = it.resume(it.cursor_at({0: 8900}))
        await wait_all_live(near)
        kafka.release()
        await wait_all_live(*far)
        assert kafka.max_concurrent_fetches == 2


@pytest.mark.parametrize("together", [True, False])
async def test_one_who_is_near_rather_shares_a_long_pass_than_waits_for_a_turn(kafka, together):
    kafka.append("t", 0, sparse_values(5000))
    async with running_instance(kafka, "t", passes=1) as it:
        kafka.hold_fetches()
        far = it.resume(it.cursor_at({0: 0}))
        if not together:
            await kafka.wait_until_held()
        near = it.resume(it.cursor_at({0: 4900}))
        await wait_until(lambda: near.session.index is not None)
        kafka.release()
        await wait_all_live(far, near)
        assert near.offsets() == matching_offsets(4900, 5000)
        assert it.source.records_read == 5000


async def test_there_are_never_more_passes_than_allowed(kafka):
    kafka.append("t", 0, sparse_values(9000))
    async with running_instance(kafka, "t", journal=0) as it:
        kafka.hold_fetches()
        clients = [it.resume(it.cursor_at({0: place}), "bob") for place in (0, 7000, 8800, 8999)]
        await wait_until(lambda: len(kafka.fetched_offsets) == 2)
        kafka.release()
        await wait_all_live(*clients)
        assert kafka.max_concurrent_fetches == 2


async def test_who_waits_for_a_turn_has_it_when_a_pass_ends(kafka):
    """Also where the journal could not hold what that pass has read."""
    kafka.append("t", 0, sparse_values(5000, size=1000))
    async with running_instance(kafka, "t", journal=0, passes=1) as it:
        kafka.hold_fetches(lambda wanted: wanted[T] > 4500)
        first = it.resume(it.cursor_at({0: 2000}), "bob")
        await kafka.wait_until_held()
        second = it.resume(it.cursor_at({0: 0}))
        await wait_until(lambda: it.replayer._awaiting_scan and not it.replayer._newly_awaiting)
        kafka.release()
        await wait_all_live(first, second)
        assert second.offsets() == matching_offsets(0, 5000)


@pytest.mark.usefixtures("kafka")
@pytest.mark.parametrize(
    ("least", "group"),
    [(False, ["first", "like the first"]), (True, ["least", "like the least"])],
)
def test_those_who_need_about_as_much_go_together(least, group):
    needs = {"first": 2000, "least": 1, "like the first": 8000, "far": 9000, "like the least": 400}
    apart = {name: {("t", 0): (0, count)} for name, count in needs.items()}
    assert similar_in_size(apart, prefer_smallest=least) == group


def test_a_pass_begins_where_the_lowest_of_them_is():
    one = {("t", 0): (5, 10), ("u", 0): (3, 10)}
    other = {("t", 0): (4, 10), ("t", 1): (9, 10)}
    assert lowest_offsets([one, other]) == {("t", 0): 4, ("t", 1): 9, ("u", 0): 3}


@pytest.mark.usefixtures("kafka")
@pytest.mark.parametrize(
    ("left", "needed", "may"), [(400, 100, True), (401, 100, False), (400, 1, True)]
)
def test_one_who_needs_little_shares_only_what_is_not_much(left, needed, may):
    assert may_share(left, needed) == may
