"""One client's connection, as a state machine.

Rule: a session is in one state, the table says what may follow, and the first reason to close
is the one that the client is told.
"""

from __future__ import annotations

from collections import Counter
from enum import Enum, Flag, auto
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from bridge.core.protocol.close_codes import CloseCode
    from bridge.core.protocol.event import TypeFilter
    from bridge.core.sessions.permissions import Permissions


class Outbox:
    """A queue of frames with a ceiling in bytes.

    One that is below its ceiling takes one more event, however large: else an event larger than
    the ceiling could reach nobody.
    """

    __slots__ = ("_frames", "pending_bytes")

    def __init__(self) -> None:
        self._frames: list[bytes] = []
        self.pending_bytes = 0  #: bytes

    def try_append(self, frame: bytes, max_pending_bytes: int) -> bool:
        """Queue `frame`; tell whether there was room: fewer than `max_pending_bytes` bytes pending."""
        if self.pending_bytes >= max_pending_bytes:
            return False
        self._frames.append(frame)
        self.pending_bytes += len(frame)
        return True

    def append(self, frame: bytes) -> None:
        """Queue `frame` whatever is pending: for the bridge's own few, which are small."""
        self._frames.append(frame)
        self.pending_bytes += len(frame)

    def pop(self, max_bytes: int) -> bytes:
        """Take the oldest frames, joined: as many as fit into `max_bytes` bytes, and at least one."""
        frames = self._frames
        if self.pending_bytes <= max_bytes:
            self._frames = []
            self.pending_bytes = 0
            return b"".join(frames)
        size_bytes = count = 0
        for frame in frames:
            if count and size_bytes + len(frame) > max_bytes:
                break
            size_bytes += len(frame)
            count += 1
        joined = b"".join(frames[:count])
        del frames[:count]
        self.pending_bytes -= size_bytes
        return joined

    def clear(self) -> None:
        """Forget what is queued."""
        self._frames = []
        self.pending_bytes = 0


class ScanRange:
    """How far a pass over Kafka's records has come: from `start` to `next`, an offset for each.

    Both are by public topic and partition. `bytes` were read so far, by topic.
    """

    __slots__ = ("bytes_by_topic", "next_offsets", "start_offsets")

    def __init__(self, start_offsets: dict[tuple[str, int], int]) -> None:
        self.start_offsets = start_offsets
        self.next_offsets = dict(start_offsets)
        self.bytes_by_topic: Counter[str] = Counter()

    def exclude(self, topic: str, end_offsets: Mapping[int, int] | None = None) -> None:
        """Read no more of `topic`, or of those of its partitions that have come beyond `end_offsets`."""
        for key, next_offset in tuple(self.next_offsets.items()):
            if key[0] == topic and (
                end_offsets is None or next_offset > end_offsets.get(key[1], next_offset)
            ):
                del self.next_offsets[key]


class ReplayState:
    """How far a session has been caught up, beside its `floors`, which are its places.

    `identities` says of each topic which life of it the places are in. `clipped` has the places,
    by topic, that may be moved up to where the log starts without a word, as long as nothing was
    sent from there. `judged` says that Kafka's bounds and the limits allow its places. `reach` is
    that of the pass that serves it, if one does. `records` and `bytes` were read for it from Kafka.
    `unnamed` are its topics that the client's own cursor does not name, until another one did.
    """

    __slots__ = (
        "_bytes_at_join",
        "bytes_read",
        "clampable_offsets",
        "events_replayed",
        "is_admitted",
        "records_read",
        "scan_range",
        "topic_ids",
        "uncovered_topics",
    )

    def __init__(
        self, topic_ids: dict[str, bytes], clampable_offsets: dict[str, dict[int, int]]
    ) -> None:
        self.topic_ids = topic_ids
        self.clampable_offsets = clampable_offsets
        self.is_admitted = False
        self.events_replayed = 0  #: events
        self.uncovered_topics: frozenset[str] = frozenset()
        self.scan_range: ScanRange | None = None
        self.records_read = 0
        self.bytes_read = 0
        self._bytes_at_join: dict[str, int] = {}  # bytes that the pass had read when it was entered

    def total_bytes_read(self, topics: Iterable[str]) -> int:
        """The bytes that were read for it, those of the pass that serves it now too."""
        if self.scan_range is None:
            return self.bytes_read
        scan_bytes, bytes_at_join = self.scan_range.bytes_by_topic, self._bytes_at_join
        return self.bytes_read + sum(
            scan_bytes[topic] - bytes_at_join.get(topic, 0) for topic in topics
        )

    def join_scan(self, scan_range: ScanRange) -> None:
        """Be served by a pass from now on."""
        self.scan_range, self._bytes_at_join = scan_range, dict(scan_range.bytes_by_topic)

    def leave_scan(self, topics: Iterable[str]) -> None:
        """Be served by no pass any more."""
        self.bytes_read = self.total_bytes_read(topics)
        self.scan_range = None


#: What a client that went without a word is said to have closed with (RFC 6455, 7.4.1).
ABNORMAL_CLOSURE: Final = 1006


