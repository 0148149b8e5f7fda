"""How many values were how large, from a nanosecond to centuries, within 0.8 %.

Rule: log-linear, as HdrHistogram is: 128 steps for each doubling. Counting costs an addition, two
histograms merge by adding, and a percentile is never told smaller than it was.
"""

from __future__ import annotations

from collections import defaultdict
from math import ceil
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

STEP_BITS: Final = 7
_WHOLE: Final = STEP_BITS + 1  # values of so many bits are counted exactly
_SIZE: Final = (64 - STEP_BITS) << STEP_BITS
PERCENTILES: Final = (50.0, 90.0, 99.0, 99.9)


def index(value: int) -> int:
    """Return in which bucket `value` is, which is not negative and of 63 bits at most."""
    shift = value.bit_length() - _WHOLE
    return value if shift <= 0 else (shift << STEP_BITS) + (value >> shift)


def beyond(index: int) -> int:
    """Return the smallest value that is in a later bucket."""
    shift = (index >> STEP_BITS) - 1
    return (
        index + 1
        if shift <= 0
        else ((index & (1 << STEP_BITS) - 1) + (1 << STEP_BITS) + 1) << shift
    )


class Histogram:
    """Counts of values; `counts` is by bucket, for those who count many at once."""

    __slots__ = ("counts", "most")

    def __init__(self) -> None:
        self.counts = [0] * _SIZE
        self.most = 0  #: the largest value

    def add(self, value: int) -> None:
        """Count one value; one below zero is counted as zero."""
        value = max(value, 0)
        self.counts[index(value)] += 1
        self.most = max(self.most, value)

    @property
    def total(self) -> int:
        """How many values were counted."""
        return sum(self.counts)

    def clear(self) -> None:
        """Forget every value."""
        self.counts[:] = [0] * _SIZE
        self.most = 0

    def percentile(self, percent: float) -> int:
        """Return a value that so many of all are not above, 0.8 % too large at most; 0 for none."""
        rank = max(1, ceil(self.total * percent / 100))
        seen = 0
        for at, count in enumerate(self.counts):
            seen += count
            if seen >= rank:
                return min(beyond(at) - 1, self.most)
        return 0

    def as_json(self) -> dict[str, int]:
        """Return the buckets that are not empty, and `most`."""
        filled = {str(at): count for at, count in enumerate(self.counts) if count}
        return {"most": self.most, **filled}

    def merge(self, told: Mapping[str, int]) -> None:
        """Add what another one told by `as_json`."""
        for at, count in told.items():
            if at == "most":
                self.most = max(self.most, count)
            else:
                self.counts[int(at)] += count

    def milliseconds(self) -> dict[str, float]:
        """Return the percentiles and the largest, of values that were nanoseconds."""
        told = {f"p{percent:g}": self.percentile(percent) / 1e6 for percent in PERCENTILES}
        return {name: round(value, 3) for name, value in {**told, "max": self.most / 1e6}.items()}


SLOT_NS: Final = 250_000
LONGEST_NS: Final = 4_000_000


class Stretches:
    """What was read in the slot that runs; `made` has when each event was made (ns)."""

    __slots__ = ("_histogram", "_last", "_steps", "_until", "made")

    def __init__(self, histogram: Histogram) -> None:
        self.made: list[int] = []
        self._histogram = histogram
        self._steps: defaultdict[int, int] = defaultdict(int)
        self._until = 0
        self._last = 0

    def add(self, first: int, beyond: int, now: int) -> None:
        """One more client reads the events from `first` until before `beyond`."""
        if now >= self._until:
            self.settle()
            late = now - self.made[beyond - 1]  # and as exact as the histogram
            self._until = now + min(max(SLOT_NS, late >> STEP_BITS), LONGEST_NS)
        self._last = now
        steps = self._steps
        steps[first] += 1
        steps[beyond] -= 1

    def settle(self) -> None:
        """Let the histogram have all of it."""
        counts, now, most = self._histogram.counts, self._last, self._histogram.most
        before = clients = 0
        for at, step in sorted(self._steps.items()):
            if clients:
                for made in self.made[before:at]:
                    late = now - made
                    most = max(most, late)
                    counts[index(max(0, late))] += clients
            clients += step
            before = at
        self._histogram.most = most
        self._steps.clear()

    def forget(self, count: int) -> None:
        """Let go of the first events; those behind them are counted from 0 on."""
        self.settle()
        del self.made[:count]
