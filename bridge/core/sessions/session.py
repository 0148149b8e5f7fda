"""One client's connection, as a state machine.

Rule: a session is in one state, the table says what may follow, and the first reason to close
is the one that the client is told.
"""

from __future__ import annotations

from collections import Counter
from enum import Enum, Flag, auto
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from bridge.core.protocol.close_codes import Close
    from bridge.core.protocol.event import Types
    from bridge.core.sessions.permissions import Grant


class Outbox:
    """A queue of frames with a ceiling in bytes.

    One that is below its ceiling takes one more event, however large: else an event larger than
    the ceiling could reach nobody.
    """

    __slots__ = ("_frames", "pending")

    def __init__(self) -> None:
        self._frames: list[bytes] = []
        self.pending = 0  #: bytes

    def put(self, frame: bytes, ceiling: int) -> bool:
        """Queue `frame`; tell whether there was room: fewer than `ceiling` bytes pending."""
        if self.pending >= ceiling:
            return False
        self._frames.append(frame)
        self.pending += len(frame)
        return True

    def force(self, frame: bytes) -> None:
        """Queue `frame` whatever is pending: for the bridge's own few, which are small."""
        self._frames.append(frame)
        self.pending += len(frame)

    def take(self, budget: int) -> bytes:
        """Take the oldest frames, joined: as many as fit into `budget` bytes, and at least one."""
        frames = self._frames
        if self.pending <= budget:
            self._frames = []
            self.pending = 0
            return b"".join(frames)
        size = count = 0
        for frame in frames:
            if count and size + len(frame) > budget:
                break
            size += len(frame)
            count += 1
        taken = b"".join(frames[:count])
        del frames[:count]
        self.pending -= size
        return taken

    def clear(self) -> None:
        """Forget what is queued."""
        self._frames = []
        self.pending = 0


class Need(Enum):
    """What a session that is caught up waits for."""

    NOTHING = auto()  #: it is live, or gone
    TURN = auto()  #: there is more in the journal, when others have had their turn
    ROOM = auto()  #: its client has to read first
    KAFKA = auto()  #: the journal does not reach down to it, or only Kafka can judge its cursor


class Reach:
    """How far a pass over Kafka's records has come: from `start` to `next`, an offset for each.

    Both are by public topic and partition. `bytes` were read so far, by topic.
    """

    __slots__ = ("bytes", "next", "start")

    def __init__(self, start: dict[tuple[str, int], int]) -> None:
        self.start = start
        self.next = dict(start)
        self.bytes: Counter[str] = Counter()

    def leave_out(self, topic: str, ends: Mapping[int, int] | None = None) -> None:
        """Read no more of `topic`, or of those of its partitions that have come beyond `ends`."""
        for key, next in tuple(self.next.items()):
            if key[0] == topic and (ends is None or next > ends.get(key[1], next)):
                del self.next[key]


class Replay:
    """How far a session has been caught up, beside its `floors`, which are its places.

    `identities` says of each topic which life of it the places are in. `clipped` has the places,
    by topic, that may be moved up to where the log starts without a word, as long as nothing was
    sent from there. `judged` says that Kafka's bounds and the limits allow its places. `reach` is
    that of the pass that serves it, if one does. `records` and `bytes` were read for it from Kafka.
    `unnamed` are its topics that the client's own cursor does not name, until another one did.
    """

    __slots__ = (
        "_before",
        "bytes",
        "clipped",
        "identities",
        "judged",
        "reach",
        "records",
        "replayed",
        "unnamed",
    )

    def __init__(self, identities: dict[str, bytes], clipped: dict[str, dict[int, int]]) -> None:
        self.identities = identities
        self.clipped = clipped
        self.judged = False
        self.replayed = 0  #: events
        self.unnamed: frozenset[str] = frozenset()
        self.reach: Reach | None = None
        self.records = 0
        self.bytes = 0
        self._before: dict[str, int] = {}  # bytes that the pass had read when it was entered

    def cost(self, topics: Iterable[str]) -> int:
        """The bytes that were read for it, those of the pass that serves it now too."""
        if self.reach is None:
            return self.bytes
        now, before = self.reach.bytes, self._before
        return self.bytes + sum(now[topic] - before.get(topic, 0) for topic in topics)

    def enter(self, reach: Reach) -> None:
        """Be served by a pass from now on."""
        self.reach, self._before = reach, dict(reach.bytes)

    def leave(self, topics: Iterable[str]) -> None:
        """Be served by no pass any more."""
        self.bytes = self.cost(topics)
        self.reach = None


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
