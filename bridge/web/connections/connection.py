"""One client's connection of any kind: its phase, and writing with flow control.

Rule: nothing here waits. What the transport does not accept stays in the session's outbox, which
has a limit.
"""

from __future__ import annotations

import asyncio
from enum import Enum, auto
from typing import TYPE_CHECKING, ClassVar, Final, Protocol, cast

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    from bridge.core.protocol.close_codes import CloseCode
    from bridge.core.sessions.session import Session
    from bridge.web.connections.admission import AdmissionLimits

#: Above this many bytes in the transport, frames wait in the outbox.
HIGH_WATER_BYTES = 64 * 1024
WRITE_CHUNK_BYTES = 256 * 1024


class Phase(Enum):
    """A connection is in exactly one of these phases."""

    HANDSHAKE = auto()
    AWAITING_HELLO = auto()  #: upgraded; the hello has not arrived yet
    PREPARING = auto()  #: a lookup runs before the welcome
    OPEN = auto()
    FLUSHING = auto()  #: its session is closed; its last frames are being written
    CLOSING = auto()  #: the close is sent; the client's end is awaited
    CLOSED = auto()


class PhaseTrigger(Enum):
    """What can happen to a connection."""

    HELLO_AWAITED = auto()
    LOOKUP_STARTED = auto()  #: its keys or its start position are fetched
    OPENED = auto()
    SESSION_CLOSED = auto()  #: the hub has closed its session
    CLOSE_SENT = auto()  #: nothing more is written
    DISCONNECTED = auto()


# The whole machine. What is absent is a bug, and `ClientConnection.transition` raises.
PHASE_TRANSITIONS: Final[dict[Phase, dict[PhaseTrigger, Phase]]] = {
    Phase.HANDSHAKE: {
        PhaseTrigger.HELLO_AWAITED: Phase.AWAITING_HELLO,
        PhaseTrigger.LOOKUP_STARTED: Phase.PREPARING,
        PhaseTrigger.OPENED: Phase.OPEN,
        PhaseTrigger.CLOSE_SENT: Phase.CLOSING,
        PhaseTrigger.DISCONNECTED: Phase.CLOSED,
    },
    Phase.AWAITING_HELLO: {
        PhaseTrigger.LOOKUP_STARTED: Phase.PREPARING,
        PhaseTrigger.OPENED: Phase.OPEN,
        PhaseTrigger.CLOSE_SENT: Phase.CLOSING,
        PhaseTrigger.DISCONNECTED: Phase.CLOSED,
    },
    Phase.PREPARING: {
        PhaseTrigger.LOOKUP_STARTED: Phase.PREPARING,  # first its keys, then its start position
        PhaseTrigger.OPENED: Phase.OPEN,
        PhaseTrigger.CLOSE_SENT: Phase.CLOSING,
        PhaseTrigger.DISCONNECTED: Phase.CLOSED,
    },
    Phase.OPEN: {
        PhaseTrigger.SESSION_CLOSED: Phase.FLUSHING,
        PhaseTrigger.CLOSE_SENT: Phase.CLOSING,
        PhaseTrigger.DISCONNECTED: Phase.CLOSED,
    },
    Phase.FLUSHING: {
        PhaseTrigger.CLOSE_SENT: Phase.CLOSING,
        PhaseTrigger.DISCONNECTED: Phase.CLOSED,
    },
    Phase.CLOSING: {PhaseTrigger.DISCONNECTED: Phase.CLOSED},
    Phase.CLOSED: {},
}

# A tuple: two comparisons, where a set would call Python for each member's hash.
_WRITABLE_PHASES: Final = (Phase.OPEN, Phase.FLUSHING)


class ConnectionHandler(Protocol):
    """What a connection needs of its pool or endpoint. `now` is the loop's clock."""

    now: Callable[[], float]
    limits: AdmissionLimits
    closes_by_code: Counter[int]

    def remove(self, connection: ClientConnection, error: Exception | None) -> None:
        """Remove a connection that is lost; `error` is the transport's."""


