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

    from bridge.core.protocol.close_codes import Close
    from bridge.core.sessions.session import Session
    from bridge.web.connections.admission import Limits

#: What the transport may hold of a client before frames wait in its outbox instead.
HIGH_WATER_BYTES = 64 * 1024
PORTION_BYTES = 256 * 1024


class Phase(Enum):
    """Where a connection is on its way."""

    HANDSHAKE = auto()
    HELLO = auto()  #: upgraded; the hello has not come yet
    ASKING = auto()  #: somebody is asked something before the welcome
    OPEN = auto()
    LEAVING = auto()  #: hung up on; its last frames are on their way
    CLOSING = auto()  #: everything is said; the client's end is awaited
    GONE = auto()


# A tuple: two comparisons, where a set would call Python for each member's hash.
_WRITABLE: Final = (Phase.OPEN, Phase.LEAVING)


class Keeper(Protocol):
    """What a pipe asks of those who look after all of them. `now` is the loop's clock."""

    now: Callable[[], float]
    limits: Limits
    closes: Counter[int]

    def forget(self, pipe: Pipe, why: Exception | None) -> None:
        """Let go of a pipe that is gone; `why` is the transport's."""


class Pipe(asyncio.Protocol):
    """The writing half. `heard` and `deadline` are on the loop's clock, in seconds."""

    #: What is spoken, in the word that it is counted by.
    kind: ClassVar[str]

    __slots__ = (
        "_ahead",
        "_keeper",
        "_sent",
        "_taken",
        "address",
        "deadline",
        "heard",
        "paused",
        "phase",
        "progressed",
        "session",
        "transport",
    )

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._ahead = b""  # goes out with whatever is written next
        self._taken = 0  # bytes handed to the transport, and of them what the kernel had taken
        self._sent = 0
        self.transport: asyncio.Transport = cast("asyncio.Transport", None)
        self.session: Session | None = None
        self.phase = Phase.HANDSHAKE
        self.address = ""
        self.paused = False  # whether the transport holds so much that nothing more is written
        self.heard = self.deadline = self.progressed = 0.0

    @staticmethod
    def wrap(frame: bytes, /) -> bytes:
        """Return what this kind of connection carries of a frame's text."""
        raise NotImplementedError

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget everything."""
        self.phase = Phase.GONE
        self._keeper.forget(self, exc)

    def eof_received(self) -> None:
        """Let the transport close."""

    def pause_writing(self) -> None:
        """Stop writing."""
        self.paused = True

    def resume_writing(self) -> None:
        """Go on."""
        self.paused = False
        Pipe.flush(self)  # nothing new was queued: whatever belongs behind it is there

    # -- writing ---------------------------------------------------------------------------------

    def open(self) -> None:
        """Begin: its session is about to be welcomed."""
        now = self._keeper.now()
        self.phase = Phase.OPEN
        self.deadline = now + self._keeper.limits.heartbeat
        self.progressed = now

    def flush(self) -> None:
        """Write what is queued, as far as the transport takes it; and then the close, if any."""
        session = self.session
        if session is None or self.phase not in _WRITABLE:
            return
        outbox = session.outbox
        while outbox.pending and not self.paused:
            self._write(outbox.take(PORTION_BYTES))
        if session.close is not None and not outbox.pending:
            self.say_goodbye(session.close)

    def _write(self, data: bytes) -> None:
        if self._ahead:
            data, self._ahead = self._ahead + data, b""
        self._taken += len(data)
        self.transport.write(data)

    def turn_away(self, frame: bytes, why: Close) -> None:
        """Close on a client that was never welcomed; `frame` tells it."""
        self._write(self.wrap(frame))
        self.say_goodbye(why)

    def say_goodbye(self, why: Close) -> None:
        """Close; the client has some seconds to see it."""
        if self.session is None or self.session.close is None:
            self._keeper.closes[why.code] += 1  # the entrance counts those who were hung up on
        self.phase = Phase.CLOSING
        self.deadline = self._keeper.now() + self._keeper.limits.close_seconds

    # -- what the clock asks ---------------------------------------------------------------------

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
        return self.session is not None and self.session.welcomed

    def is_silent(self, now: float) -> bool:  # noqa: ARG002 - who can not speak is never silent
        """Whether the client should have been heard of by `now`."""
        return False

    def ping(self) -> None:
        """Ask for a sign of life, where what is spoken has one."""

    def tend(self, now: float) -> None:
        """Do at `now` what this kind of connection needs every now and then."""
