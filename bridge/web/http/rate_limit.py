"""How fast backends may write, by whichever call.

Rule: one allowance for all of them, asked for when nothing else is in the way any more.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final

from fastapi import HTTPException

from bridge.web.http.allowance import Allowance

if TYPE_CHECKING:
    from collections.abc import Callable

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
