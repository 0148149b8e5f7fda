"""The clients that speak WebSocket: how they come in, and what they say.

Rule: a refusal of who or what comes after the upgrade, because browsers hide HTTP's answers to a
WebSocket.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from msgspec import UNSET

from bridge.core.protocol import close_codes as closes
from bridge.core.protocol import frames
from bridge.core.sessions.requests import Dialogue
from bridge.web.auth.authenticator import Refused, bearer
from bridge.web.connections.connect_request import Asked, BadRequest, asked
from bridge.web.connections.connection import Phase
from bridge.web.connections.renewal import Renewals
from bridge.web.connections.socket import Socket
from bridge.web.connections.turnstile import Turnstile
from bridge.web.transport.ws_handshake import Refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Coroutine

    from bridge.core.sessions.session import Session
    from bridge.web.connections.admission import Entrance
    from bridge.web.connections.connect_request import Wish
    from bridge.web.connections.connection import Pipe
    from bridge.web.connections.pool import Sockets
    from bridge.web.transport import ws_framing
    from bridge.web.transport.ws_handshake import Opening

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
