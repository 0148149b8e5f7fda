"""One client's connection, whatever is spoken on it: what is written, and how far it has got.

Rule: nothing here waits. What the transport does not take stays in the session's outbox, which
has a ceiling.
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

#: What the transport may hold of a client before frames wait in its outbox instead.
HIGH_WATER_BYTES = 64 * 1024
WRITE_CHUNK_BYTES = 256 * 1024


class Phase(Enum):
    """Where a connection is on its way."""

    HANDSHAKE = auto()
    AWAITING_HELLO = auto()  #: upgraded; the hello has not come yet
    PREPARING = auto()  #: somebody is asked something before the welcome
    OPEN = auto()
    FLUSHING = auto()  #: hung up on; its last frames are on their way
    CLOSING = auto()  #: everything is said; the client's end is awaited
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
    """What a pipe asks of those who look after all of them. `now` is the loop's clock."""

    now: Callable[[], float]
    limits: AdmissionLimits
    closes_by_code: Counter[int]

    def remove(self, connection: ClientConnection, error: Exception | None) -> None:
        """Let go of a pipe that is gone; `error` is the transport's."""


class ClientConnection(asyncio.Protocol):
    """The writing half. `heard` and `deadline` are on the loop's clock, in seconds."""

    #: What is spoken, in the word that it is counted by.
    kind: ClassVar[str]

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
        self._written_bytes = (
            0  # bytes handed to the transport, and of them what the kernel had taken
        )
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
        """Return what this kind of connection carries of a frame's text."""
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
        """Forget everything."""
        self.transition(PhaseTrigger.DISCONNECTED)
        self._handler.remove(self, exc)

    def eof_received(self) -> None:
        """Let the transport close."""

    def pause_writing(self) -> None:
        """Stop writing."""
        self.is_write_paused = True

    def resume_writing(self) -> None:
        """Go on."""
        self.is_write_paused = False
        ClientConnection.flush(self)  # nothing new was queued: whatever belongs behind it is there

    # -- writing ---------------------------------------------------------------------------------

    def open(self) -> None:
        """Begin: its session is about to be welcomed."""
        now = self._handler.now()
        self.transition(PhaseTrigger.OPENED)
        self.deadline = now + self._handler.limits.heartbeat_seconds
        self.last_progress = now

    def flush(self) -> None:
        """Write what is queued, as far as the transport takes it; and then the close, if any."""
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
        """Close on a client that was never welcomed; `frame` tells it."""
        self._write(self.encode_frame(frame))
        self.begin_close(close)

    def begin_close(self, close: CloseCode) -> None:
        """Close; the client has some seconds to see it."""
        if self.session is None or self.session.close_code is None:
            self._handler.closes_by_code[close.code] += (
                1  # the entrance counts those who were hung up on
            )
        self.transition(PhaseTrigger.CLOSE_SENT)
        self.deadline = self._handler.now() + self._handler.limits.close_timeout_seconds

    # -- what the clock asks ---------------------------------------------------------------------

    @property
    def unsent_bytes(self) -> int:
        """Bytes that wait here or in the transport."""
        outbox_bytes = self.session.outbox.pending_bytes if self.session is not None else 0
        return outbox_bytes + self.transport.get_write_buffer_size()

    def has_progressed(self) -> bool:
        """Whether the kernel has taken bytes since this was asked last."""
        sent_bytes = self._written_bytes - self.transport.get_write_buffer_size()
        has_progressed, self._sent_bytes = sent_bytes != self._sent_bytes, sent_bytes
        return has_progressed

    @property
    def is_live(self) -> bool:
        """Whether its session is welcomed and not yet closing."""
        return self.session is not None and self.session.is_welcomed

    def is_silent(self, now: float) -> bool:  # noqa: ARG002 - who can not speak is never silent
        """Whether the client should have been heard of by `now`."""
        return False

    def ping(self) -> None:
        """Ask for a sign of life, where what is spoken has one."""

    def send_keepalive(self, now: float) -> None:
        """Do at `now` what this kind of connection needs every now and then."""
