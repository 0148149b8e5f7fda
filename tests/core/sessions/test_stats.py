"""Counts by bounds: each value once, and a bound is at most itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.sessions.stats import Histogram

BOUNDS = (0.001, 0.25, 1.0, 60.0)


def test_a_value_that_is_a_bound_is_below_it() -> None:
    it = Histogram(BOUNDS)
    for bound in BOUNDS:
        it.observe(bound)
    assert it.cumulative_counts() == [1, 2, 3, 4, 4]


@given(st.lists(st.floats(0, 100)))
def test_it_counts_what_is_at_most_each_bound(values: list[float]) -> None:
    it = Histogram(BOUNDS)
    for value in values:
        it.observe(value)
    expected = [sum(value <= bound for value in values) for bound in BOUNDS]
    assert it.cumulative_counts() == [*expected, len(values)]
    assert it.sum == pytest.approx(sum(values))
