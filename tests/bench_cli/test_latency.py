"""The percentiles equal those of the sorted values, within 0.8 %."""

from __future__ import annotations

import json
from math import ceil

from hypothesis import given
from hypothesis import strategies as st

from bridge.bench.load.latency import LatencyHistogram, bucket_end, bucket_index

VALUES = st.integers(0, 2**50)


def of(values: list[int]) -> LatencyHistogram:
    histogram = LatencyHistogram()
    for value in values:
        histogram.add(value)
    return histogram


@given(VALUES)
def test_buckets_are_narrow(value):
    at = bucket_index(value)
    lowest = bucket_end(at - 1) if at else 0
    assert lowest <= value < bucket_end(at)
    assert (bucket_end(at) - 1 - lowest) * 128 <= max(lowest, 1)


@given(st.lists(VALUES, min_size=1), st.sampled_from([50.0, 90.0, 99.0, 99.9, 100.0]))
def test_percentile_is_at_most_slightly_too_large(values, percent):
    true = sorted(values)[max(1, ceil(len(values) * percent / 100)) - 1]
    reported = of(values).percentile(percent)
    assert true <= reported <= true * (1 + 1 / 128)


@given(st.lists(VALUES), st.lists(VALUES))
def test_merged_histograms_equal_one(some, more):
    merged = of(some)
    merged.merge(json.loads(json.dumps(of(more).as_json())))
    assert (merged.counts, merged.max_value) == (of(some + more).counts, max([0, *some, *more]))


def test_empty_histogram_has_zeros():
    assert set(LatencyHistogram().percentiles_ms().values()) == {0.0}


def test_negative_value_counts_as_zero():
    assert of([-5]).percentile(100) == 0


def test_cleared_histogram_is_empty():
    histogram = of([1, 2, 3])
    histogram.clear()
    assert (histogram.total, histogram.max_value) == (0, 0)
