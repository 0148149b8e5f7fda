"""Lost, duplicate and out-of-order events are each counted as what they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.bench.load.delivery_check import DeliveryCheck, DeliveryErrors

if TYPE_CHECKING:
    import random


def judged(*numbers: int, expected: int) -> DeliveryErrors:
    ledger = DeliveryCheck()
    for number in numbers:
        ledger.add(0, number)
    return ledger.errors({0: expected})


@pytest.mark.parametrize(
    ("numbers", "expected", "errors"),
    [
        ((0, 1, 2), 3, DeliveryErrors()),
        ((), 0, DeliveryErrors()),
        ((), 3, DeliveryErrors(lost=3)),
        ((0, 1), 3, DeliveryErrors(lost=1)),
        ((1, 2), 3, DeliveryErrors(lost=1)),
        ((0, 2), 3, DeliveryErrors(lost=1)),
        ((0, 1, 1, 2), 3, DeliveryErrors(duplicates=1)),
        ((0, 0), 1, DeliveryErrors(duplicates=1)),
        ((0, 2, 1), 3, DeliveryErrors(disorder=1)),
        ((2, 1, 0), 3, DeliveryErrors(disorder=2)),
        ((0, 2, 1, 1), 3, DeliveryErrors(duplicates=1, disorder=1)),
        ((1, 1), 2, DeliveryErrors(lost=1, duplicates=1)),
        ((0, 3, 1), 5, DeliveryErrors(lost=2, disorder=1)),
    ],
)
def test_each_error_has_its_kind(numbers, expected, errors):
    assert judged(*numbers, expected=expected) == errors


def test_sequences_are_independent():
    ledger = DeliveryCheck()
    for lane, number in ((0, 0), (7, 0), (0, 1), (7, 1)):
        ledger.add(lane, number)
    assert ledger.errors({0: 2, 7: 2}) == DeliveryErrors()
    assert ledger.errors({0: 2, 7: 3, 9: 4}) == DeliveryErrors(lost=5)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9), st.integers(1, 4))))
def test_range_counts_like_its_numbers(runs):
    whole, single = DeliveryCheck(), DeliveryCheck()
    for lane, first, count in runs:
        whole.add(lane, first, count)
        for number in range(first, first + count):
            single.add(lane, number)
    expected = dict.fromkeys(range(3), 13)
    assert whole.errors(expected) == single.errors(expected)


@given(st.integers(0, 40), st.randoms(use_true_random=False))
def test_every_number_is_received_missing_or_late(expected, chance: random.Random):
    come = [number for number in range(expected) if chance.random() < 0.8]
    chance.shuffle(come)
    again = [number for number in come if chance.random() < 0.2]
    errors = judged(*come, *again, expected=expected)
    assert (errors.lost, errors.duplicates) == (expected - len(come), len(again))
