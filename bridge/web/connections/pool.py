"""All connections of this instance, whatever is spoken on them: clock, flushing and end.

Rule: one timer looks after everybody, a slice of them at a time.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from bridge.core.protocol import close_codes as closes
from bridge.core.protocol import frames
from bridge.web.connections.connection import Phase

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.core.protocol.close_codes import Close
    from bridge.core.sessions.session import Session
    from bridge.web.connections.admission import Entrance
    from bridge.web.connections.connection import Pipe

#: Every connection is looked after once in SLICES * SLICE_SECONDS, or sooner.
SLICES = 20
SLICE_SECONDS = 0.05
#: Connections flushed before heartbeats and handshakes get their turn.
FLUSH_SLICE = 256


class Sockets:
    """Every connection of this instance."""

    def __init__(self, entrance: Entrance) -> None:
        self._entrance = entrance
        self._hub = entrance.hub
        self.limits = entrance.limits
        self.closes = entrance.closes
        self.now = asyncio.get_running_loop().time
        #: Set when this instance begins to leave.
        self.leaving = asyncio.Event()
        self._slices: list[set[Pipe]] = [set() for _ in range(SLICES)]
        # Everybody is looked after several times in a heartbeat, however short it is.
        self._pace = min(SLICE_SECONDS, self.limits.heartbeat / (4 * SLICES))
        self._turn = 0

    def __len__(self) -> int:
        return sum(map(len, self._slices))

    def heard(self, connection: str) -> float | None:
        """When `connection` was heard of last, in seconds since 1970; None if it is not here."""
        session = self._hub.crowd.sessions.get(connection)
        return None if session is None else time.time() - (self.now() - session.pipe.heard)

    def add(self, pipe: Pipe) -> None:
        """Look after `pipe` from now on."""
        self._turn += 1
        self._slices[self._turn % SLICES].add(pipe)

    def dismiss(self, pipe: Pipe, why: Close) -> None:
        """Close a connection, in whatever phase it is: a `closing` frame, then the close."""
        session = pipe.session
        if pipe.phase in {Phase.CLOSING, Phase.GONE} or (session and session.close):
            return  # the first reason is the one that is told
        if pipe.live and session is not None:
            self._hub.hang_up(session, why)
            self.flush()
            return
        pipe.turn_away(frames.write(self._hub.farewell(why)), why)

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
        looked = self.now()
        while True:
            await asyncio.sleep(self._pace)
            now = self.now()
            self._entrance.expire()
            # One that woke late makes up for it at once: while thousands come in, every turn of
            # the event loop is long, and a slice in each would make heartbeats very late.
            due = int((now - looked) / self._pace)
            looked += due * self._pace
            for _ in range(min(due, SLICES)):
                turn = (turn + 1) % SLICES
                self.look_after(tuple(self._slices[turn]), now)

    def look_after(self, pipes: Iterable[Pipe], now: float) -> None:
        """Send what is due at `now`, and close on those who are late."""
        stale, too_stale = self._entrance.upstream.stale(), self._entrance.too_stale
        for pipe in pipes:
            match pipe.phase:
                case Phase.OPEN if too_stale:
                    self.dismiss(pipe, closes.STALE)
                case Phase.OPEN if pipe.session is not None:
                    self._look_after_open(pipe, pipe.session, now, stale)
                case Phase.HELLO if now >= pipe.deadline:
                    self.dismiss(pipe, closes.NO_HELLO)
                case Phase.LEAVING | Phase.CLOSING if now >= pipe.deadline:
                    pipe.transport.abort()  # close() would wait for one that stopped reading
        self.flush()

    def _look_after_open(
        self, pipe: Pipe, session: Session, now: float, stale: float | None
    ) -> None:
        if pipe.moved() or not pipe.unsent:
            pipe.progressed = now
        elif now - pipe.progressed >= self.limits.outbox_seconds:
            self._hub.hang_up(session, closes.SLOW)
        if session.close is not None:
            pipe.phase = Phase.LEAVING
            pipe.deadline = now + self.limits.close_seconds
        elif now >= pipe.deadline:
            if now - pipe.deadline >= self.limits.heartbeat:
                pipe.heard = now  # we are late ourselves, and have not asked
            pipe.deadline = now + self.limits.heartbeat
            if pipe.is_silent(now):
                self._hub.hang_up(session, closes.SILENT)
            else:
                self._hub.beat(session, stale)
                pipe.ping()
        else:
            pipe.tend(now)

    # -- going -----------------------------------------------------------------------------------

    def forget(self, pipe: Pipe, why: Exception | None) -> None:
        """Let go of a connection that is gone; `why` is the transport's."""
        for slice_ in self._slices:
            slice_.discard(pipe)
        session, pipe.session = pipe.session, None
        if session is None:
            return
        if isinstance(why, TimeoutError):  # the kernel has waited in vain for a sign of life
            self._hub.hang_up(session, closes.SILENT)
        self._entrance.leave(session)

    async def drain(self, seconds: float) -> None:
        """Say to everybody that this instance is leaving; return when all have gone.

        Those who are not gone after `seconds` are cut off.

        Cancellation: safe; those who are left stay connected.
        """
        self._entrance.draining = True
        self.leaving.set()
        deadline = self.now() + seconds
        for slice_ in self._slices:
            for pipe in tuple(slice_):
                self.dismiss(pipe, closes.DRAINING)
            await asyncio.sleep(0)
        while len(self) and self.now() < deadline:  # noqa: ASYNC110 - the clock's own pace
            await asyncio.sleep(SLICE_SECONDS)
        for slice_ in self._slices:
            for pipe in tuple(slice_):
                pipe.transport.abort()
        await asyncio.sleep(0)
