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

PROBE_GRACE_SECONDS: Final = 1.0
WAKE_ANSWER_SECONDS: Final = 3.0


class Keepalive:
    """What is heard of one server, whose heartbeats come every `heartbeat` seconds."""

    def __init__(self, heartbeat_seconds: float, now: float) -> None:
        self._probe_after_seconds = 2 * heartbeat_seconds + PROBE_GRACE_SECONDS
        self._timeout_seconds = max(
            3 * heartbeat_seconds, self._probe_after_seconds + PROBE_GRACE_SECONDS
        )
        self._last_received = now
        self._has_probed = False
        self._deadline = now + self._timeout_seconds

    def mark_received(self, now: float) -> None:
        """Something came; or what comes would not be read."""
        self._last_received = now
        self._has_probed = False
        self._deadline = now + self._timeout_seconds

    def probe_if_due(self, now: float) -> bool:
        """Whether to ask now: say so, and it counts as asked."""
        if self._has_probed or now < self._last_received + self._probe_after_seconds:
            return False
        self._has_probed = True
        return True

    def probe_now(self, now: float) -> None:
        """The client asks at once, for it may have slept."""
        self._has_probed = True
        self._deadline = now + WAKE_ANSWER_SECONDS

    def has_timed_out(self, now: float) -> bool:
        """Whether to leave the server."""
        return now >= self._deadline

    def seconds_until_due(self, now: float) -> float:
        """How long until one of both may be so."""
        return max(
            0.0,
            (
                self._deadline
                if self._has_probed
                else self._last_received + self._probe_after_seconds
            )
            - now,
        )


MIN_RENEW_SECONDS: Final = 5.0
RENEW_AT_FRACTION: Final = 0.8


class RenewalSchedule:
    """The end of a connection's token. Times are seconds of the epoch."""

    def __init__(self, expires: str, now: float, min_seconds: float = MIN_RENEW_SECONDS) -> None:
        self._min_seconds = min_seconds
        self._expires_at = timestamp_seconds(expires)
        self._lifetime_seconds = self._expires_at - now

    def delay_seconds(self, now: float) -> float:
        """How long to wait before the next renewal."""
        return max(RENEW_AT_FRACTION * (self._expires_at - now), self._min_seconds)

    def set_token(self, token: str, now: float) -> None:
        """A newer token is in force; one that does not tell its end lives as long as the first."""
        self._expires_at = jwt_expiry(token) or now + self._lifetime_seconds


def timestamp_seconds(text: str) -> float:
    """Return an RFC 3339 time as seconds of the epoch."""
    time = datetime.fromisoformat(text.upper())
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def jwt_expiry(token: str) -> float | None:
    """Return the end that a JWT tells; None where this is none."""
    try:
        _, claims, _ = token.split(".")
        payload = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
        return float(payload["exp"])
    except (ValueError, KeyError, TypeError):
        return None


BACKOFF_BASE_SECONDS: Final = 0.5
BACKOFF_MAX_SECONDS: Final = 30.0


class Backoff:
    """The waits between the attempts of one client."""

    def __init__(
        self,
        base_seconds: float = BACKOFF_BASE_SECONDS,
        max_seconds: float = BACKOFF_MAX_SECONDS,
        random_uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._base_seconds = base_seconds
        self._max_seconds = max_seconds
        self._random_uniform = random_uniform
        self._bound_seconds = min(base_seconds, max_seconds)

    def next_delay(self, retry_after_seconds: float | None = None) -> float:
        """How long to wait now; `retry_after_seconds` is a `retry_after`, where one was given."""
        bound_seconds, self._bound_seconds = (
            self._bound_seconds,
            min(2 * self._bound_seconds, self._max_seconds),
        )
        return (
            self._random_uniform(0.0, bound_seconds)
            if retry_after_seconds is None
            else max(retry_after_seconds, 0.0)
        )

    def reset(self) -> None:
        """Begin anew: something has come of the last attempt."""
        self._bound_seconds = min(self._base_seconds, self._max_seconds)
