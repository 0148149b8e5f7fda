"""How long to wait before the next attempt, so that a crowd does not come back at once.

The rule kept here: what the bridge advises is done, because it has spread that already; without
advice it is "full jitter": anything between nothing and a bound that doubles.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

BASE_SECONDS: Final = 0.5
MOST_SECONDS: Final = 30.0


class Backoff:
    """The waits between the attempts of one client."""

    def __init__(
        self,
        base: float = BASE_SECONDS,
        most: float = MOST_SECONDS,
        draw: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._base = base
        self._most = most
        self._draw = draw
        self._bound = min(base, most)

    def next(self, advice: float | None = None) -> float:
        """How long to wait now; `advice` is a `retry_after`, where one was given."""
        bound, self._bound = self._bound, min(2 * self._bound, self._most)
        return self._draw(0.0, bound) if advice is None else max(advice, 0.0)

    def reset(self) -> None:
        """Begin anew: something has come of the last attempt."""
        self._bound = min(self._base, self._most)
