"""Receives a connection: its first bytes say whether it is a WebSocket's, or uvicorn's to read.

Rule: who opens a WebSocket as everybody does costs nothing of HTTP's machinery; for anybody else
nothing is different. Who says nothing is not waited for.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from bridge.web.transport import head, ws_handshake

if TYPE_CHECKING:
    from uvicorn import Config
    from uvicorn.server import ServerState


class Reception(asyncio.Protocol):
    """A connection of which nothing has come yet."""

    __slots__ = ("_awaited", "_config", "_state", "transport")

    def __init__(self, config: Config, server_state: ServerState, **_: Any) -> None:  # noqa: ANN401 - uvicorn's own
        self._config = config
        self._state = server_state
        self.transport: asyncio.Transport = cast("asyncio.Transport", None)
        self._awaited: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first bytes."""
        self.transport = cast("asyncio.Transport", transport)
        self._state.connections.add(cast("Any", self))  # uvicorn calls `shutdown` of each
        loop = asyncio.get_running_loop()
        self._awaited = loop.call_later(head.HEAD_SECONDS, self.transport.abort)

    def data_received(self, data: bytes) -> None:
        """Hand the connection to whom it is for, with these bytes."""
        self._settle()
        sockets: Any = self._config.ws_protocol_class  # ours; None where only HTTP is served
        opening = None if sockets is None else ws_handshake.glance(data)
        if opening is None:
            http = head.Http(self._config, self._state, {})
            self.transport.set_protocol(http)
            http.connection_made(self.transport)
            http.data_received(data)
        else:
            socket = sockets()
            self.transport.set_protocol(socket)
            socket.connection_made(self.transport)
            socket.shake_hands(*opening)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's own
        """Forget it."""
        self._settle()

    def shutdown(self) -> None:
        """Let go of it: the server ends."""
        self.transport.close()

    def _settle(self) -> None:
        self._state.connections.discard(cast("Any", self))
        if self._awaited is not None:
            self._awaited.cancel()
            self._awaited = None
