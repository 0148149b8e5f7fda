"""Every reason for which the bridge closes a connection, as a WebSocket close code.

Rule: a client needs no table. It reconnects with its cursor on 40xx and gives up on 45xx
(docs/protocol.md, "Closing").
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST_FINAL_CODE: Final = 4500


class CloseCode(NamedTuple):
    """A WebSocket close code (RFC 6455, 7.4.2: 4000 to 4999 are the application's) and its reason.

    Clients spread their reconnects over `retry_after` seconds. 0 means at once, as the first
    attempt of a backoff. With `is_exact` the seconds are not spread: an earlier attempt is in vain.
    """

    code: int
    reason: str
    retry_after: float = 0.0
    is_exact: bool = False

    @property
    def should_reconnect(self) -> bool:
        """True if the client should reconnect with its cursor."""
        return self.code < FIRST_FINAL_CODE

    def spread_retry_after(self, jitter: Callable[[float], float]) -> float:
        """Return the seconds to wait, spread by `jitter` unless they are exact."""
        return self.retry_after if self.is_exact else jitter(self.retry_after)


DRAINING: Final = CloseCode(4001, "draining: this instance is leaving", 5.0)
SLOW: Final = CloseCode(4002, "slow: events came faster than they were read", 1.0)
SILENT: Final = CloseCode(4003, "silent: no frame and no pong for two heartbeats", 1.0)
HELLO_TIMEOUT: Final = CloseCode(4003, "silent: no hello within the time for it", 1.0)
STALE: Final = CloseCode(4004, "stale: this instance has been without Kafka for too long", 10.0)
EXPIRED: Final = CloseCode(4005, "expired: come back with a fresh token")
OVERLOADED: Final = CloseCode(4006, "overloaded: come back later", 10.0)
NOT_READY: Final = CloseCode(
    4006, "overloaded: this instance has not caught up with Kafka yet", 5.0
)
KEYS_UNAVAILABLE: Final = CloseCode(
    4006, "overloaded: tokens can not be checked now, come back later", 5.0
)
BACKEND_UNAVAILABLE: Final = CloseCode(
    4006, "overloaded: the backend cannot be asked now, come back later", 5.0
)
TOO_EARLY: Final = CloseCode(
    4006, "overloaded: the token is not valid yet, come back later", 1.0, is_exact=True
)
UNAUTHENTICATED: Final = CloseCode(4500, "unauthenticated")
FORBIDDEN: Final = CloseCode(4501, "forbidden")
MISBEHAVING: Final = CloseCode(4502, "misbehaving: frames that break the contract")
DISCONNECTED: Final = CloseCode(4504, "disconnected by the backend")

#: One of each code, in order. A test compares the table in the documentation with it.
CLOSE_CODES: Final = (
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
