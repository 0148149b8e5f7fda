"""When a client does what: reconnect delay, keepalive, token renewal.

Rule: no class here reads a clock or waits. Each is given `now` and returns seconds, so that the
connection and the tests decide when time passes.
"""

from __future__ import annotations

import base64
import json
import random
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

BACKOFF_BASE_SECONDS: Final = 0.5
BACKOFF_MAX_SECONDS: Final = 30.0
PROBE_GRACE_SECONDS: Final = 1.0
WAKE_ANSWER_SECONDS: Final = 3.0
MIN_RENEW_SECONDS: Final = 5.0
RENEW_AT_FRACTION: Final = 0.8


class Backoff:
    """The delays between connection attempts, spread so that clients do not return together.

    The bridge's `retry_after` is used as it is, because the bridge has spread it already. Without
    one it is "full jitter": a random delay below a bound that doubles with each attempt.
    """

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
        """Return the delay before the next attempt, and double the bound."""
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
        """Start again with the base delay: the last connection made progress."""
        self._bound_seconds = min(self._base_seconds, self._max_seconds)


class Keepalive:
    """Decides when to send a heartbeat to a silent server, and when to drop it.

    Without a frame for two heartbeats and 1 s the client sends one. After three heartbeats, and at
    the earliest 1 s after its own, it drops the connection. Times are seconds of a monotonic clock.
    """

    def __init__(self, heartbeat_seconds: float, now: float) -> None:
        self._probe_after_seconds = 2 * heartbeat_seconds + PROBE_GRACE_SECONDS
        self._timeout_seconds = max(
            3 * heartbeat_seconds, self._probe_after_seconds + PROBE_GRACE_SECONDS
        )
        self._last_received = now
        self._has_probed = False
        self._deadline = now + self._timeout_seconds

    def mark_received(self, now: float) -> None:
        """Restart the time limits: a frame arrived, or the client does not read at present."""
        self._last_received = now
        self._has_probed = False
        self._deadline = now + self._timeout_seconds

    def probe_if_due(self, now: float) -> bool:
        """Return True once if a heartbeat must be sent now."""
        if self._has_probed or now < self._last_received + self._probe_after_seconds:
            return False
        self._has_probed = True
        return True

    def probe_now(self, now: float) -> None:
        """Require a frame within 3 s: the caller sends a heartbeat, as after a sleep."""
        self._has_probed = True
        self._deadline = now + WAKE_ANSWER_SECONDS

    def has_timed_out(self, now: float) -> bool:
        """Return True if the connection must be dropped."""
        return now >= self._deadline

    def seconds_until_due(self, now: float) -> float:
        """Return the time until `probe_if_due` or `has_timed_out` can become true."""
        return max(
            0.0,
            (
                self._deadline
                if self._has_probed
                else self._last_received + self._probe_after_seconds
            )
            - now,
        )


class RenewalSchedule:
    """When to renew a token: at 0.8 of its remaining life. Times are seconds of the epoch."""

    def __init__(self, expires: str, now: float, min_seconds: float = MIN_RENEW_SECONDS) -> None:
        self._min_seconds = min_seconds
        self._expires_at = timestamp_seconds(expires)
        self._lifetime_seconds = self._expires_at - now

    def delay_seconds(self, now: float) -> float:
        """Return the time until the next renewal, at least `min_seconds`."""
        return max(RENEW_AT_FRACTION * (self._expires_at - now), self._min_seconds)

    def set_token(self, token: str, now: float) -> None:
        """Use a newer token; without a readable expiry it lives as long as the first one."""
        self._expires_at = jwt_expiry(token) or now + self._lifetime_seconds


def timestamp_seconds(text: str) -> float:
    """Return an RFC 3339 time as seconds of the epoch; without an offset it is UTC."""
    time = datetime.fromisoformat(text.upper())
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def jwt_expiry(token: str) -> float | None:
    """Return the `exp` of a JWT; None if this is not one."""
    try:
        _, claims, _ = token.split(".")
        payload = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
        return float(payload["exp"])
    except (ValueError, KeyError, TypeError):
        return None
