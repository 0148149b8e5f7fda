"""One WebSocket: the protocol class that uvicorn hands an upgraded transport to.

Rules: `websockets` does the handshake and is let go after it; from then on the socket holds a
session and writes prepared frames. Nothing here waits: what the transport does not take stays in
the session's outbox, which has a ceiling, and a client that does not read is not read from.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol, cast

from bridge.web.connections.connection import HIGH_WATER_BYTES, Keeper, Phase, Pipe
from bridge.web.transport import ws_framing, ws_handshake
from bridge.web.transport.ws_framing import Inbound, Message, Violation
from bridge.web.transport.ws_handshake import Refusal

if TYPE_CHECKING:
    import asyncio

    from bridge.core.protocol.close_codes import Close
    from bridge.core.sessions.requests import Dialogue
    from bridge.web.connections.connect_request import Asked
    from bridge.web.connections.turnstile import Turnstile
    from bridge.web.transport.ws_handshake import Opening

_NO_CODE = 1005  # what a close frame without a code stands for (RFC 6455, 7.4.1)


class Owner(Keeper, Protocol):
    """What a socket asks of those who talk with all of them."""

    door: Turnstile

    def judge(self, opening: Opening) -> Asked | Refusal:
        """Say what a client asks for, or why its handshake is answered with an error."""

    def greet(self, socket: Socket, opening: Opening, asked: Asked) -> None:
        """Take in a socket that was upgraded."""

    def hear(self, socket: Socket, text: bytes | None) -> None:
        """Take one message; None stands for one that is not text."""

    def violated(self, socket: Socket, violation: Violation) -> None:
        """Close on a client that broke WebSocket itself."""


class Socket(Pipe):
    """One client's WebSocket."""

    kind = "websocket"
    wrap = staticmethod(ws_framing.text)

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
            self.flush()
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

    def shake_hands(self, opening: Opening, accepted: bytes) -> None:
        """Open by a request that `accepted` answers, unless its sender is not let in."""
        if not self._owner.door.come(partial(self._come_in, opening, accepted)):
            self.transport.pause_reading()

    def _come_in(self, opening: Opening, accepted: bytes) -> None:
        self.transport.resume_reading()  # one that has gone meanwhile is noticed from here on
        self.heard = self._keeper.now()
        asked = self._owner.judge(opening)
        if isinstance(asked, Refusal):
            self._turn_down(ws_handshake.refused(asked))
            return
        self._ahead = accepted  # goes out with the first frame, if there is one at once
        self._owner.greet(self, opening, asked)
        if self._ahead:
            self._write(b"")

    def _shake_hands(self, data: bytes) -> None:
        opening, answer = ws_handshake.judged(data, self._refusal)
        if opening is None:
            self._turn_down(answer)
        else:
            self.shake_hands(opening, answer)

    def _refusal(self, opening: Opening) -> Refusal | None:
        asked = self._owner.judge(opening)
        return asked if isinstance(asked, Refusal) else None

    def _turn_down(self, answer: bytes) -> None:
        self.transport.write(answer)
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
            if opcode == ws_framing.CLOSE:
                self.transport.close()
            return
        match opcode:
            case ws_framing.PING:
                self.transport.write(ws_framing.frame(ws_framing.PONG, payload))
            case ws_framing.CLOSE:
                self._echo_close(payload)
            case ws_framing.TEXT:
                self._owner.hear(self, payload)
            case ws_framing.BINARY:
                self._owner.hear(self, None)

    def _echo_close(self, payload: bytes) -> None:
        code = ws_framing.close_code(payload)
        if self.session is not None:
            self.session.left = code if payload else _NO_CODE
        self.phase = Phase.CLOSING
        self.transport.write(
            ws_framing.closing(code) if payload else ws_framing.frame(ws_framing.CLOSE, b"")
        )
        self.deadline = self._keeper.now() + self._keeper.limits.close_seconds
        self.transport.close()

    # -- writing ---------------------------------------------------------------------------------

    def say_goodbye(self, why: Close) -> None:
        """Send the close frame; the client has some seconds to answer it."""
        self.transport.write(ws_framing.closing(why.code, why.reason))
        super().say_goodbye(why)
        if not self.paused:
            self.transport.resume_reading()  # for the answer, where the welcome was awaited

    def is_silent(self, now: float) -> bool:
        """Whether nothing was heard for two heartbeats; who is not written to is slow instead."""
        return not self.paused and now - self.heard >= 2 * self._keeper.limits.heartbeat

    def ping(self) -> None:
        """Ask for a pong, so that a client that only listens is heard of."""
        if not self.paused:
            self.transport.write(ws_framing.PING_FRAME)
