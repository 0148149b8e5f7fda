"""One event stream: the protocol class that takes a connection over from HTTP.

Rules: after the head nothing of HTTP's machinery is left, so a stream costs what a WebSocket
does; and what a client sends on it means nothing. One that has vanished is noticed by the kernel,
because there is nothing that it could answer.
"""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING, Final, Protocol

from bridge.web.connections.connection import HIGH_WATER_BYTES, Keeper, Pipe
from bridge.web.transport import sse_format

if TYPE_CHECKING:
    import asyncio

    from bridge.core.protocol.close_codes import Close
    from bridge.core.sessions.session import Session

#: On a stream without events something goes out as often, for proxies that would take it for dead.
COMMENT_SECONDS: Final = 15.0
_USER_TIMEOUT: Final = getattr(socket, "TCP_USER_TIMEOUT", None)  # Linux has it
_LAST_CHUNK: Final = b"0\r\n\r\n"


class Owner(Keeper, Protocol):
    """What a stream asks of those who have opened it."""

    def cursor(self, session: Session) -> str:
        """The cursor that covers exactly what `session` has been handed."""


class Stream(Pipe):
    """One client's event stream."""

    kind = "sse"
    wrap = staticmethod(sse_format.wrap)

    __slots__ = ("_chunked", "_owner", "_spoke")

    def __init__(self, owner: Owner) -> None:
        super().__init__(owner)
        self._owner = owner
        self._chunked = False
        self._spoke = 0.0

    def take(self, transport: asyncio.Transport, head: bytes, *, chunked: bool) -> None:
        """Take over `transport`, and answer with `head`."""
        self.transport = transport
        self._chunked = chunked
        limits = self._keeper.limits
        transport.set_protocol(self)
        transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)
        if _USER_TIMEOUT is not None:
            # What is sent has to be acknowledged within two heartbeats; who reads slowly has as
            # long as for its outbox.
            seconds = max(2 * limits.heartbeat, limits.outbox_seconds + limits.close_seconds)
            connection = transport.get_extra_info("socket")
            with contextlib.suppress(OSError):  # it has gone
                connection.setsockopt(socket.IPPROTO_TCP, _USER_TIMEOUT, int(seconds * 1000))
        self._spoke = self.heard = self._keeper.now()
        transport.write(head)

    def data_received(self, data: bytes) -> None:  # noqa: ARG002 - whatever it is
        """Pass over it: a client that is known here only listens."""
        self.heard = self._keeper.now()

    # -- writing ---------------------------------------------------------------------------------

    def flush(self) -> None:
        """Write what was queued, and behind it the cursor that covers it."""
        session = self.session
        if session is not None and session.welcomed and session.outbox.pending:
            session.outbox.force(sse_format.mark(self._owner.cursor(session)))
        super().flush()

    def tend(self, now: float) -> None:
        """Let something be seen on a stream on which nothing happens."""
        if now - self._spoke >= COMMENT_SECONDS and not self.paused:
            self._write(sse_format.COMMENT)

    def say_goodbye(self, why: Close) -> None:
        """End the answer; the client has some seconds to read the rest."""
        super().say_goodbye(why)
        if self._chunked:
            self.transport.write(_LAST_CHUNK)
        self.transport.close()

    def _write(self, data: bytes) -> None:
        self._spoke = self._keeper.now()
        if not self._chunked:
            super()._write(data)
            return
        size = b"%x\r\n" % len(data)
        self._taken += len(size) + len(data) + 2
        self.transport.writelines((size, data, b"\r\n"))
