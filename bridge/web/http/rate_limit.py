"""The write rate of `/v1`, and the token bucket behind it.

Rule: all write calls share one limit. It is checked last, so that invalid requests do not count.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final

from fastapi import HTTPException

if TYPE_CHECKING:
    from collections.abc import Callable


class TokenBucket:
    """Allows `per_second` a second, with a burst of as many. Times are of a monotonic clock."""

    def __init__(self, per_second: float) -> None:
        self._tokens_per_second = float(per_second)
        self._tokens = self._tokens_per_second
        self._refilled_at = 0.0

    def acquire(self, now: float) -> float:
        """Take one token and return 0, or return the seconds until one is available."""
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
    """Limits writes by a token bucket; `now` is a monotonic clock."""

    def __init__(self, per_second: float, now: Callable[[], float] = time.monotonic) -> None:
        self._bucket = TokenBucket(per_second)
        self._now = now

    def check(self) -> None:
        """Count one write.

        Raises:
            HTTPException: 429 with `Retry-After` if the limit is exceeded.
        """
        if wait_seconds := self._bucket.acquire(self._now()):
            retry_after_seconds = math.ceil(min(wait_seconds, _MAX_RETRY_SECONDS))
            raise HTTPException(
                429,
                "more writes per second than BRIDGE_LIMITS__PUBLISHES_PER_SECOND allows",
                {"Retry-After": str(retry_after_seconds)},
            )
