"""The latencies of stretches of events that many clients read at about the same time.

Rule: each delivery is counted, none is looked at by itself. What is read within one slot counts as
read when the slot's last was: so a latency is told one slot too large at most, and never too small.
A slot is longer where what begins it is late: clients that drift apart read from many places, and
to look at all of them four thousand times a second would make the load the slowest part.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from bridge.bench.load.latency import STEP_BITS, index

if TYPE_CHECKING:
    from bridge.bench.load.latency import Histogram

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
