"""What is counted of the stream while it goes through the hub, for whoever asks later.

Rule: what is counted here is counted once for a batch at most, however many listen.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from itertools import accumulate
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence


class Histogram:
    """Counts by `bounds`, which ascend; a value that is a bound is below it."""

    __slots__ = ("_counts", "bounds", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.sum = 0.0
        self._counts = [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        """Count one value."""
        self._counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def cumulative_counts(self) -> list[int]:
        """Return how many values were at most each bound, and last how many there were."""
        return list(accumulate(self._counts))


#: Seconds, from what nobody notices to what everybody does.
LATENCY_BUCKETS_SECONDS: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)


class Counters:
    """Counts from the start of this instance on."""

    def __init__(self) -> None:
        self.records_read = 0  #: records, live
        self.records_addressed = 0  #: of them, events for somebody, here or elsewhere
        self.records_unaddressed = 0  #: of them, for nobody
        self.gaps_by_reason: Counter[str] = Counter()  #: in what is read live, by reason
        self.latency_seconds = Histogram(
            LATENCY_BUCKETS_SECONDS
        )  #: seconds from a record's timestamp to its write
