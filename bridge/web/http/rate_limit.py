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


class TokenBucket:
    """`per_second` at once, and as many again each second. Times are seconds of a steady clock."""

    def __init__(self, per_second: float) -> None:
        self._tokens_per_second = float(per_second)
        self._tokens = self._tokens_per_second
        self._refilled_at = 0.0

    def acquire(self, now: float) -> float:
        """Take one at `now`, and return 0; or return the seconds until there is one to take."""
        self._tokens = min(
            self._tokens_per_second,
            self._tokens + max(0.0, now - self._refilled_at) * self._tokens_per_second,
        )
        self._refilled_at = now
        if self._tokens >= 1:
            self._tokens -= 1
            return 0.0
        return (
            (1 - self._tokens) / self._tokens_per_second
            if self._tokens_per_second
            else float("inf")
        )


_MAX_RETRY_SECONDS: Final = 60


class RateLimit:
    """Lets so many writes through in a second; `now` is a steady clock."""

    def __init__(self, per_second: float, now: Callable[[], float] = time.monotonic) -> None:
        self._bucket = TokenBucket(per_second)
        self._now = now

    def check(self) -> None:
        """Let one through.

        Raises:
            HTTPException: 429 if they come too fast.
        """
        if wait_seconds := self._bucket.acquire(self._now()):
            retry_after_seconds = math.ceil(min(wait_seconds, _MAX_RETRY_SECONDS))
            raise HTTPException(
                429,
                "more writes in a second than BRIDGE_LIMITS__PUBLISHES_PER_SECOND",
                {"Retry-After": str(retry_after_seconds)},
            )
