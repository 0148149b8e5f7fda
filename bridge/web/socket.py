"""One WebSocket: the protocol class that uvicorn hands an upgraded transport to.

Rules: `websockets` does the handshake and is let go after it; from then on the socket holds a
session and writes prepared frames. Nothing here waits: what the transport does not take stays in
the session's outbox, which has a ceiling, and a client that does not read is not read from.
"""

from __future__ import annotations

import asyncio
import logging
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Protocol, cast

from websockets.server import ServerProtocol

from bridge.core.session import State
from bridge.web import framing
from bridge.web.framing import Inbound, Message, Violation
from bridge.web.problems import problem

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    from websockets.http11 import Request, Response

    from bridge.core.close import Close
    from bridge.core.dialogue import Dialogue
    from bridge.core.session import Session
    from bridge.web.entrance import Limits

_log = logging.getLogger(__name__)
_quiet = logging.getLogger(f"{__name__}.handshake")
_quiet.setLevel(logging.CRITICAL)  # a rude client's handshake is its own affair

SUBPROTOCOL = "push-bridge.v1"
#: What the transport may hold of a client before frames wait in its outbox instead.
HIGH_WATER_BYTES = 64 * 1024
_PORTION_BYTES = 256 * 1024
# For what `websockets` does not take for a request at all.
_BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class Phase(Enum):
    """Where a socket is on its way."""

    HANDSHAKE = auto()
    HELLO = auto()  #: upgraded; the hello has not come yet
    ASKING = auto()  #: Kafka is asked something before the welcome
    OPEN = auto()
    LEAVING = auto()  #: hung up on; its last frames are on their way
    CLOSING = auto()  #: our close frame is out; the client's is awaited
    GONE = auto()


class Owner(Protocol):
    """What a socket asks of those who look after all of them. `now` is the loop's clock."""

    now: Callable[[], float]
    limits: Limits
    closes: Counter[int]

    def refusal(self, request: Request) -> tuple[int, str] | None:
        """Why a handshake is answered with an error: a status and a sentence."""

    def greet(self, socket: Socket, request: Request) -> None:
        """Take in a socket that was upgraded."""

    def hear(self, socket: Socket, text: bytes | None) -> None:
        """Take one message; None stands for one that is not text."""

    def violated(self, socket: Socket, violation: Violation) -> None:
        """Close on a client that broke WebSocket itself."""

    def forget(self, socket: Socket) -> None:
        """Let go of a socket that is gone."""


class Socket(asyncio.Protocol):
    """One client's connection. `heard` and `deadline` are on the loop's clock, in seconds."""

    __slots__ = (
        "_inbound",
        "_sent",
        "_sockets",
        "_taken",
        "_waiting",
        "address",
        "bearer",
        "deadline",
        "dialogue",
        "heard",
        "paused",
        "phase",
        "progressed",
        "session",
        "transport",
    )

    def __init__(self, sockets: Owner) -> None:
        self._sockets = sockets
        self._inbound: Inbound | None = None
        self._waiting: list[Message] | tuple[()] = ()  # read, and not listened to yet
        self.paused = False  # whether the transport holds so much that nothing more is written
        self._taken = 0  # bytes handed to the transport, and of them what the kernel had taken
        self._sent = 0
        self.transport: asyncio.Transport = cast("asyncio.Transport", None)
        self.session: Session | None = None
        self.dialogue: Dialogue | None = None
        self.phase = Phase.HANDSHAKE
        self.address = ""
        self.bearer: str | None = None  # the credential in a header, until it has been judged
        self.heard = self.deadline = self.progressed = 0.0

    # -- asyncio.Protocol ------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport over from uvicorn's HTTP protocol."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)
        peer = transport.get_extra_info("peername")
        self.address = peer[0] if peer else ""

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - nobody is to blame
        """Forget everything."""
        self.phase = Phase.GONE
        self._sockets.forget(self)

    def pause_writing(self) -> None:
        """Stop writing, and stop reading too: who does not read can not make us answer."""
        self.paused = True
        if self.phase is not Phase.GONE:
            self.transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on with both; only from now on can the client be called silent."""
        self.paused = False
        if self.phase is not Phase.GONE:
            self.heard = self._sockets.now()
            self.transport.resume_reading()
            self.flush()
            self.listen()

    def eof_received(self) -> None:
        """Let the transport close."""

    def data_received(self, data: bytes) -> None:
        """Read what the client sent."""
        self.heard = self._sockets.now()
        if self.phase is Phase.HANDSHAKE:
            self._shake_hands(data)
            return
        if self._inbound is None:
            self._inbound = Inbound(self._sockets.limits.frame_bytes)
        try:
            self._waiting = [*self._waiting, *self._inbound.feed(data)]
        except Violation as violation:
            self._sockets.violated(self, violation)
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
            refusal = self._sockets.refusal(cast("Request", request))
            if refusal is None:
                response = machine.accept(cast("Request", request))
            else:
                response = _rejected(machine, *refusal)
            machine.send_response(response)
            if response.status_code == 101:  # noqa: PLR2004
                self.transport.write(b"".join(machine.data_to_send()))
                self._sockets.greet(self, cast("Request", request))
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
                self._sockets.violated(self, violation)

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
                self._sockets.hear(self, payload)
            case framing.BINARY:
                self._sockets.hear(self, None)

    def _echo_close(self, payload: bytes) -> None:
        code = framing.close_code(payload)
        self.phase = Phase.CLOSING
        self.transport.write(
            framing.closing(code) if payload else framing.frame(framing.CLOSE, b"")
        )
        self.deadline = self._sockets.now() + self._sockets.limits.close_seconds
        self.transport.close()

    # -- writing ---------------------------------------------------------------------------------

    def flush(self) -> None:
        """Write what is queued, as far as the transport takes it; and then the close, if any."""
        session = self.session
        if session is None or self.phase not in {Phase.OPEN, Phase.LEAVING}:
            return
        outbox = session.outbox
        while outbox.pending and not self.paused:
            data = outbox.take(_PORTION_BYTES)
            self._taken += len(data)
            self.transport.write(data)
        if session.close is not None and not outbox.pending:
            self.say_goodbye(session.close)

    def say_goodbye(self, why: Close) -> None:
        """Send the close frame; the client has some seconds to answer it."""
        if self.session is None or self.session.close is None:
            self._sockets.closes[why.code] += 1  # the entrance counts those who were hung up on
        self.transport.write(framing.closing(why.code, why.reason))
        self.phase = Phase.CLOSING
        if not self.paused:
            self.transport.resume_reading()  # for the answer, where the welcome was awaited
        self.deadline = self._sockets.now() + self._sockets.limits.close_seconds

    def ping(self) -> None:
        """Ask for a pong, so that a client that only listens is heard of."""
        if not self.paused:
            self.transport.write(framing.PING_FRAME)

    @property
    def unsent(self) -> int:
        """Bytes that wait here or in the transport."""
        pending = self.session.outbox.pending if self.session is not None else 0
        return pending + self.transport.get_write_buffer_size()

    def moved(self) -> bool:
        """Whether the kernel has taken bytes since this was asked last."""
        sent = self._taken - self.transport.get_write_buffer_size()
        moved, self._sent = sent != self._sent, sent
        return moved

    @property
    def live(self) -> bool:
        """Whether its session is welcomed and not yet closing."""
        return self.session is not None and self.session.state is State.LIVE


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