class SessionState(Enum):
    """A session is in exactly one of these states."""

    OPENING = auto()  #: admitted, not welcomed yet
    REPLAYING = auto()  #: welcomed; sent what it has missed
    LIVE = auto()  #: sent what happens
    CLOSING = auto()  #: its last frames are on their way
    CLOSED = auto()  #: its socket is gone


class SessionTrigger(Enum):
    """What can happen to a session."""

    WELCOMED = auto()
    RESUMED = auto()  #: welcomed, with something to catch up with
    CAUGHT_UP = auto()
    CLOSED_BY_SERVER = auto()
    DISCONNECTED = auto()


# The whole machine. What is absent is a bug, and `Session.on` says so.
TRANSITIONS: Final[dict[SessionState, dict[SessionTrigger, SessionState]]] = {
    SessionState.OPENING: {
        SessionTrigger.WELCOMED: SessionState.LIVE,
        SessionTrigger.RESUMED: SessionState.REPLAYING,
        SessionTrigger.CLOSED_BY_SERVER: SessionState.CLOSING,
        SessionTrigger.DISCONNECTED: SessionState.CLOSED,
    },
    SessionState.REPLAYING: {
        SessionTrigger.CAUGHT_UP: SessionState.LIVE,
        SessionTrigger.CLOSED_BY_SERVER: SessionState.CLOSING,
        SessionTrigger.DISCONNECTED: SessionState.CLOSED,
    },
    SessionState.LIVE: {
        SessionTrigger.CLOSED_BY_SERVER: SessionState.CLOSING,
        SessionTrigger.DISCONNECTED: SessionState.CLOSED,
    },
    SessionState.CLOSING: {SessionTrigger.DISCONNECTED: SessionState.CLOSED},
    SessionState.CLOSED: {},
}


_WELCOMED_STATES: Final = (SessionState.LIVE, SessionState.REPLAYING)


class MembershipSource(Flag):
    """By whom a session is in a room; it is in it while one of them holds."""

    OWN = auto()  #: its own subscribe
    CONNECTION = auto()  #: the backend, for this connection
    ACCOUNT = auto()  #: the backend, for the account


class SessionIndex(Protocol):
    """Where a session is found by those who have events for it."""

    def remove(self, session: Session) -> None: ...  # noqa: D102
    def add_room(self, session: Session, room: str) -> None: ...  # noqa: D102
    def remove_room(self, session: Session, room: str) -> None: ...  # noqa: D102


class Connection(Protocol):
    """The client's end of a session, as far as the core and the pool of connections use it."""

    @property
    def kind(self) -> str:
        """What is spoken on it, as the metrics count it."""

    @property
    def last_seen(self) -> float:
        """When the client last sent something, in seconds of the event loop's clock."""

    def flush(self) -> None:
        """Write what is queued in the session's outbox."""


class NoConnection:
    """For a session without a client: it reads for somebody, and nothing is written."""

    kind = "none"
    last_seen = 0.0

    def flush(self) -> None:
        """Write nothing."""


NO_CONNECTION: Final = NoConnection()


class Session:
    """What the bridge knows about one connected client.

    `connection` is the client's end of the session. `wrap_frame` turns a frame's
    JSON text into the bytes that its socket carries. `home` is where it is found by those who
    have events for it. `floors` holds, by topic and partition, the first offset that may be sent,
    where that is another than this instance's own; None is the usual case. `replay` is what only
    one that is `REPLAYING` has.
    """

    __slots__ = (
        "client_address",
        "client_close_code",
        "close_code",
        "connected_at",
        "connection",
        "id",
        "index",
        "is_flush_pending",
        "min_offsets",
        "outbox",
        "permissions",
        "replay",
        "rooms",
        "state",
        "topics",
        "type_filter",
        "wrap_frame",
    )

    def __init__(
        self,
        id: str,
        permissions: Permissions,
        wrap_frame: Callable[[bytes], bytes],
        connection: Connection = NO_CONNECTION,
    ) -> None:
        self.id = id
        self.permissions = permissions
        self.wrap_frame = wrap_frame
        self.connection = connection
        self.topics: frozenset[str] = frozenset()
        self.rooms: dict[str, MembershipSource] = {}
        self.type_filter: TypeFilter | None = None
        self.min_offsets: dict[str, dict[int, int]] | None = None
        self.replay: ReplayState | None = None
        self.index: SessionIndex | None = None
        self.outbox = Outbox()
        self.state = SessionState.OPENING
        self.close_code: CloseCode | None = None
        self.client_address = ""
        self.connected_at = 0.0
        self.client_close_code = ABNORMAL_CLOSURE
        self.is_flush_pending = False  # whether the hub already lists it among those to flush

    @property
    def is_welcomed(self) -> bool:
        """Whether it is between its welcome and its end: it may talk, and is sent events."""
        return self.state in _WELCOMED_STATES

    def transition(self, trigger: SessionTrigger) -> None:
        """Move to the next state.

        Raises:
            AssertionError: If `trigger` can not happen in this state.
        """
        try:
            self.state = TRANSITIONS[self.state][trigger]
        except KeyError:
            raise AssertionError(f"{trigger.name} in {self.state.name}") from None
