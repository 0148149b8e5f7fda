"""Lets those who arrive in, some in each turn of the event loop.

Rule: a crowd at the door does not hold up who is inside: clock, feed and clients have their turn
in between. Nobody waits where there is no crowd.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

#: At some tenths of a millisecond each.
PER_TURN: Final = 32


class Turnstile:
    """One door of this instance."""

    def __init__(self) -> None:
        self._call_soon = asyncio.get_running_loop().call_soon
        self._left = PER_TURN  # who may still come in in this turn; all, where none is awaited
        self._waiting: deque[Callable[[], object]] = deque()

    def come(self, enter: Callable[[], object]) -> bool:
        """Call `enter` now or in its turn; tell whether it was now."""
        if self._left == PER_TURN:
            self._call_soon(self._turn)
        if not self._left:
            self._waiting.append(enter)
            return False
        self._left -= 1
        enter()
        return True

    def _turn(self) -> None:
        self._left = PER_TURN - min(PER_TURN, len(self._waiting))
        if self._waiting:
            self._call_soon(self._turn)
        for _ in range(PER_TURN - self._left):
            # By itself, so that what fails there fails alone.
            self._call_soon(self._waiting.popleft())
