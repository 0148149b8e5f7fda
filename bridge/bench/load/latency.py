"""Latencies: a histogram, and batches of reads that enter it together.

Rule: log-linear buckets as in HdrHistogram, 128 for each doubling, so a value is exact within
0.8 %. Two histograms merge by addition. A percentile is never reported smaller than it was.
"""

from __future__ import annotations

from collections import defaultdict
from math import ceil
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

STEP_BITS: Final = 7
_EXACT_BITS: Final = STEP_BITS + 1  # values of at most so many bits have a bucket of their own
_BUCKETS: Final = (64 - STEP_BITS) << STEP_BITS
PERCENTILES: Final = (50.0, 90.0, 99.0, 99.9)
SLOT_NS: Final = 250_000
MAX_SLOT_NS: Final = 4_000_000


def bucket_index(value: int) -> int:
    """Return the bucket of `value`, which must not be negative nor longer than 63 bits."""
    shift = value.bit_length() - _EXACT_BITS
    return value if shift <= 0 else (shift << STEP_BITS) + (value >> shift)


def bucket_end(bucket: int) -> int:
    """Return the smallest value above this bucket."""
    shift = (bucket >> STEP_BITS) - 1
    return (
        bucket + 1
        if shift <= 0
        else ((bucket & (1 << STEP_BITS) - 1) + (1 << STEP_BITS) + 1) << shift
    )


class LatencyHistogram:
    """Counts by bucket. `counts` is public for callers that add many values at once."""

    __slots__ = ("counts", "max_value")

    def __init__(self) -> None:
        self.counts = [0] * _BUCKETS
        self.max_value = 0

    def add(self, value: int) -> None:
        """Count one value; a negative one counts as zero."""
        value = max(value, 0)
        self.counts[bucket_index(value)] += 1
        self.max_value = max(self.max_value, value)

    @property
    def total(self) -> int:
        """The number of values."""
        return sum(self.counts)

    def clear(self) -> None:
        """Remove every value."""
        self.counts[:] = [0] * _BUCKETS
        self.max_value = 0

    def percentile(self, percent: float) -> int:
        """Return this percentile, at most 0.8 % too large; 0 if there are no values."""
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
        """Add another histogram, encoded by `as_json`."""
        for bucket, count in other.items():
            if bucket == "max_value":
                self.max_value = max(self.max_value, count)
            else:
                self.counts[int(bucket)] += count

    def percentiles_ms(self) -> dict[str, float]:
        """Return `PERCENTILES` and the maximum of values in nanoseconds, as milliseconds."""
        percentiles = {f"p{percent:g}": self.percentile(percent) / 1e6 for percent in PERCENTILES}
        return {
            name: round(value, 3)
            for name, value in {**percentiles, "max": self.max_value / 1e6}.items()
        }


class LatencyBatch:
    """Reads of shared events within one time slot; all of them count as the slot's last read.

    `created_ns` has the creation time of each event. A slot makes a latency at most 0.25 ms larger;
    for latencies above 32 ms at most 1/128 of them, and never more than 4 ms.
    """

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
        """Record that one more client has read the events from `first` up to before `stop`."""
        if now_ns >= self._slot_end_ns:
            self.flush()
            latency_ns = now_ns - self.created_ns[stop - 1]
            self._slot_end_ns = now_ns + min(max(SLOT_NS, latency_ns >> STEP_BITS), MAX_SLOT_NS)
        self._last_read_ns = now_ns
        changes = self._client_count_changes
        changes[first] += 1
        changes[stop] -= 1

    def flush(self) -> None:
        """Add the slot's latencies to the histogram."""
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
        """Remove the first `count` events; the indexes of the others start at 0 again."""
        self.flush()
        del self.created_ns[:count]
