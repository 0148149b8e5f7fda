"""All WebSockets of this instance: their beginning, their clock, their flushing and their end.

Rules: one timer looks after everybody, a slice of them at a time; and a refusal of who or what
comes after the upgrade, because browsers hide HTTP's answers to a WebSocket.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from msgspec import UNSET

from bridge.core import close as closes
from bridge.core import wire
from bridge.core.dialogue import Dialogue
from bridge.web import framing
from bridge.web.gate import Refused, bearer
from bridge.web.hello import BadRequest, from_query, header, wants_hello
from bridge.web.renewal import Renewals
from bridge.web.socket import Phase, Socket

if TYPE_CHECKING:
    from collections.abc import Awaitable, Coroutine, Iterable, Mapping
    from typing import TypeAlias

    from websockets.http11 import Request

    from bridge.core.close import Close
    from bridge.core.session import Session
    from bridge.web.entrance import Entrance
    from bridge.web.hello import Wish

    Ends: TypeAlias = Mapping[str, Mapping[int, int]]

PATH = "/ws"
#: Every socket is looked after once in SLICES * SLICE_SECONDS, or sooner.
SLICES = 20
SLICE_SECONDS = 0.05
#: Sockets flushed before heartbeats and handshakes get their turn.
FLUSH_SLICE = 256


class Sockets:
    """Every WebSocket of this instance."""

    def __init__(self, entrance: Entrance) -> None:
        self._entrance = entrance
        self._hub = entrance.hub
        self.limits = entrance.limits
        self.now = asyncio.get_running_loop().time
        self._slices: list[set[Socket]] = [set() for _ in range(SLICES)]
        # Everybody is looked after several times in a heartbeat, however short it is.
        self._pace = min(SLICE_SECONDS, self.limits.heartbeat / (4 * SLICES))
        self._turn = 0
        self._asking: set[asyncio.Task[None]] = set()
        self._renewals = Renewals(entrance, self.flush)
        self.closes = entrance.closes

    def __len__(self) -> int:
        return sum(map(len, self._slices))

    def make(self, **_: object) -> Socket:
        """Make one for uvicorn, which calls this as it would its own class."""
        return Socket(self)

    # -- coming ----------------------------------------------------------------------------------

    def refusal(self, request: Request) -> tuple[int, str] | None:
        """Why a handshake gets an HTTP error instead of an upgrade: a status and a sentence."""
        path, _, query = request.path.partition("?")
        if path != PATH:
            return 404, f"WebSockets are served at {PATH}"
        host, origin = header(request.headers, "Host"), header(request.headers, "Origin")
        if not self._entrance.doors.admits(host or "", origin):
            return 403, "this host or origin is not allowed here (BRIDGE_ALLOWED_ORIGINS)"
        try:
            if not wants_hello(query):
                self._entrance.wish(from_query(query))
        except BadRequest as error:
            return 400, str(error)
        return None

    def greet(self, socket: Socket, request: Request) -> None:
        """Take in a socket that was upgraded: admit it, or wait for its hello."""
        self._turn += 1
        self._slices[self._turn % SLICES].add(socket)
        query = request.path.partition("?")[2]
        forwarded = request.headers.get_all("X-Forwarded-For")
        socket.address = self._entrance.proxies.client(socket.address, forwarded)
        socket.bearer = bearer(header(request.headers, "Authorization"))
        try:
            self._entrance.knock(self.now())
        except Refused as refused:
            self.dismiss(socket, refused.close)
            return
        if wants_hello(query):
            socket.phase = Phase.HELLO
            socket.deadline = self.now() + self.limits.hello_seconds
        else:
            hello = from_query(query)
            self._admit(socket, hello, self._entrance.wish(hello))

    def _admit(self, socket: Socket, hello: wire.Hello, wish: Wish) -> None:
        hello.token, socket.bearer = socket.bearer or hello.token, None
        missing = self._entrance.missing(hello.token)
        if missing is None:
            self._let_in(socket, hello, wish)
        else:
            self._later(socket, self._let_in_after(missing, socket, hello, wish))

    async def _let_in_after(
        self, missing: Awaitable[None], socket: Socket, hello: wire.Hello, wish: Wish
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

    def _let_in(self, socket: Socket, hello: wire.Hello, wish: Wish) -> None:
        try:
            socket.session = session = self._entrance.admit(
                hello, wish, framing.text, socket, socket.address
            )
        except Refused as refused:
            self.dismiss(socket, refused.close)
            return
        questions = self._hub.questions(wish.cursor) if wish.cursor else []
        if questions:
            self._later(socket, self._ask(socket, session, wish, questions))
        else:
            self._open(socket, session, wish, {})

    async def _ask(
        self,
        socket: Socket,
        session: Session,
        wish: Wish,
        questions: list[tuple[str, int]],
    ) -> None:
        ends = await self._entrance.upstream.ends(questions)
        if socket.phase is not Phase.ASKING:
            return  # it has gone meanwhile
        if ends is None:
            self.dismiss(socket, closes.OVERLOADED)
            return
        socket.transport.resume_reading()
        self._open(socket, session, wish, ends)
        socket.listen()

    def _open(self, socket: Socket, session: Session, wish: Wish, ends: Ends) -> None:
        socket.phase = Phase.OPEN
        socket.dialogue = Dialogue(self._hub, session, self.limits.bounds)
        socket.deadline = self.now() + self.limits.heartbeat
        socket.progressed = self.now()
        self._entrance.welcome(session, wish, ends)
        self.flush()

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
            self.flush()

    def _hear_hello(self, socket: Socket, text: bytes | None) -> None:
        try:
            hello = wire.read_hello(text or b"")
            wish = self._entrance.wish(hello)
        except (wire.BadFrame, BadRequest) as error:
            why = closes.MISBEHAVING._replace(reason=f"misbehaving: {error}"[:120])
            self.dismiss(socket, why)
            return
        self._admit(socket, hello, wish)

    def violated(self, socket: Socket, violation: framing.Violation) -> None:
        """Close on a client that broke WebSocket itself, or sent too large a frame."""
        why = closes.MISBEHAVING._replace(code=violation.code, reason=violation.reason)
        self.dismiss(socket, why)

    def dismiss(self, socket: Socket, why: Close) -> None:
        """Close a socket, in whatever phase it is: a `closing` frame, then the close."""
        session = socket.session
        if socket.phase in {Phase.CLOSING, Phase.GONE} or (session and session.close):
            return  # the first reason is the one that is told
        if socket.live and session is not None:
            self._hub.hang_up(session, why)
            self.flush()
            return
        socket.transport.write(framing.text(wire.write(self._hub.farewell(why))))
        socket.say_goodbye(why)

    def flush(self) -> None:
        """Write what the hub has queued."""
        for session in self._hub.flushable():
            session.pipe.flush()

    async def flush_in_slices(self) -> None:
        """Write what the hub has queued, letting others have their turn in between.

        Cancellation: what was not written stays in the outboxes and goes out with the next flush
        of those sockets.
        """
        sessions = self._hub.flushable()
        for start in range(0, len(sessions), FLUSH_SLICE):
            if start:
                await asyncio.sleep(0)
            for session in sessions[start : start + FLUSH_SLICE]:
                session.pipe.flush()

    # -- the clock -------------------------------------------------------------------------------

    async def run(self) -> None:
        """Look after everybody until cancelled."""
        turn = 0
        while True:
            await asyncio.sleep(self._pace)
            turn = (turn + 1) % SLICES
            self._entrance.expire()
            self.look_after(tuple(self._slices[turn]), self.now())

    def look_after(self, sockets: Iterable[Socket], now: float) -> None:
        """Send what is due at `now`, and close on those who are late."""
        stale, too_stale = self._entrance.upstream.stale(), self._entrance.too_stale
        for socket in sockets:
            match socket.phase:
                case Phase.OPEN if too_stale:
                    self.dismiss(socket, closes.STALE)
                case Phase.OPEN if socket.session is not None:
                    self._look_after_open(socket, socket.session, now, stale)
                case Phase.HELLO if now >= socket.deadline:
                    self.dismiss(socket, closes.NO_HELLO)
                case Phase.LEAVING | Phase.CLOSING if now >= socket.deadline:
                    socket.transport.abort()  # close() would wait for one that stopped reading
        self.flush()

    def _look_after_open(
        self, socket: Socket, session: Session, now: float, stale: float | None
    ) -> None:
        if socket.moved() or not socket.unsent:
            socket.progressed = now
        elif now - socket.progressed >= self.limits.outbox_seconds:
            self._hub.hang_up(session, closes.SLOW)
        if session.close is not None:
            socket.phase = Phase.LEAVING
            socket.deadline = now + self.limits.close_seconds
        elif now >= socket.deadline:
            socket.deadline = now + self.limits.heartbeat
            # Who is not written to is slow, and not read from either.
            if not socket.paused and now - socket.heard >= 2 * self.limits.heartbeat:
                self._hub.hang_up(session, closes.SILENT)
            else:
                self._hub.beat(session, stale)
                socket.ping()

    # -- going -----------------------------------------------------------------------------------

    def forget(self, socket: Socket) -> None:
        """Let go of a socket that is gone."""
        for slice_ in self._slices:
            slice_.discard(socket)
        session, socket.session, socket.dialogue = socket.session, None, None
        if session is not None:
            self._entrance.leave(session)

    async def drain(self, seconds: float) -> None:
        """Say to everybody that this instance is leaving; return when all have gone.

        Those who are not gone after `seconds` are cut off.

        Cancellation: safe; those who are left stay connected.
        """
        self._entrance.draining = True
        deadline = self.now() + seconds
        for slice_ in self._slices:
            for socket in tuple(slice_):
                self.dismiss(socket, closes.DRAINING)
            await asyncio.sleep(0)
        while len(self) and self.now() < deadline:  # noqa: ASYNC110 - the clock's own pace
            await asyncio.sleep(SLICE_SECONDS)
        for slice_ in self._slices:
            for socket in tuple(slice_):
                socket.transport.abort()
        await asyncio.sleep(0)
