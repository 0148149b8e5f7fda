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
_EXACT_BITS: Final = STEP_BITS + 1  # values of so many bits are counted exactly
_BUCKETS: Final = (64 - STEP_BITS) << STEP_BITS
PERCENTILES: Final = (50.0, 90.0, 99.0, 99.9)


def bucket_index(value: int) -> int:
    """Return in which bucket `value` is, which is not negative and of 63 bits at most."""
    shift = value.bit_length() - _EXACT_BITS
    return value if shift <= 0 else (shift << STEP_BITS) + (value >> shift)


def bucket_end(bucket: int) -> int:
    """Return the smallest value that is in a later bucket."""
    shift = (bucket >> STEP_BITS) - 1
    return (
        bucket + 1
        if shift <= 0
        else ((bucket & (1 << STEP_BITS) - 1) + (1 << STEP_BITS) + 1) << shift
    )


class LatencyHistogram:
    """Counts of values; `counts` is by bucket, for those who count many at once."""

    __slots__ = ("counts", "max_value")

    def __init__(self) -> None:
        self.counts = [0] * _BUCKETS
        self.max_value = 0  #: the largest value

    def add(self, value: int) -> None:
        """Count one value; one below zero is counted as zero."""
        value = max(value, 0)
        self.counts[bucket_index(value)] += 1
        self.max_value = max(self.max_value, value)

    @property
    def total(self) -> int:
        """How many values were counted."""
        return sum(self.counts)

    def clear(self) -> None:
        """Forget every value."""
        self.counts[:] = [0] * _BUCKETS
        self.max_value = 0

    def percentile(self, percent: float) -> int:
        """Return a value that so many of all are not above, 0.8 % too large at most; 0 for none."""
        rank = max(1, ceil(self.total * percent / 100))
        seen = 0
        for bucket, count in enumerate(self.counts):
            seen += count
            if seen >= rank:
                return min(bucket_end(bucket) - 1, self.max_value)
        return 0

    def as_json(self) -> dict[str, int]:
        """Return the buckets that are not empty, and `max_value`."""
        counts = {str(bucket): count for bucket, count in enumerate(self.counts) if count}
        return {"max_value": self.max_value, **counts}

    def merge(self, other: Mapping[str, int]) -> None:
        """Add what another one told by `as_json`."""
        for bucket, count in other.items():
            if bucket == "max_value":
                self.max_value = max(self.max_value, count)
            else:
                self.counts[int(bucket)] += count

    def percentiles_ms(self) -> dict[str, float]:
        """Return the percentiles and the largest, of values that were nanoseconds."""
        percentiles = {f"p{percent:g}": self.percentile(percent) / 1e6 for percent in PERCENTILES}
        return {
            name: round(value, 3)
            for name, value in {**percentiles, "max": self.max_value / 1e6}.items()
        }


SLOT_NS: Final = 250_000
MAX_SLOT_NS: Final = 4_000_000


class LatencyBatch:
    """What was read in the slot that runs; `made` has when each event was made (ns)."""

    __slots__ = (
        "_client_count_changes",
        "_histogram",
        "_last_read_ns",
        "_slot_end_ns",
        "created_ns",
    )

    def __init__(self, histogram: LatencyHistogram) -> None:
        self.created_ns: list[int] = []
        self._histogram = histogram
        self._client_count_changes: defaultdict[int, int] = defaultdict(int)
        self._slot_end_ns = 0
        self._last_read_ns = 0

    def add(self, first: int, stop: int, now_ns: int) -> None:
        """One more client reads the events from `first` until before `stop`."""
        if now_ns >= self._slot_end_ns:
            self.flush()
            latency_ns = now_ns - self.created_ns[stop - 1]  # and as exact as the histogram
            self._slot_end_ns = now_ns + min(max(SLOT_NS, latency_ns >> STEP_BITS), MAX_SLOT_NS)
        self._last_read_ns = now_ns
        changes = self._client_count_changes
        changes[first] += 1
        changes[stop] -= 1

    def flush(self) -> None:
        """Let the histogram have all of it."""
        counts, read_ns, max_latency_ns = (
            self._histogram.counts,
            self._last_read_ns,
            self._histogram.max_value,
        )
        start = client_count = 0
        for stop, change in sorted(self._client_count_changes.items()):
            if client_count:
                for created_ns in self.created_ns[start:stop]:
                    latency_ns = read_ns - created_ns
                    max_latency_ns = max(max_latency_ns, latency_ns)
                    counts[bucket_index(max(0, latency_ns))] += client_count
            client_count += change
            start = stop
        self._histogram.max_value = max_latency_ns
        self._client_count_changes.clear()

    def discard_oldest(self, count: int) -> None:
        """Let go of the first events; those behind them are counted from 0 on."""
        self.flush()
        del self.created_ns[:count]