class ClientConnection(asyncio.Protocol):
    """The writing half. Times are in seconds of the event loop's clock."""

    #: The protocol, as the metrics label it.
    kind: ClassVar[str]
    #: Whether the client has frames that no cursor covers yet: a heartbeat has to bring it.
    is_cursor_due = False

    __slots__ = (
        "_handler",
        "_sent_bytes",
        "_write_prefix",
        "_written_bytes",
        "address",
        "deadline",
        "is_write_paused",
        "last_progress",
        "last_seen",
        "phase",
        "session",
        "transport",
    )

    def __init__(self, handler: ConnectionHandler) -> None:
        self._handler = handler
        self._write_prefix = b""  # goes out with whatever is written next
        self._written_bytes = 0  # bytes handed to the transport
        self._sent_bytes = 0
        self.transport: asyncio.Transport = cast("asyncio.Transport", None)
        self.session: Session | None = None
        self.phase = Phase.HANDSHAKE
        self.address = ""
        self.is_write_paused = (
            False  # whether the transport holds so much that nothing more is written
        )
        self.last_seen = self.deadline = self.last_progress = 0.0

    @staticmethod
    def encode_frame(frame: bytes, /) -> bytes:
        """Return the bytes that carry a frame's text on this kind of connection."""
        raise NotImplementedError

    def transition(self, trigger: PhaseTrigger) -> None:
        """Move to the next phase.

        Raises:
            AssertionError: If `trigger` cannot happen in this phase.
        """
        try:
            self.phase = PHASE_TRANSITIONS[self.phase][trigger]
        except KeyError:
            raise AssertionError(f"{trigger.name} in {self.phase.name}") from None

    def connection_lost(self, exc: Exception | None) -> None:
        """Close the phase and remove this connection from its handler."""
        self.transition(PhaseTrigger.DISCONNECTED)
        self._handler.remove(self, exc)

    def eof_received(self) -> None:
        """Return None: the transport closes itself."""

    def pause_writing(self) -> None:
        """Keep further frames in the outbox."""
        self.is_write_paused = True

    def resume_writing(self) -> None:
        """Write what has waited."""
        self.is_write_paused = False
        ClientConnection.flush(self)  # nothing new was queued, so no cursor has to follow

    # -- writing ---------------------------------------------------------------------------------

    def open(self) -> None:
        """Start writing and the heartbeats; the welcome follows."""
        now = self._handler.now()
        self.transition(PhaseTrigger.OPENED)
        self.deadline = now + self._handler.limits.heartbeat_seconds
        self.last_progress = now

    def flush(self) -> None:
        """Write the outbox until the transport is full, then the close if the session has one."""
        session = self.session
        if session is None or self.phase not in _WRITABLE_PHASES:
            return
        outbox = session.outbox
        while outbox.pending_bytes and not self.is_write_paused:
            self._write(outbox.pop(WRITE_CHUNK_BYTES))
        if session.close_code is not None and not outbox.pending_bytes:
            self.begin_close(session.close_code)

    def _write(self, data: bytes) -> None:
        if self._write_prefix:
            data, self._write_prefix = self._write_prefix + data, b""
        self._written_bytes += len(data)
        self.transport.write(data)

    def reject(self, frame: bytes, close: CloseCode) -> None:
        """Send `frame` and close; for a client that was never welcomed."""
        self._write(self.encode_frame(frame))
        self.begin_close(close)

    def begin_close(self, close: CloseCode) -> None:
        """Close; the client has the close timeout to end its side."""
        if self.session is None or self.session.close_code is None:
            self._handler.closes_by_code[close.code] += 1  # `release` counts the closed sessions
        self.transition(PhaseTrigger.CLOSE_SENT)
        self.deadline = self._handler.now() + self._handler.limits.close_timeout_seconds

    # -- what the clock reads --------------------------------------------------------------------

    @property
    def unsent_bytes(self) -> int:
        """Bytes in the outbox and in the transport."""
        outbox_bytes = self.session.outbox.pending_bytes if self.session is not None else 0
        return outbox_bytes + self.transport.get_write_buffer_size()

    def has_progressed(self) -> bool:
        """Whether the kernel has accepted bytes since the last call."""
        sent_bytes = self._written_bytes - self.transport.get_write_buffer_size()
        has_progressed, self._sent_bytes = sent_bytes != self._sent_bytes, sent_bytes
        return has_progressed

    @property
    def is_live(self) -> bool:
        """Whether its session is welcomed and not closing."""
        return self.session is not None and self.session.is_welcomed

    def is_silent(self, now: float) -> bool:  # noqa: ARG002 - a client that cannot send is never silent
        """Whether the client has sent nothing for too long at `now`."""
        return False

    def ping(self) -> None:
        """Send a ping, where the protocol has one."""

    def send_keepalive(self, now: float) -> None:
        """Send at `now` what keeps an idle connection open."""
