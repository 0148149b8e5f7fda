"""How fast backends may write, by whichever call.

Rule: one allowance for all of them, asked for when nothing else is in the way any more.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final

from fastapi import HTTPException

if TYPE_CHECKING:
    from collections.abc import Callable


class Allowance:
    """`per_second` at once, and as many again each second. Times are seconds of a steady clock."""

    def __init__(self, per_second: float) -> None:
        self._rate = float(per_second)
        self._left = self._rate
        self._filled_at = 0.0

    def wait(self, now: float) -> float:
        """Take one at `now`, and return 0; or return the seconds until there is one to take."""
        self._left = min(self._rate, self._left + max(0.0, now - self._filled_at) * self._rate)
        self._filled_at = now
        if self._left >= 1:
            self._left -= 1
            return 0.0
        return (1 - self._left) / self._rate if self._rate else float("inf")


_LONGEST_RETRY_SECONDS: Final = 60


class Pace:
    """Lets so many writes through in a second; `now` is a steady clock."""

    def __init__(self, per_second: float, now: Callable[[], float] = time.monotonic) -> None:
        self._allowance = Allowance(per_second)
        self._now = now

    def take(self) -> None:
        """Let one through.

        Raises:
            HTTPException: 429 if they come too fast.
        """
        if wait := self._allowance.wait(self._now()):
            seconds = math.ceil(min(wait, _LONGEST_RETRY_SECONDS))
            raise HTTPException(
                429,
                "more writes in a second than BRIDGE_LIMITS__PUBLISHES_PER_SECOND",
                {"Retry-After": str(seconds)},
            )
