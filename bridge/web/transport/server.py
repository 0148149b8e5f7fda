"""uvicorn's server with a drain before its shutdown.

Rule: all clients are closed with 4001, new ones too; then the listener closes, and HTTP ends.
uvicorn itself would close WebSockets with 1012 first.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import signal
from functools import partial
from typing import TYPE_CHECKING, Any

from bridge.web.transport.http_connections import HttpConnections
from bridge.web.transport.http_protocol import FirstBytesProtocol
from bridge.web.transport.uvicorn_internals import Config, Server, check_uvicorn

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Iterator
    from types import FrameType

    from starlette.types import ASGIApp

_log = logging.getLogger(__name__)

BACKLOG = 4096
#: HTTP requests may run this much longer than the drain.
SHUTDOWN_TIMEOUT_SECONDS = 3
_CUT_OFF_SECONDS = 1  # for the answers to requests that the shutdown cut off
_DRAIN_POLL_SECONDS = 0.1


class DrainingServer(Server):
    """Serves an app and its WebSockets on one listener until a signal; then drains."""

    def __init__(
        self,
        app: ASGIApp,
        create_connection: Callable[..., Any] | None,
        drain: Callable[[], Awaitable[None]],
        *,
        begin_drain: Callable[[], None] | None = None,
        on_hangup: Callable[[], None] | None = None,
        drain_seconds: float = 0.0,
        http_connections: HttpConnections | None = None,
        shutdown_timeout_seconds: int = SHUTDOWN_TIMEOUT_SECONDS,
    ) -> None:
        """SIGINT or SIGTERM calls `begin_drain` at once, and `drain` soon after.

        SIGHUP calls `on_hangup`; without it the signal is left alone. HTTP requests get 503
        `drain_seconds + shutdown_timeout_seconds` after the drain began.
        """
        check_uvicorn()
        self._on_hangup = on_hangup
        self.http_connections = (
            http_connections if http_connections is not None else HttpConnections()
        )
        super().__init__(
            Config(
                app,
                http=partial(FirstBytesProtocol, connections=self.http_connections),  # type: ignore[arg-type]  # any callable serves
                ws=create_connection if create_connection is not None else "none",  # type: ignore[arg-type]  # any callable serves
                lifespan="off",
                log_config=None,
                access_log=False,  # it would show the tokens in URLs
                server_header=False,
                proxy_headers=False,  # BRIDGE_TRUSTED_PROXIES decides
                backlog=BACKLOG,
                timeout_graceful_shutdown=math.ceil(drain_seconds)
                + shutdown_timeout_seconds
                + _CUT_OFF_SECONDS,
            )
        )
        self._drain = drain
        self._begin_drain = begin_drain
        self._http_timeout_seconds = drain_seconds + shutdown_timeout_seconds

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve on `sockets` until the end."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self.http_connections.handle_loop_error)
        try:
            await super().serve(sockets)
        finally:
            loop.set_exception_handler(None)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Drain on SIGINT or SIGTERM; a second one ends the drain.

        uvicorn would raise them again at its end, before the other parts are closed.
        """
        loop = asyncio.get_running_loop()
        for signal_number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(signal_number, self.handle_exit, signal_number, None)
        handled = [signal.SIGINT, signal.SIGTERM]
        if self._on_hangup is not None and hasattr(signal, "SIGHUP"):  # not on Windows
            loop.add_signal_handler(signal.SIGHUP, self._on_hangup)
            handled.append(signal.SIGHUP)
        try:
            yield
        finally:
            for signal_number in handled:
                loop.remove_signal_handler(signal_number)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Start the drain; any second signal ends it."""
        self.force_exit = self.should_exit
        super().handle_exit(sig, frame)
        self.request_exit()

    def request_exit(self) -> None:
        """Drain and end, as after a signal."""
        if self._begin_drain is not None:
            self._begin_drain()  # the server's own timer looks 0.1 s later
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain, then run uvicorn's shutdown, which closes the listener first."""
        loop = asyncio.get_running_loop()
        http_deadline = loop.time() + self._http_timeout_seconds
        drain_task = asyncio.ensure_future(self._drain())
        while not drain_task.done() and not self.force_exit:
            await asyncio.wait([drain_task], timeout=_DRAIN_POLL_SECONDS)
        if drain_task.cancel():
            _log.warning("a second signal: ending at once, the clients that are left are cut off")
        with contextlib.suppress(asyncio.CancelledError):
            await drain_task
        cut_off = loop.call_at(http_deadline, self._cut_off_requests)
        try:
            await super().shutdown(sockets)
        finally:
            cut_off.cancel()

    def _cut_off_requests(self) -> None:
        """Answer 503 to the requests that still run, then close what is still open."""
        if self.server_state.tasks:
            _log.warning(
                "%d requests had no answer in time and got 503; Kafka or a client is slow",
                len(self.server_state.tasks),
            )
        for task in self.server_state.tasks:
            task.cancel()
        asyncio.get_running_loop().call_later(_CUT_OFF_SECONDS / 2, self._abort_connections)

    def _abort_connections(self) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.abort()
