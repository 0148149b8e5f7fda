"""Losses, duplicates and disorder are seen, each planted fault as what it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.bench.load.delivery_check import DeliveryCheck, DeliveryErrors

if TYPE_CHECKING:
    import random


def judged(*numbers: int, owed: int) -> DeliveryErrors:
    ledger = DeliveryCheck()
    for number in numbers:
        ledger.add(0, number)
    return ledger.errors({0: owed})


@pytest.mark.parametrize(
    ("numbers", "owed", "verdict"),
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
def test_a_fault_is_told_as_what_it_is(numbers, owed, verdict):
    assert judged(*numbers, owed=owed) == verdict


def test_lanes_are_numbered_each_for_itself():
    ledger = DeliveryCheck()
    for lane, number in ((0, 0), (7, 0), (0, 1), (7, 1)):
        ledger.add(lane, number)
    assert ledger.errors({0: 2, 7: 2}) == DeliveryErrors()
    assert ledger.errors({0: 2, 7: 3, 9: 4}) == DeliveryErrors(lost=5)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9), st.integers(1, 4))))
def test_a_run_is_what_its_numbers_are_one_by_one(runs):
    whole, single = DeliveryCheck(), DeliveryCheck()
    for lane, first, count in runs:
        whole.add(lane, first, count)
        for number in range(first, first + count):
            single.add(lane, number)
    owed = dict.fromkeys(range(3), 13)
    assert whole.errors(owed) == single.errors(owed)


@given(st.integers(0, 40), st.randoms(use_true_random=False))
def test_every_number_is_taken_once_lost_or_late(owed, chance: random.Random):
    come = [number for number in range(owed) if chance.random() < 0.8]
    chance.shuffle(come)
    again = [number for number in come if chance.random() < 0.2]
    verdict = judged(*come, *again, owed=owed)
    assert (verdict.lost, verdict.duplicates) == (owed - len(come), len(again))
