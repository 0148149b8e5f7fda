"""Notices when this process's own event loop was late.

Rule: a request that failed while the loop was late proves nothing about the broker: its answer may
have come in time, and nobody read it.
"""

from __future__ import annotations

import asyncio
from typing import Final

_CHECK_SECONDS: Final = 0.5
#: Requests of brokers have 10 s; a loop that is so late is on its way to miss that.
LATE_SECONDS: Final = 1.0


class LoopDelay:
    """Remembers when the event loop was late last."""

    def __init__(
        self, check_seconds: float = _CHECK_SECONDS, late_seconds: float = LATE_SECONDS
    ) -> None:
        self._check_seconds = check_seconds
        self._late_seconds = late_seconds
        self._late_at = float("-inf")
        self._due_at = float("inf")

    async def run(self) -> None:
        """Watch the loop until cancelled."""
        now = asyncio.get_running_loop().time
        while True:
            self._due_at = now() + self._check_seconds
            await asyncio.sleep(self._check_seconds)
            self._note_delay(now())

    def was_late_since(self, started_at: float) -> bool:
        """Whether the loop was late after `started_at`, in seconds of its own clock."""
        self._note_delay(asyncio.get_running_loop().time())  # `run` may not have had its turn yet
        return self._late_at >= started_at

    def _note_delay(self, now: float) -> None:
        if now - self._due_at >= self._late_seconds:
            self._late_at = now
