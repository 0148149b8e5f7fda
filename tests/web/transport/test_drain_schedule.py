"""When each client of a draining instance is closed, by a clock of the test."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from bridge.web.transport.drain_schedule import DrainSchedule

NO_LIMIT = 1_000_000


def schedule(count: int, spread_seconds: float) -> DrainSchedule[int]:
    """Begin at 100 s; the connections are the numbers from 0."""
    return DrainSchedule(range(count), 100.0, spread_seconds)


def test_the_closes_are_spread_evenly():
    drain = schedule(1_000, 10.0)
    counts = [len(drain.take_due(100.0 + second, NO_LIMIT)) for second in range(11)]
    assert counts == [1, *[100] * 9, 99]


def test_the_first_close_is_due_at_once_and_a_single_client_never_waits():
    assert list(schedule(1, 10.0).take_due(100.0, NO_LIMIT)) == [0]
    assert list(schedule(4, 10.0).take_due(100.0, NO_LIMIT)) == [0]


def test_without_a_spread_all_are_due_at_once():
    assert len(schedule(3_000, 0.0).take_due(100.0, NO_LIMIT)) == 3_000


def test_no_more_than_the_limit_are_taken_in_one_turn():
    drain = schedule(700, 0.0)
    assert [len(drain.take_due(100.0, 250)) for _ in range(4)] == [250, 250, 200, 0]


@given(
    st.integers(0, 300),
    st.floats(0, 60),
    st.lists(st.floats(0, 70), max_size=30),
    st.integers(1, 300),
)
def test_each_is_closed_once_in_order_and_by_the_end_of_the_spread(
    count: int, spread_seconds: float, times: list[float], limit: int
):
    drain = schedule(count, spread_seconds)
    taken: list[int] = []
    for elapsed in sorted(times):
        taken += drain.take_due(100.0 + elapsed, limit)
    while due := drain.take_due(100.0 + spread_seconds + 1e-6, limit):
        taken += due
    assert taken == list(range(count))


@given(st.integers(1, 300), st.floats(0.1, 60))
def test_equal_times_have_equally_many_closes(count: int, spread_seconds: float):
    drain = schedule(count, spread_seconds)
    taken, totals = 0, []
    for step in range(21):
        taken += len(drain.take_due(100.0 + spread_seconds * step / 20, NO_LIMIT))
        totals.append(taken)
    assert all(abs((then - now) - count / 20) <= 2 for now, then in pairwise(totals))
