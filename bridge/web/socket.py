"""One WebSocket: the protocol class that uvicorn hands an upgraded transport to.

Rules: `websockets` does the handshake and is let go after it; from then on the socket holds a
session and writes prepared frames. Nothing here waits: what the transport does not take stays in
the session's outbox, which has a ceiling, and a client that does not read is not read from.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Protocol, cast

from websockets.server import ServerProtocol

from bridge.web import framing
from bridge.web.framing import Inbound, Message, Violation
from bridge.web.pipe import HIGH_WATER_BYTES, Keeper, Phase, Pipe
from bridge.web.problems import problem

if TYPE_CHECKING:
    import asyncio

    from websockets.http11 import Request, Response

    from bridge.core.close import Close
    from bridge.core.dialogue import Dialogue

_log = logging.getLogger(__name__)
_quiet = logging.getLogger(f"{__name__}.handshake")
_quiet.setLevel(logging.CRITICAL)  # a rude client's handshake is its own affair

SUBPROTOCOL = "push-bridge.v1"
_NO_CODE = 1005  # what a close frame without a code stands for (RFC 6455, 7.4.1)
# For what `websockets` does not take for a request at all.
_BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class Owner(Keeper, Protocol):
    """What a socket asks of those who talk with all of them."""

    def refusal(self, request: Request) -> tuple[int, str] | None:
        """Why a handshake is answered with an error: a status and a sentence."""

    def greet(self, socket: Socket, request: Request) -> None:
        """Take in a socket that was upgraded."""

    def hear(self, socket: Socket, text: bytes | None) -> None:
        """Take one message; None stands for one that is not text."""

    def violated(self, socket: Socket, violation: Violation) -> None:
        """Close on a client that broke WebSocket itself."""


class Socket(Pipe):
    """One client's WebSocket."""

    kind = "websocket"
    wrap = staticmethod(framing.text)

    __slots__ = ("_inbound", "_owner", "_waiting", "bearer", "dialogue")

    def __init__(self, owner: Owner) -> None:
        super().__init__(owner)
        self._owner = owner
        self._inbound: Inbound | None = None
        self._waiting: list[Message] | tuple[()] = ()  # read, and not listened to yet
        self.dialogue: Dialogue | None = None
        self.bearer: str | None = None  # the credential in a header, until it has been judged

    # -- asyncio.Protocol ------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport over from uvicorn's HTTP protocol."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)
        peer = transport.get_extra_info("peername")
        self.address = peer[0] if peer else ""

    def pause_writing(self) -> None:
        """Stop writing, and stop reading too: who does not read can not make us answer."""
        super().pause_writing()
        if self.phase is not Phase.GONE:
            self.transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on with both; only from now on can the client be called silent."""
        self.paused = False
        if self.phase is not Phase.GONE:
            self.heard = self._keeper.now()
            self.transport.resume_reading()
            self._pump()
            self.listen()

    def data_received(self, data: bytes) -> None:
        """Read what the client sent."""
        self.heard = self._keeper.now()
        if self.phase is Phase.HANDSHAKE:
            self._shake_hands(data)
            return
        if self._inbound is None:
            self._inbound = Inbound(self._keeper.limits.frame_bytes)
        try:
            self._waiting = [*self._waiting, *self._inbound.feed(data)]
        except Violation as violation:
            self._owner.violated(self, violation)
        self.listen()

    # -- the handshake ---------------------------------------------------------------------------

    def _shake_hands(self, data: bytes) -> None:
        machine = ServerProtocol(
            subprotocols=[SUBPROTOCOL],  # type: ignore[list-item]
            select_subprotocol=_select,
            logger=_quiet,
        )
        machine.receive_data(data)
        for request in machine.events_received():
            refusal = self._owner.refusal(cast("Request", request))
            if refusal is None:
                response = machine.accept(cast("Request", request))
            else:
                response = _rejected(machine, *refusal)
            machine.send_response(response)
            if response.status_code == 101:  # noqa: PLR2004
                self.transport.write(b"".join(machine.data_to_send()))
                self._owner.greet(self, cast("Request", request))
                return
        self.transport.write(b"".join(machine.data_to_send()) or _BAD_REQUEST)
        self.transport.close()

    # -- reading ---------------------------------------------------------------------------------

    def listen(self) -> None:
        """Take in what was read, as far as it can be answered now."""
        messages, self._waiting = self._waiting, ()
        for number, message in enumerate(messages):
            if self.paused or self.phase is Phase.ASKING:
                self._waiting = [*messages[number:]]
                return
            try:
                self._receive(*message)
            except Violation as violation:
                self._owner.violated(self, violation)

    def _receive(self, opcode: int, payload: bytes) -> None:
        if self.phase not in {Phase.HELLO, Phase.ASKING, Phase.OPEN}:
            if opcode == framing.CLOSE:
                self.transport.close()
            return
        match opcode:
            case framing.PING:
                self.transport.write(framing.frame(framing.PONG, payload))
            case framing.CLOSE:
                self._echo_close(payload)
            case framing.TEXT:
                self._owner.hear(self, payload)
            case framing.BINARY:
                self._owner.hear(self, None)

    def _echo_close(self, payload: bytes) -> None:
        code = framing.close_code(payload)
        if self.session is not None:
            self.session.left = code if payload else _NO_CODE
        self.phase = Phase.CLOSING
        self.transport.write(
            framing.closing(code) if payload else framing.frame(framing.CLOSE, b"")
        )
        self.deadline = self._keeper.now() + self._keeper.limits.close_seconds
        self.transport.close()

    # -- writing ---------------------------------------------------------------------------------

    def say_goodbye(self, why: Close) -> None:
        """Send the close frame; the client has some seconds to answer it."""
        self.transport.write(framing.closing(why.code, why.reason))
        super().say_goodbye(why)
        if not self.paused:
            self.transport.resume_reading()  # for the answer, where the welcome was awaited

    def is_silent(self, now: float) -> bool:
        """Whether nothing was heard for two heartbeats; who is not written to is slow instead."""
        return not self.paused and now - self.heard >= 2 * self._keeper.limits.heartbeat

    def ping(self) -> None:
        """Ask for a pong, so that a client that only listens is heard of."""
        if not self.paused:
            self.transport.write(framing.PING_FRAME)


def _rejected(machine: ServerProtocol, status: int, detail: str) -> Response:
    """Return the answer instead of an upgrade, in the form that all of HTTP's errors have."""
    told = problem(status, detail)
    response = machine.reject(status, bytes(told.body).decode())
    del response.headers["Content-Type"]
    response.headers["Content-Type"] = told.headers["Content-Type"]
    return response


def _select(_machine: ServerProtocol, offered: Any) -> Any:  # noqa: ANN401 - websockets' NewType
    """Choose our subprotocol where it is offered, and none where none of ours is."""
    return SUBPROTOCOL if SUBPROTOCOL in offered else None
