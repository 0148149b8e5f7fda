"""Reads the first bytes of a connection, and limits the head of each HTTP request.

Rule: ordinary WebSocket upgrades are answered here, without uvicorn's HTTP parser. Everything else
goes to uvicorn unchanged. A connection that sends no head for 10 s is closed.
"""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from bridge.web.transport import ws_handshake
from bridge.web.transport.uvicorn_internals import HttpToolsProtocol

if TYPE_CHECKING:
    from httptools import HttpRequestParser

    from bridge.web.transport.uvicorn_internals import (
        Config,
        RequestResponseCycle,
        ServerState,
    )

MAX_HEAD_BYTES: Final = 64 * 1024
HEAD_TIMEOUT_SECONDS: Final = 10.0
_HEAD_TOO_LARGE_RESPONSE: Final = b"\r\n".join(
    [
        b"HTTP/1.1 431 Request Header Fields Too Large",
        b"Connection: close",
        b"Content-Length: 0",
        b"",
        b"",
    ]
)
#: The ASGI extension with the `TakeOver` of a request's connection.
TAKE_OVER_EXTENSION: Final = "push_bridge.take_over"


class DetachedConnection(NamedTuple):
    """A connection, and the headers that every response has."""

    transport: asyncio.Transport
    default_headers: list[tuple[bytes, bytes]]


class TakeOver:
    """Takes a connection away from uvicorn, for a response that is not written by ASGI."""

    __slots__ = ("_cycle", "_http")

    def __init__(self, http: HttpProtocol, cycle: RequestResponseCycle) -> None:
        # Weak: both hold the scope, which holds this.
        self._http = weakref.ref(http)
        self._cycle = weakref.ref(cycle)

    def __call__(self) -> DetachedConnection | None:
        """Return the connection, which uvicorn then forgets; None if it is lost.

        The ASGI response of the application is discarded from then on.
        """
        http, cycle = self._http(), self._cycle()
        if http is None or cycle is None or cycle.disconnected or http.transport.is_closing():
            return None
        cycle.disconnected = True
        return http.detach()


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's protocol with a size and a time limit on each request's head."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(*args, **kwargs)
        self.access_log = False  # uvicorn asks only whether anybody listens; tokens are in URLs
        self._head_timer: asyncio.TimerHandle | None = None  # while a head has not ended
        self._head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the time limit of the first head."""
        super().connection_made(transport)
        self._start_head_timer()

    def on_message_begin(self) -> None:
        """Start the time limit of the next head."""
        super().on_message_begin()
        self._cancel_head_timer()
        self._start_head_timer()

    def on_headers_complete(self) -> None:
        """Stop the time limit, and offer the connection to the application."""
        self._cancel_head_timer()
        super().on_headers_complete()
        if self.cycle is not None and self.cycle.scope is self.scope:
            take_over: Any = TakeOver(self, self.cycle)
            self.scope["extensions"] = {TAKE_OVER_EXTENSION: take_over}

    def detach(self) -> DetachedConnection:
        """Give up the connection; pipelined requests get no response."""
        self.connections.discard(self)
        self._cancel_head_timer()
        self.flow.resume_reading()  # they had stopped it
        self.parser = cast("HttpRequestParser", None)  # it holds this; uvicorn ends it so, too
        return DetachedConnection(self.transport, self.server_state.default_headers)

    def data_received(self, data: bytes) -> None:
        """Parse, and answer 431 if the head is too large."""
        head_timer = self._head_timer
        super().data_received(data)
        if head_timer is not None and self._head_timer is head_timer:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self.transport.write(_HEAD_TOO_LARGE_RESPONSE)
                self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the time limit."""
        self._cancel_head_timer()
        super().connection_lost(exc)

    def _start_head_timer(self) -> None:
        self._head_bytes = 0
        self._head_timer = self.loop.call_later(HEAD_TIMEOUT_SECONDS, self.transport.abort)

    def _cancel_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class FirstBytesProtocol(asyncio.Protocol):
    """A connection that has sent nothing yet."""

    __slots__ = ("_config", "_first_bytes_timer", "_server_state", "transport")

    def __init__(self, config: Config, server_state: ServerState, **_: Any) -> None:  # noqa: ANN401 - uvicorn's own
        self._config = config
        self._server_state = server_state
        self.transport: asyncio.Transport = cast("asyncio.Transport", None)
        self._first_bytes_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the time limit of the first bytes."""
        self.transport = cast("asyncio.Transport", transport)
        self._server_state.connections.add(cast("Any", self))  # uvicorn calls `shutdown` of each
        loop = asyncio.get_running_loop()
        self._first_bytes_timer = loop.call_later(HEAD_TIMEOUT_SECONDS, self.transport.abort)

    def data_received(self, data: bytes) -> None:
        """Hand the connection and these bytes to the WebSocket or the HTTP protocol."""
        self._stop_waiting()
        create_connection: Any = (
            self._config.ws_protocol_class
        )  # ours; None where only HTTP is served
        handshake = None if create_connection is None else ws_handshake.try_fast_handshake(data)
        if handshake is None:
            http_protocol = HttpProtocol(self._config, self._server_state, {})
            self.transport.set_protocol(http_protocol)
            http_protocol.connection_made(self.transport)
            http_protocol.data_received(data)
        else:
            connection = create_connection()
            self.transport.set_protocol(connection)
            connection.connection_made(self.transport)
            connection.start_handshake(*handshake)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's own
        """Stop the time limit."""
        self._stop_waiting()

    def shutdown(self) -> None:
        """Close: the server ends."""
        self.transport.close()

    def _stop_waiting(self) -> None:
        self._server_state.connections.discard(cast("Any", self))
        if self._first_bytes_timer is not None:
            self._first_bytes_timer.cancel()
            self._first_bytes_timer = None
