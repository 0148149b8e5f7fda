"""The clients that speak WebSocket: how they come in, and what they say.

Rule: a refusal of who or what comes after the upgrade, because browsers hide HTTP's answers to a
WebSocket.
"""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from msgspec import UNSET

from bridge.core.protocol import close_codes as closes
from bridge.core.protocol import frames
from bridge.core.sessions.requests import Dialogue
from bridge.web.auth.authenticator import Refused, bearer
from bridge.web.connections.connect_request import Asked, BadRequest, asked
from bridge.web.connections.connection import HIGH_WATER_BYTES, Keeper, Phase, Pipe
from bridge.web.transport import ws_framing, ws_handshake
from bridge.web.transport.ws_framing import Inbound, Message, Violation
from bridge.web.transport.ws_handshake import Refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from bridge.core.protocol.close_codes import Close
    from bridge.core.protocol.frames import Token
    from bridge.core.sessions.session import Session
    from bridge.web.connections.admission import Entrance
    from bridge.web.connections.connect_request import Wish
    from bridge.web.connections.pool import Sockets
    from bridge.web.transport.ws_handshake import Opening

#: At some tenths of a millisecond each.
PER_TURN: Final = 32


class Turnstile:
    """One door of this instance."""

    def __init__(self) -> None:
        self._call_soon = asyncio.get_running_loop().call_soon
        self._left = PER_TURN  # who may still come in in this turn; all, where none is awaited
        self._waiting: deque[Callable[[], object]] = deque()

    def come(self, enter: Callable[[], object]) -> bool:
        """Call `enter` now or in its turn; tell whether it was now."""
        if self._left == PER_TURN:
            self._call_soon(self._turn)
        if not self._left:
            self._waiting.append(enter)
            return False
        self._left -= 1
        enter()
        return True

    def _turn(self) -> None:
        self._left = PER_TURN - min(PER_TURN, len(self._waiting))
        if self._waiting:
            self._call_soon(self._turn)
        for _ in range(PER_TURN - self._left):
            # By itself, so that what fails there fails alone.
            self._call_soon(self._waiting.popleft())


class Renewals:
    """Judges the tokens of live sessions; `flush` writes what was answered later."""

    def __init__(self, entrance: Entrance, flush: Callable[[], None]) -> None:
        self._entrance = entrance
        self._flush = flush
        self._waiting: dict[Session, asyncio.Task[None]] = {}

    def renew(self, session: Session, token: Token) -> None:
        """Answer `token`, at once or once its key is there."""
        if session in self._waiting:
            reason = "the token before is still being judged"
            self._entrance.hub.refuse(session, "limit", reason, token.id)
            return
        missing = self._entrance.missing(token.token)
        if missing is None:
            self._entrance.renew(session, token)
        else:
            self._waiting[session] = asyncio.create_task(self._renew(missing, session, token))

    async def _renew(self, missing: Awaitable[None], session: Session, token: Token) -> None:
        await missing
        del self._waiting[session]
        if session.welcomed:
            self._entrance.renew(session, token)
            self._flush()


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


PATH = "/ws"


