"""When to ask for a newer token: in time before the old one ends, and not again and again.

The rule kept here: at four fifths of what is left, but never sooner than `least` seconds after
the last time. A token that tells its own end (a JWT) is believed; the bridge judges it anyway.
"""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Final

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
