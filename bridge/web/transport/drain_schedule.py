"""When each client of a draining instance is closed.

Rule: closes are spread evenly, so that the other instances get the clients at a steady rate. The
first close is due at once, so a single client never waits.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")


class DrainSchedule(Generic[T]):
    """Connections in the order in which they are closed. Times are seconds of one clock."""

    def __init__(self, connections: Sequence[T], started_at: float, spread_seconds: float) -> None:
        """With `spread_seconds` of 0 all are due at once."""
        self._connections = connections
        self._started_at = started_at
        self._spread_seconds = spread_seconds
        self._taken_count = 0

    def take_due(self, now: float, max_count: int) -> Sequence[T]:
        """Return those that are due at `now` and were not returned before, at most `max_count`."""
        first = self._taken_count
        self._taken_count = max(first, min(self._due_count(now), first + max_count))
        return self._connections[first : self._taken_count]

    def _due_count(self, now: float) -> int:
        total, elapsed_seconds = len(self._connections), now - self._started_at
        if elapsed_seconds >= self._spread_seconds:
            return total
        return min(total, 1 + math.floor(total * elapsed_seconds / self._spread_seconds))