class WebSockets:
    """Talks with everybody who has come by WebSocket; `sockets` looks after them."""

    def __init__(self, entrance: Entrance, sockets: Sockets) -> None:
        self._entrance = entrance
        self._hub = entrance.hub
        self._sockets = sockets
        self.limits = entrance.limits
        self.closes = entrance.closes
        self.now = sockets.now
        self.door = Turnstile()
        self._asking: set[asyncio.Task[None]] = set()
        self._renewals = Renewals(entrance, sockets.flush)

    def make(self, **_: object) -> Socket:
        """Make one for uvicorn, which calls this as it would its own class."""
        return Socket(self)

    # -- coming ----------------------------------------------------------------------------------

    def judge(self, opening: Opening) -> Asked | Refusal:
        """Say what a client asks for, or why its handshake gets an HTTP error."""
        path, _, query = opening.target.partition("?")
        if path != PATH:
            return Refusal(404, f"WebSockets are served at {PATH}")
        if not self._entrance.doors.admits(opening.header("host") or "", opening.header("origin")):
            self._entrance.refused["origin"] += 1
            return Refusal(403, "this host or origin is not allowed here (BRIDGE_ALLOWED_ORIGINS)")
        try:
            hello = asked(query)
            return Asked(hello, None if hello is None else self._entrance.wish(hello))
        except BadRequest as error:
            self._entrance.refused["bad_request"] += 1
            return Refusal(400, str(error))

    def greet(self, socket: Socket, opening: Opening, asked: Asked) -> None:
        """Take in a socket that was upgraded: admit it, or wait for its hello."""
        self._sockets.add(socket)
        forwarded = opening.headers.get("x-forwarded-for", ())
        socket.address = self._entrance.proxies.client(socket.address, forwarded)
        socket.bearer = bearer(opening.header("authorization"))
        try:
            self._entrance.knock(self.now())
        except Refused as refused:
            self._refuse(socket, refused)
            return
        if asked.hello is None or asked.wish is None:
            socket.phase = Phase.HELLO
            socket.deadline = self.now() + self.limits.hello_seconds
        else:
            self._admit(socket, asked.hello, asked.wish)

    def _admit(self, socket: Socket, hello: frames.Hello, wish: Wish) -> None:
        hello.token, socket.bearer = socket.bearer or hello.token, None
        missing = self._entrance.missing(hello.token)
        if missing is None:
            self._let_in(socket, hello, wish)
        else:
            self._later(socket, self._let_in_after(missing, socket, hello, wish))

    async def _let_in_after(
        self, missing: Awaitable[None], socket: Socket, hello: frames.Hello, wish: Wish
    ) -> None:
        await missing
        if socket.phase is Phase.ASKING:
            socket.transport.resume_reading()
            self._let_in(socket, hello, wish)
            socket.listen()

    def _later(self, socket: Socket, work: Coroutine[Any, Any, None]) -> None:
        socket.phase = Phase.ASKING
        socket.transport.pause_reading()  # what the client says meanwhile has to wait
        task = asyncio.create_task(work)
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    def _let_in(self, socket: Socket, hello: frames.Hello, wish: Wish) -> None:
        try:
            socket.session = session = self._entrance.admit(
                hello, wish, socket.wrap, socket, socket.address
            )
        except Refused as refused:
            self._refuse(socket, refused)
            return
        if self._entrance.must_ask(session, wish):
            self._later(socket, self._open_later(socket, session, wish))
        else:
            self._open(socket, session, wish)

    async def _open_later(self, socket: Socket, session: Session, wish: Wish) -> None:
        try:
            found = await self._entrance.find(session, wish)
        except Refused as refused:
            self._refuse(socket, refused)
            return
        if socket.phase is not Phase.ASKING:
            return  # it has gone meanwhile
        socket.transport.resume_reading()
        self._open(socket, session, found)
        socket.listen()

    def _open(self, socket: Socket, session: Session, wish: Wish) -> None:
        socket.dialogue = Dialogue(self._hub, session, self.limits.bounds)
        socket.open()
        self._entrance.welcome(session, wish)
        self._sockets.flush()

    def _refuse(self, socket: Socket, refused: Refused) -> None:
        self._entrance.refused[refused.word] += 1
        self._sockets.dismiss(socket, refused.close)

    # -- talking ---------------------------------------------------------------------------------

    def hear(self, socket: Socket, text: bytes | None) -> None:
        """Take one message of a client; None stands for one that is not text."""
        if socket.phase is Phase.HELLO:
            self._hear_hello(socket, text)
        elif socket.live and socket.dialogue is not None and socket.session is not None:
            if text is None:
                socket.dialogue.complain("a frame is text, not bytes", UNSET, self.now())
            elif token := socket.dialogue.hear(text, self.now(), self._entrance.upstream.stale()):
                self._renewals.renew(socket.session, token)
            self._sockets.flush()

    def _hear_hello(self, socket: Socket, text: bytes | None) -> None:
        try:
            hello = frames.read_hello(text or b"")
            wish = self._entrance.wish(hello)
        except (frames.BadFrame, BadRequest) as error:
            why = closes.MISBEHAVING._replace(reason=f"misbehaving: {error}"[:120])
            self._entrance.refused["bad_request"] += 1
            self._sockets.dismiss(socket, why)
            return
        self._admit(socket, hello, wish)

    def violated(self, socket: Socket, violation: ws_framing.Violation) -> None:
        """Close on a client that broke WebSocket itself, or sent too large a frame."""
        why = closes.MISBEHAVING._replace(code=violation.code, reason=violation.reason)
        self._sockets.dismiss(socket, why)

    # -- going -----------------------------------------------------------------------------------

    def forget(self, pipe: Pipe, why: Exception | None) -> None:
        """Let go of a socket that is gone."""
        if isinstance(pipe, Socket):
            pipe.dialogue = None
        self._sockets.forget(pipe, why)
