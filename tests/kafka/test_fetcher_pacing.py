"""How long a reader waits before it asks for more: no longer than it pays."""

from __future__ import annotations

import pytest

from bridge.kafka.fetcher import FEW_RECORDS, LINGER_SECONDS, MOST_SECONDS, linger

QUICK = 0.0001


def test_requests_are_so_long_apart_at_least() -> None:
    assert linger(QUICK, QUICK, 1) == pytest.approx(LINGER_SECONDS - QUICK)
    assert linger(QUICK, QUICK, 10_000) == pytest.approx(LINGER_SECONDS - QUICK)


def test_after_one_that_waited_at_the_broker_there_is_no_wait() -> None:
    assert linger(0.5, 0.0, 0) <= 0
    assert linger(0.5, QUICK, 1) == QUICK, "no more than what it took"


def test_after_few_records_for_many_it_rests_for_as_long_as_they_took() -> None:
    assert linger(0.5, MOST_SECONDS / 2, FEW_RECORDS - 1) == MOST_SECONDS / 2
    assert linger(0.5, 10 * MOST_SECONDS, FEW_RECORDS - 1) == MOST_SECONDS, "but not for ever"


def test_after_many_records_it_goes_on_at_once() -> None:
    assert linger(0.5, 0.4, FEW_RECORDS) <= 0
