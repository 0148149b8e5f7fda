"""How long a reader waits before it asks for more: no longer than it pays."""

from __future__ import annotations

import pytest

from bridge.kafka.fetcher import (
    MAX_SMALL_FETCH_DELAY_SECONDS,
    MIN_FETCH_INTERVAL_SECONDS,
    SMALL_FETCH_RECORDS,
    fetch_delay,
)

QUICK = 0.0001


def test_requests_are_so_long_apart_at_least() -> None:
    assert fetch_delay(QUICK, QUICK, 1) == pytest.approx(MIN_FETCH_INTERVAL_SECONDS - QUICK)
    assert fetch_delay(QUICK, QUICK, 10_000) == pytest.approx(MIN_FETCH_INTERVAL_SECONDS - QUICK)


def test_after_one_that_waited_at_the_broker_there_is_no_wait() -> None:
    assert fetch_delay(0.5, 0.0, 0) <= 0
    assert fetch_delay(0.5, QUICK, 1) == QUICK, "no more than what it took"


def test_after_few_records_for_many_it_rests_for_as_long_as_they_took() -> None:
    assert (
        fetch_delay(0.5, MAX_SMALL_FETCH_DELAY_SECONDS / 2, SMALL_FETCH_RECORDS - 1)
        == MAX_SMALL_FETCH_DELAY_SECONDS / 2
    )
    assert (
        fetch_delay(0.5, 10 * MAX_SMALL_FETCH_DELAY_SECONDS, SMALL_FETCH_RECORDS - 1)
        == MAX_SMALL_FETCH_DELAY_SECONDS
    ), "but not for ever"


def test_after_many_records_it_goes_on_at_once() -> None:
    assert fetch_delay(0.5, 0.4, SMALL_FETCH_RECORDS) <= 0
