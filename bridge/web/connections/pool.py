"""All connections of this instance: deadlines, heartbeats and drain.

Rule: one timer checks all connections, one slice at a time.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from bridge.core.protocol import close_codes as closes
from bridge.core.protocol import frames
from bridge.web.connections.connection import Phase, PhaseTrigger
from bridge.web.transport.drain_schedule import DrainSchedule

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.core.protocol.close_codes import CloseCode
    from bridge.core.sessions.hub import Hub
    from bridge.core.sessions.session import Session
    from bridge.web.connections.admission import (
        AdmissionController,
        AdmissionLimits,
        ClientCounters,
        ExpiryTimers,
    )
    from bridge.web.connections.connection import ClientConnection
    from bridge.web.connections.flushing import Flusher
    from bridge.web.upstream import Upstream

#: Every connection is checked once in SLICE_COUNT * SLICE_SECONDS, or sooner.
SLICE_COUNT = 20
#: Together 0.9 s: a cursor that is due comes within 1 s.
SLICE_SECONDS = 0.045
#: A timer that is later than this tells that the process stood still: it was stopped, or the
#: machine slept, or one turn of the event loop was that long.
STANDSTILL_SECONDS = 0.5
#: From the last close of a drain until connections are aborted.
LEAVE_SECONDS = 2.0
#: A close with its flush costs some 20 us: other work waits for 5 ms at most.
_MAX_CLOSES_PER_TURN = 250


class ConnectionPool:
    """Checks, closes and drains the connections of this instance."""

    def __init__(
        self,
        hub: Hub,
        admission: AdmissionController,
        *,
        expiry: ExpiryTimers,
        flusher: Flusher,
        upstream: Upstream,
        limits: AdmissionLimits,
        counters: ClientCounters,
    ) -> None:
        self._hub = hub
        self._admission = admission
        self._expiry = expiry
        self._upstream = upstream
        self.flusher = flusher
        self.limits = limits
        self.closes_by_code = counters.closes_by_code
        self.now = asyncio.get_running_loop().time
        #: Set when the drain starts.
        self.drain_started = asyncio.Event()
        self._slices: list[set[ClientConnection]] = [set() for _ in range(SLICE_COUNT)]
        # Every connection is checked several times per heartbeat, however short that is.
        self._slice_interval_seconds = min(
            SLICE_SECONDS, self.limits.heartbeat_seconds / (4 * SLICE_COUNT)
        )
        self._next_slice = 0

    def __len__(self) -> int:
        return sum(map(len, self._slices))

    def last_seen(self, connection_id: str) -> float | None:
        """When `connection_id` last sent something, in seconds since 1970; None if not here."""
        session = self._hub.registry.by_id.get(connection_id)
        return (
            None if session is None else time.time() - (self.now() - session.connection.last_seen)
        )

    def add(self, connection: ClientConnection) -> None:
        """Check `connection` from now on."""
        self._next_slice += 1
        self._slices[self._next_slice % SLICE_COUNT].add(connection)

    def close(self, connection: ClientConnection, close: CloseCode) -> None:
        """Close a connection in any phase: a `closing` frame, then the close."""
        session = connection.session
        if connection.phase in {Phase.CLOSING, Phase.CLOSED} or (session and session.close_code):
            return  # the client gets the first reason
        if connection.is_live and session is not None:
            self._hub.close(session, close)
            self.flusher.flush()
            return
        connection.reject(frames.encode_frame(self._hub.build_closing(close)), close)

    # -- the clock -------------------------------------------------------------------------------

    async def run(self) -> None:
        """Check all connections until cancelled."""
        slice_index = 0
        last_check = self.now()
        while True:
            await asyncio.sleep(self._slice_interval_seconds)
            now = self.now()
            late_seconds = now - last_check - self._slice_interval_seconds
            if late_seconds > STANDSTILL_SECONDS:
                self._excuse(late_seconds)
            self._expiry.close_expired()
            # A late timer checks all overdue slices at once. While thousands connect, each turn of
            # the event loop is long, and one slice per turn would make heartbeats very late.
            due_slices = int((now - last_check) / self._slice_interval_seconds)
            last_check += due_slices * self._slice_interval_seconds
            for _ in range(min(due_slices, SLICE_COUNT)):
                slice_index = (slice_index + 1) % SLICE_COUNT
                self.check_connections(tuple(self._slices[slice_index]), now)

    def _excuse(self, seconds: float) -> None:
        """Give every client the time in which this process did not read or write.

        A heartbeat is due all the same: the client waits for it.
        """
        for slice_ in self._slices:
            for connection in slice_:
                connection.last_progress += seconds
                connection.last_seen += seconds
                if connection.phase is not Phase.OPEN:
                    connection.deadline += seconds

    def check_connections(self, connections: Iterable[ClientConnection], now: float) -> None:
        """Send what is due at `now`, and close the connections past their deadline."""
        stale_seconds, is_too_stale = (
            self._upstream.stale_seconds(),
            self._admission.is_too_stale,
        )
        for connection in connections:
            match connection.phase:
                case Phase.OPEN if is_too_stale:
                    self.close(connection, closes.STALE)
                case Phase.OPEN if connection.session is not None:
                    self._check_open(connection, connection.session, now, stale_seconds)
                case Phase.AWAITING_HELLO if now >= connection.deadline:
                    self.close(connection, closes.HELLO_TIMEOUT)
                case Phase.FLUSHING | Phase.CLOSING if now >= connection.deadline:
                    # close() would wait for a client that stopped reading.
                    connection.transport.abort()
        self.flusher.flush()

    def _check_open(
        self,
        connection: ClientConnection,
        session: Session,
        now: float,
        stale_seconds: float | None,
    ) -> None:
        if connection.has_progressed() or not connection.unsent_bytes:
            connection.last_progress = now
        elif now - connection.last_progress >= self.limits.outbox_timeout_seconds:
            self._hub.close(session, closes.SLOW)
        if session.close_code is not None:
            connection.transition(PhaseTrigger.SESSION_CLOSED)
            connection.deadline = now + self.limits.close_timeout_seconds
        elif now >= connection.deadline:
            if now - connection.deadline >= self.limits.heartbeat_seconds:
                connection.last_seen = now  # this timer was late, and has sent no ping
            connection.deadline = now + self.limits.heartbeat_seconds
            if connection.is_silent(now):
                self._hub.close(session, closes.SILENT)
            else:
                self._hub.send_heartbeat(session, stale_seconds)
                connection.ping()
        elif connection.is_cursor_due:
            self._hub.send_heartbeat(session, stale_seconds)
        else:
            connection.send_keepalive(now)

    # -- the end ---------------------------------------------------------------------------------

    def remove(self, connection: ClientConnection, error: Exception | None) -> None:
        """Remove a lost connection; `error` is the transport's."""
        for slice_ in self._slices:
            slice_.discard(connection)
        session, connection.session = connection.session, None
        if session is None:
            return
        if isinstance(error, TimeoutError):  # TCP_USER_TIMEOUT: the peer acknowledged nothing
            self._hub.close(session, closes.SILENT)
        self._admission.release(session)

    def begin_drain(self) -> None:
        """Refuse new clients with 4001 from now on."""
        self._admission.is_draining = True
        self.drain_started.set()

    async def drain(self, spread_seconds: float, leave_seconds: float = LEAVE_SECONDS) -> None:
        """Close all connections with 4001, spread over `spread_seconds`; return when all are gone.

        A client without a welcome is refused at once. Connections that remain `leave_seconds` after
        the last close are aborted.

        Cancellation: the remaining connections are aborted.
        """
        self.begin_drain()
        try:
            await self._close_spread(self.now(), spread_seconds, leave_seconds)
        finally:
            for slice_ in self._slices:
                for connection in tuple(slice_):
                    connection.transport.abort()
        await asyncio.sleep(0)
        self._admission.connection_log.log_summary()

    async def _close_spread(
        self, started_at: float, spread_seconds: float, leave_seconds: float
    ) -> None:
        """Close all connections; return when all are gone, or at the deadline."""
        connections = [connection for slice_ in self._slices for connection in slice_]
        for connection in connections:
            if connection.phase is not Phase.OPEN:
                self.close(connection, closes.DRAINING)
        opened = [each for each in connections if each.phase is Phase.OPEN]
        schedule = DrainSchedule(opened, started_at, spread_seconds)
        deadline = started_at + spread_seconds + leave_seconds
        while len(self) and self.now() < deadline:
            due = schedule.take_due(self.now(), _MAX_CLOSES_PER_TURN)
            for connection in due:
                self.close(connection, closes.DRAINING)
            await asyncio.sleep(0 if len(due) == _MAX_CLOSES_PER_TURN else SLICE_SECONDS)
