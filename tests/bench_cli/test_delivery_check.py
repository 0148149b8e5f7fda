"""Losses, duplicates and disorder are seen, each planted fault as what it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.bench.load.delivery_check import Ledger, Verdict

if TYPE_CHECKING:
    import random


def judged(*numbers: int, owed: int) -> Verdict:
    ledger = Ledger()
    for number in numbers:
        ledger.take(0, number)
    return ledger.verdict({0: owed})


@pytest.mark.parametrize(
    ("numbers", "owed", "verdict"),
    [
        ((0, 1, 2), 3, Verdict()),
        ((), 0, Verdict()),
        ((), 3, Verdict(lost=3)),
        ((0, 1), 3, Verdict(lost=1)),
        ((1, 2), 3, Verdict(lost=1)),
        ((0, 2), 3, Verdict(lost=1)),
        ((0, 1, 1, 2), 3, Verdict(duplicates=1)),
        ((0, 0), 1, Verdict(duplicates=1)),
        ((0, 2, 1), 3, Verdict(disorder=1)),
        ((2, 1, 0), 3, Verdict(disorder=2)),
        ((0, 2, 1, 1), 3, Verdict(duplicates=1, disorder=1)),
        ((1, 1), 2, Verdict(lost=1, duplicates=1)),
        ((0, 3, 1), 5, Verdict(lost=2, disorder=1)),
    ],
)
def test_a_fault_is_told_as_what_it_is(numbers, owed, verdict):
    assert judged(*numbers, owed=owed) == verdict


def test_lanes_are_numbered_each_for_itself():
    ledger = Ledger()
    for lane, number in ((0, 0), (7, 0), (0, 1), (7, 1)):
        ledger.take(lane, number)
    assert ledger.verdict({0: 2, 7: 2}) == Verdict()
    assert ledger.verdict({0: 2, 7: 3, 9: 4}) == Verdict(lost=5)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9), st.integers(1, 4))))
def test_a_run_is_what_its_numbers_are_one_by_one(runs):
    whole, single = Ledger(), Ledger()
    for lane, first, count in runs:
        whole.take(lane, first, count)
        for number in range(first, first + count):
            single.take(lane, number)
    owed = dict.fromkeys(range(3), 13)
    assert whole.verdict(owed) == single.verdict(owed)


@given(st.integers(0, 40), st.randoms(use_true_random=False))
def test_every_number_is_taken_once_lost_or_late(owed, chance: random.Random):
    come = [number for number in range(owed) if chance.random() < 0.8]
    chance.shuffle(come)
    again = [number for number in come if chance.random() < 0.2]
    verdict = judged(*come, *again, owed=owed)
    assert (verdict.lost, verdict.duplicates) == (owed - len(come), len(again))
