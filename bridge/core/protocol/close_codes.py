"""Why the bridge hangs up, and what the client should do next: every close there is.

The hundreds digit is the advice, so that a client needs no table: come back on 40xx with the
cursor that it holds, give up on 45xx (docs/protocol.md, "Closing").
"""

from __future__ import annotations

from typing import Final, NamedTuple

FINAL_FROM: Final = 4500


class Close(NamedTuple):
    """A WebSocket close code (RFC 6455, 7.4.2: 4000 to 4999 are the application's) and its reason.

    `retry_after` is the number of seconds within which a client should spread its return; 0 for
    at once, as the first of a backoff.
    """

    code: int
    reason: str
    retry_after: float = 0.0

    @property
    def reconnect(self) -> bool:
        """Whether the client should come back."""
        return self.code < FINAL_FROM


DRAINING: Final = Close(4001, "draining: this instance is leaving", 5.0)
SLOW: Final = Close(4002, "slow: events came faster than they were read", 1.0)
SILENT: Final = Close(4003, "silent: no frame and no pong for two heartbeats", 1.0)
NO_HELLO: Final = Close(4003, "silent: no hello within the time for it", 1.0)
STALE: Final = Close(4004, "stale: this instance has been without Kafka for too long", 10.0)
EXPIRED: Final = Close(4005, "expired: come back with a fresh token")
OVERLOADED: Final = Close(4006, "overloaded: come back later", 10.0)
NOT_READY: Final = Close(4006, "overloaded: this instance has not caught up with Kafka yet", 5.0)
NO_KEYS: Final = Close(4006, "overloaded: tokens can not be checked now, come back later", 5.0)
UNAUTHENTICATED: Final = Close(4500, "unauthenticated")
FORBIDDEN: Final = Close(4501, "forbidden")
MISBEHAVING: Final = Close(4502, "misbehaving: frames that break the contract")
DISCONNECTED: Final = Close(4504, "disconnected by the backend")

#: One of each code, in order; the documentation's table is checked against it.
CATALOGUE: Final = (
    DRAINING,
    SLOW,
    SILENT,
    STALE,
    EXPIRED,
    OVERLOADED,
    UNAUTHENTICATED,
    FORBIDDEN,
    MISBEHAVING,
    DISCONNECTED,
)
