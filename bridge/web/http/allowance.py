"""How often something may happen: a bucket that fills at a rate and holds a second's worth."""

from __future__ import annotations


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
