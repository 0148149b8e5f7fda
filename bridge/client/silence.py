"""How long a server may say nothing: first it is asked whether it is there, then it is left.

The rule kept here: asked after two heartbeats and a second, left after three; a client that was
woken asks at once, and waits three seconds. A client that does not read hears no silence.
"""

from __future__ import annotations

from typing import Final

GRACE_SECONDS: Final = 1.0
ANSWER_SECONDS: Final = 3.0


class Silence:
    """What is heard of one server, whose heartbeats come every `heartbeat` seconds."""

    def __init__(self, heartbeat: float, now: float) -> None:
        self._ask = 2 * heartbeat + GRACE_SECONDS
        self._leave = max(3 * heartbeat, self._ask + GRACE_SECONDS)
        self._heard = now
        self._asked = False
        self._left = now + self._leave

    def heard(self, now: float) -> None:
        """Something came; or what comes would not be read."""
        self._heard = now
        self._asked = False
        self._left = now + self._leave

    def asks(self, now: float) -> bool:
        """Whether to ask now: say so, and it counts as asked."""
        if self._asked or now < self._heard + self._ask:
            return False
        self._asked = True
        return True

    def woken(self, now: float) -> None:
        """The client asks at once, for it may have slept."""
        self._asked = True
        self._left = now + ANSWER_SECONDS

    def is_dead(self, now: float) -> bool:
        """Whether to leave the server."""
        return now >= self._left

    def until(self, now: float) -> float:
        """How long until one of both may be so."""
        return max(0.0, (self._left if self._asked else self._heard + self._ask) - now)
