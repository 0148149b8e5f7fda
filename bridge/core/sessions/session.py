"""One client's connection, as a state machine.

Rule: a session is in one state, the table says what may follow, and the first reason to close
is the one that the client is told.
"""

from __future__ import annotations

from enum import Enum, Flag, auto
from typing import TYPE_CHECKING, Any, Final, Protocol

from bridge.core.sessions.outbox import Outbox

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.core.protocol.close_codes import Close
    from bridge.core.protocol.types import Types
    from bridge.core.sessions.permissions import Grant
    from bridge.core.sessions.replay import Replay


#: What a client that went without a word is said to have closed with (RFC 6455, 7.4.1).
ABNORMAL: Final = 1006


class State(Enum):
    """A session is in exactly one of these states."""

    OPENING = auto()  #: admitted, not welcomed yet
    REPLAYING = auto()  #: welcomed; sent what it has missed
    LIVE = auto()  #: sent what happens
    CLOSING = auto()  #: its last frames are on their way
    CLOSED = auto()  #: its socket is gone


class Signal(Enum):
    """What can happen to a session."""

    WELCOMED = auto()
    RETURNED = auto()  #: welcomed, with something to catch up with
    CAUGHT_UP = auto()
    HUNG_UP = auto()
    LOST = auto()


# The whole machine. What is absent is a bug, and `Session.on` says so.
TRANSITIONS: Final[dict[State, dict[Signal, State]]] = {
    State.OPENING: {
        Signal.WELCOMED: State.LIVE,
        Signal.RETURNED: State.REPLAYING,
        Signal.HUNG_UP: State.CLOSING,
        Signal.LOST: State.CLOSED,
    },
    State.REPLAYING: {
        Signal.CAUGHT_UP: State.LIVE,
        Signal.HUNG_UP: State.CLOSING,
        Signal.LOST: State.CLOSED,
    },
    State.LIVE: {Signal.HUNG_UP: State.CLOSING, Signal.LOST: State.CLOSED},
    State.CLOSING: {Signal.LOST: State.CLOSED},
    State.CLOSED: {},
}


_WELCOMED: Final = (State.LIVE, State.REPLAYING)


class Hand(Flag):
    """By whom a session is in a room; it is in it while one of them holds."""

    OWN = auto()  #: its own subscribe
    CONNECTION = auto()  #: the backend, for this connection
    ACCOUNT = auto()  #: the backend, for the account


class Home(Protocol):
    """Where a session is found by those who have events for it."""

    def remove(self, session: Session) -> None: ...  # noqa: D102
    def enter(self, session: Session, room: str) -> None: ...  # noqa: D102
    def leave(self, session: Session, room: str) -> None: ...  # noqa: D102


class Session:
    """What the bridge knows about one connected client.

    `pipe` is the bank's end of the session; the core never looks into it. `wrap` turns a frame's
    JSON text into the bytes that its socket carries. `home` is where it is found by those who
    have events for it. `floors` holds, by topic and partition, the first offset that may be sent,
    where that is another than this instance's own; None is the usual case. `replay` is what only
    one that is `REPLAYING` has.
    """

    __slots__ = (
        "address",
        "close",
        "dirty",
        "floors",
        "grant",
        "home",
        "id",
        "left",
        "outbox",
        "pipe",
        "replay",
        "rooms",
        "since",
        "state",
        "topics",
        "types",
        "wrap",
    )

    def __init__(self, id: str, grant: Grant, wrap: Callable[[bytes], bytes], pipe: Any) -> None:  # noqa: ANN401
        self.id = id
        self.grant = grant
        self.wrap = wrap
        self.pipe = pipe
        self.topics: frozenset[str] = frozenset()
        self.rooms: dict[str, Hand] = {}
        self.types: Types | None = None
        self.floors: dict[str, dict[int, int]] | None = None
        self.replay: Replay | None = None
        self.home: Home | None = None
        self.outbox = Outbox()
        self.state = State.OPENING
        self.close: Close | None = None
        self.address = ""
        self.since = 0.0
        self.left = ABNORMAL
        self.dirty = False  # whether the hub already lists it among those to flush

    @property
    def welcomed(self) -> bool:
        """Whether it is between its welcome and its end: it may talk, and is sent events."""
        return self.state in _WELCOMED

    def on(self, signal: Signal) -> None:
        """Move to the next state.

        Raises:
            AssertionError: If `signal` can not happen in this state.
        """
        try:
            self.state = TRANSITIONS[self.state][signal]
        except KeyError:
            raise AssertionError(f"{signal.name} in {self.state.name}") from None
