"""How long to wait before the next attempt, so that a crowd does not come back at once.

The rule kept here: what the bridge advises is done, because it has spread that already; without
advice it is "full jitter": anything between nothing and a bound that doubles.
"""

from __future__ import annotations

import base64
import json
import random
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

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


LEAST_SECONDS: Final = 5.0
PART: Final = 0.8


class Renewal:
    """The end of a connection's token. Times are seconds of the epoch."""

    def __init__(self, expires: str, now: float, least: float = LEAST_SECONDS) -> None:
        self._least = least
        self._ends = moment(expires)
        self._life = self._ends - now

    def wait(self, now: float) -> float:
        """How long to wait before the next renewal."""
        return max(PART * (self._ends - now), self._least)

    def renewed(self, token: str, now: float) -> None:
        """A newer token is in force; one that does not tell its end lives as long as the first."""
        self._ends = told_end(token) or now + self._life


def moment(text: str) -> float:
    """Return an RFC 3339 time as seconds of the epoch."""
    then = datetime.fromisoformat(text.upper())
    return (then if then.tzinfo else then.replace(tzinfo=UTC)).timestamp()


def told_end(token: str) -> float | None:
    """Return the end that a JWT tells; None where this is none."""
    try:
        _, claims, _ = token.split(".")
        told = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
        return float(told["exp"])
    except (ValueError, KeyError, TypeError):
        return None


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
