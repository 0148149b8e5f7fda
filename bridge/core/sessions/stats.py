"""Counters and the latency histogram of events that pass through the hub.

Rule: counting happens at most once per batch, however many sessions there are.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from itertools import accumulate
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence


class Histogram:
    """Counts values by bucket. `bounds` ascend and are inclusive upper bounds."""

    __slots__ = ("_counts", "bounds", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.sum = 0.0
        self._counts = [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        """Add one value to its bucket and to `sum`."""
        self._counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def cumulative_counts(self) -> list[int]:
        """Return how many values were at most each bound, and at last the number of all values."""
        return list(accumulate(self._counts))


#: From unnoticeable to unacceptable for a user, in seconds.
LATENCY_BUCKETS_SECONDS: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)


class Counters:
    """Counts since this instance started."""

    def __init__(self) -> None:
        self.records_read = 0  #: live records, not those of replays
        self.records_addressed = 0  #: of them, those with an audience, on any instance
        #: of them, those without an audience, by topic
        self.records_unaddressed: Counter[str] = Counter()
        #: of them, those that a route's `when` excludes, by topic
        self.records_filtered: Counter[str] = Counter()
        self.gaps_by_reason: Counter[str] = Counter()  #: gaps in live reading, not in replays
        #: from a record's timestamp to its write to a socket
        self.latency_seconds = Histogram(LATENCY_BUCKETS_SECONDS)
