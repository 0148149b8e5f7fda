"""The waits between attempts: full jitter, or what the bridge advises."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bridge.client.timing import Backoff

SECONDS = st.floats(0.001, 100)


@given(SECONDS, SECONDS, st.integers(0, 60))
def test_delay_is_below_a_doubling_bound(base: float, most: float, before: int) -> None:
    drawn: list[tuple[float, float]] = []

    def draw(low: float, high: float) -> float:
        drawn.append((low, high))
        return high

    backoff = Backoff(base, most, draw)
    for _ in range(before):
        backoff.next_delay()
    assert backoff.next_delay() == min(most, base * 2**before)
    assert all(low == 0 for low, _ in drawn)


@given(st.integers(0, 20))
def test_delay_is_within_its_bounds(before: int) -> None:
    backoff = Backoff(0.5, 30)
    for _ in range(before):
        backoff.next_delay()
    assert 0 <= backoff.next_delay() <= min(30, 0.5 * 2**before)


def test_retry_after_is_used_exactly_and_counts_as_an_attempt() -> None:
    backoff = Backoff(1, 30, lambda low, high: (low + high) / 2)
    assert backoff.next_delay(7.25) == 7.25
    assert backoff.next_delay(0) == 0
    assert backoff.next_delay() == 2


def test_reset_restores_the_base_delay() -> None:
    backoff = Backoff(1, 30, lambda _, high: high)
    assert [backoff.next_delay() for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    backoff.reset()
    assert backoff.next_delay() == 1


def test_many_clients_do_not_reconnect_together() -> None:
    assert len({Backoff(1, 30).next_delay() for _ in range(100)}) > 90
