"""Counts plain HTTP connections and refused ones, and keeps both within limits.

Rule: a connection without a request makes room for a new one; a request in flight never does.
WebSockets and admitted event streams do not count.
"""

from __future__ import annotations

import errno
import logging
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from bridge.web.http.counted_log import CountedLog

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

_log = logging.getLogger(__name__)

#: Descriptors that no client's stream may keep, and of these the ones that plain HTTP may not use
#: either. The rest is for Kafka and files.
RESERVED_DESCRIPTORS: Final = 64
RESERVED_FOR_KAFKA: Final = 32
_SILENT_SECONDS: Final = 1.0  # an honest client has sent its first bytes by then
# asyncio reports them of `accept` only.
_ACCEPT_ERRORS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_UNLIMITED: Final = 1 << 30
#: Values of the label `reason` of the metric.
REFUSAL_REASONS: Final = (
    *(
        "accept_failed",
        "answer_timeout",
        "bad_request",
        "body_timeout",
        "connections",
        "descriptors",
    ),
    *("head_timeout", "head_too_large", "idle"),
)
_REMEDIES: Final = {
    "accept_failed": "the system gave no descriptor for a new connection: raise the limit of open"
    " files (ulimit -n) or lower BRIDGE_LIMITS__CONNECTIONS",
    "answer_timeout": "clients did not read their responses (BRIDGE_LIMITS__OUTBOX_SECONDS)",
    "bad_request": "clients sent what is no HTTP/1.1 request",
    "body_timeout": "clients stopped in the middle of a request's body",
    "connections": "all of BRIDGE_LIMITS__HTTP_CONNECTIONS have a request in flight",
    "descriptors": "the limit of open files is near: raise it (ulimit -n) or lower"
    " BRIDGE_LIMITS__CONNECTIONS",
    "head_timeout": "clients did not finish the head of a request",
    "head_too_large": "clients sent more than 64 KiB or 100 fields beside the body of a request",
    "idle": "idle ones made room for new ones (BRIDGE_LIMITS__HTTP_CONNECTIONS)",
}
_LOG_LINES: Final = {
    reason: f"refused or closed HTTP connections: {remedy} reason={reason}"
    for reason, remedy in _REMEDIES.items()
}


class HttpLimits(NamedTuple):
    """Limits of plain HTTP connections."""

    max_connections: int = 1000
    keepalive_seconds: float = 75.0
    answer_timeout_seconds: float = 15.0


class AcceptedConnection(Protocol):
    """What this module needs of a connection."""

    transport: asyncio.Transport


class HttpConnections:
    """The plain HTTP connections of an instance, on all its ports."""

    def __init__(
        self,
        limits: HttpLimits | None = None,
        *,
        now: Callable[[], float] = time.monotonic,
        max_descriptors: int | None = None,
    ) -> None:
        """`max_descriptors` is the limit of open files; the default is that of this process."""
        self.limits = limits if limits is not None else HttpLimits()
        self.now = now
        self.refused_by_reason: Counter[str] = Counter()
        limit = max_descriptors or descriptor_limit()
        self._stream_descriptors = limit - min(RESERVED_DESCRIPTORS, limit // 4)
        self._http_descriptors = limit - min(RESERVED_FOR_KAFKA, limit // 8)
        self._silent: dict[AcceptedConnection, float] = {}  # since when they are connected
        # In the order in which they became idle; a request in flight is not in it.
        self._idle: dict[AcceptedConnection, None] = {}
        self._count = 0
        self._counted_log = CountedLog(_log, now)

    def __len__(self) -> int:
        return self._count

    def add(self, connection: AcceptedConnection) -> bool:
        """Count a new connection, which is idle; False if there is no room for it."""
        if self._count >= self.limits.max_connections and not self._close_longest_idle("idle"):
            self.count_refused("connections")
            return False
        self._count += 1
        self.mark_idle(connection)
        return True

    def remove(self, connection: AcceptedConnection) -> None:
        """Forget a connection that was added."""
        self._count -= 1
        self._idle.pop(connection, None)

    def mark_idle(self, connection: AcceptedConnection) -> None:
        """Note that a connection has no request from now on."""
        self._idle[connection] = None

    def mark_busy(self, connection: AcceptedConnection) -> None:
        """Note that a connection has a request."""
        self._idle.pop(connection, None)

    def add_silent(self, connection: AcceptedConnection) -> None:
        """Note a connection that has sent nothing yet. It does not count as HTTP."""
        self._silent[connection] = self.now()

    def remove_silent(self, connection: AcceptedConnection) -> None:
        """Forget it: it has sent something, or it is lost."""
        self._silent.pop(connection, None)

    def may_serve(self, transport: asyncio.BaseTransport) -> bool:
        """Whether the descriptor of a new connection is free for plain HTTP.

        The kernel gives out the lowest free descriptor, so a high one means that few are left.
        A connection without a request is closed then, in favour of later ones.
        """
        if not self.may_stream(transport):
            self._close_silent_or_idle()
        return _descriptor(transport) < self._http_descriptors

    def may_stream(self, transport: asyncio.BaseTransport) -> bool:
        """Whether a WebSocket or an event stream may keep its descriptor."""
        return _descriptor(transport) < self._stream_descriptors

    def count_refused(self, reason: str) -> None:
        """Count a refused or closed connection, and log it once a minute and reason."""
        self.refused_by_reason[reason] += 1
        self._counted_log.warning(_LOG_LINES[reason])

    def handle_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Count a failed accept; leave all else to the event loop."""
        error = context.get("exception")
        if isinstance(error, OSError) and error.errno in _ACCEPT_ERRORS:
            self.count_refused("accept_failed")
        else:
            loop.default_exception_handler(context)

    def _close_silent_or_idle(self) -> None:
        for connection, since in self._silent.items():
            if self.now() - since < _SILENT_SECONDS:
                break
            self.count_refused("descriptors")
            connection.transport.abort()
            self.remove_silent(connection)
            return
        self._close_longest_idle("descriptors")

    def _close_longest_idle(self, reason: str) -> bool:
        for connection in self._idle:
            self.count_refused(reason)
            connection.transport.abort()
            self.mark_busy(connection)  # it is closed only once
            return True
        return False


def _descriptor(transport: asyncio.BaseTransport) -> int:
    sock = transport.get_extra_info("socket")
    return -1 if sock is None else int(sock.fileno())


def descriptor_limit() -> int:
    """Return the limit of open files of this process."""
    if sys.platform == "win32":
        return _UNLIMITED
    import resource  # noqa: PLC0415 - not on Windows

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft if soft != resource.RLIM_INFINITY else _UNLIMITED


def warn_of_descriptors(max_connections: int, max_http_connections: int) -> None:
    """Log a warning if the limit of open files is too low for the limits of connections."""
    needed = max_connections + max_http_connections + RESERVED_DESCRIPTORS
    if (limit := descriptor_limit()) < needed:
        _log.warning(
            "the limit of open files is %d, too low for BRIDGE_LIMITS__CONNECTIONS=%d and"
            " BRIDGE_LIMITS__HTTP_CONNECTIONS=%d: clients beyond it are refused; raise it to %d"
            " (ulimit -n, LimitNOFILE=) or lower the settings limit=%d needed=%d",
            *(limit, max_connections, max_http_connections, needed, limit, needed),
        )
