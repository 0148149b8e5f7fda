"""One connected client: its state machine, outbox, rooms, and progress of its replay.

Rule: `TRANSITIONS` is the whole state machine. The first reason to close is the one that the
client receives. What a session is sent is decided elsewhere: hub.py, fanout.py, catchup.py.
"""

from __future__ import annotations

from collections import Counter
from enum import Enum, Flag, auto
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from bridge.core.protocol.close_codes import CloseCode
    from bridge.core.protocol.cursor import TopicOffsets
    from bridge.core.protocol.event import TypeFilter
    from bridge.core.sessions.permissions import Permissions


#: Frames of this size are not copied for one session.
_MIN_SHARED_BYTES: Final = 4096
#: The close code of a client that closed without a close frame (RFC 6455, 7.4.1).
ABNORMAL_CLOSURE: Final = 1006


class SessionState(Enum):
    """Where a session is between its admission and the end of its socket."""

    OPENING = auto()  #: admitted, not welcomed yet
    REPLAYING = auto()  #: welcomed; receives missed events
    LIVE = auto()  #: receives events as they are read
    CLOSING = auto()  #: the closing frame is queued; no event follows
    CLOSED = auto()  #: the socket is closed


class SessionTrigger(Enum):
    """What moves a session to another state."""

    WELCOMED = auto()
    RESUMED = auto()  #: welcomed with a cursor, so with events to replay
    CAUGHT_UP = auto()
    PARTITION_RETURNED = auto()  #: one that it waited for has a leader again
    CLOSED_BY_SERVER = auto()
    DISCONNECTED = auto()


# The whole state machine. A trigger that is absent is a bug: `Session.transition` raises.
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
        SessionTrigger.PARTITION_RETURNED: SessionState.REPLAYING,
        SessionTrigger.CLOSED_BY_SERVER: SessionState.CLOSING,
        SessionTrigger.DISCONNECTED: SessionState.CLOSED,
    },
    SessionState.CLOSING: {SessionTrigger.DISCONNECTED: SessionState.CLOSED},
    SessionState.CLOSED: {},
}
_WELCOMED_STATES: Final = (SessionState.LIVE, SessionState.REPLAYING)


class MembershipSource(Flag):
    """Why a session is in a room. It leaves when no source is left."""

    OWN = auto()  #: the client subscribed
    CONNECTION = auto()  #: the backend added this connection
    ACCOUNT = auto()  #: the backend added the account


class Outbox:
    """A queue of frames, limited in bytes.

    Below the limit it accepts one more item of any size. Otherwise no client could receive an event
    that is larger than the limit.
    """

    __slots__ = ("_frames", "pending_bytes")

    def __init__(self) -> None:
        # A view is the beginning of a frame: the rest follows, and both are popped together.
        self._frames: list[bytes | memoryview] = []
        self.pending_bytes = 0  #: queued and not popped

    def try_append(self, frame: bytes, max_pending_bytes: int) -> bool:
        """Queue `frame` if fewer than `max_pending_bytes` are pending; else return False."""
        if self.pending_bytes >= max_pending_bytes:
            return False
        self._frames.append(frame)
        self.pending_bytes += len(frame)
        return True

    def append(self, frame: bytes) -> None:
        """Queue `frame` without a limit: for the bridge's own frames, which are few and small."""
        self._frames.append(frame)
        self.pending_bytes += len(frame)

    @property
    def newest(self) -> bytes | memoryview:
        """The end of what is queued, which must not be empty."""
        return self._frames[-1]

    def insert_before_end(self, text: bytes, end_bytes: int) -> None:
        """Insert `text` before the last `end_bytes` of the newest frame.

        The bytes of a large frame stay shared with all other outboxes.
        """
        frame = self._frames[-1]
        if len(frame) < _MIN_SHARED_BYTES:  # a copy takes a third of the time
            self._frames[-1] = b"".join((frame[:-end_bytes], text, frame[-end_bytes:]))
        else:
            self._frames[-1:] = memoryview(frame)[:-end_bytes], text + frame[-end_bytes:]
        self.pending_bytes += len(text)

    def pop(self, max_bytes: int) -> bytes:
        """Remove and join the oldest frames: as many as fit into `max_bytes`, and at least one.

        No frame is cut.
        """
        frames = self._frames
        if self.pending_bytes <= max_bytes:
            self._frames = []
            self.pending_bytes = 0
            return b"".join(frames)
        size_bytes = count = 0
        for frame in frames:
            is_begun = count and isinstance(frames[count - 1], memoryview)
            if count and not is_begun and size_bytes + len(frame) > max_bytes:
                break
            size_bytes += len(frame)
            count += 1
        joined = b"".join(frames[:count])
        del frames[:count]
        self.pending_bytes -= size_bytes
        return joined

    def clear(self) -> None:
        """Drop everything that is queued."""
        self._frames = []
        self.pending_bytes = 0


class ScanRange:
    """How far a scan of Kafka has come, in offsets by public topic and partition.

    `bytes_by_topic` counts what was read so far.
    """

    __slots__ = ("bytes_by_topic", "next_offsets", "start_offsets")

    def __init__(self, start_offsets: dict[tuple[str, int], int]) -> None:
        self.start_offsets = start_offsets
        self.next_offsets = dict(start_offsets)
        self.bytes_by_topic: Counter[str] = Counter()

    def exclude(self, topic: str, end_offsets: Mapping[int, int] | None = None) -> None:
        """Stop reading `topic`, or only its partitions that are beyond their `end_offsets`."""
        for key, next_offset in tuple(self.next_offsets.items()):
            if key[0] == topic and (
                end_offsets is None or next_offset > end_offsets.get(key[1], next_offset)
            ):
                del self.next_offsets[key]


class ReplayState:
    """Progress of a session's replay. Its positions are in `Session.min_offsets`.

    `topic_ids` has the topic ids for which the positions are valid. `clampable_offsets` are those
    that may be raised to the start of the log without a gap, until events were sent from there.
    `made_at` is the time of its cursor, in seconds since 1970, None if the cursor has none.
    `is_admitted`: the log bounds and the limits allow the positions. `scan_range` belongs to the
    scan that serves the session, if one does. `uncovered_topics` are not in the client's cursor
    until a frame with a full cursor was sent.
    """

    __slots__ = (
        "_bytes_at_join",
        "awaited",
        "bytes_read",
        "clampable_offsets",
        "events_replayed",
        "is_admitted",
        "made_at",
        "records_read",
        "scan_range",
        "topic_ids",
        "uncovered_topics",
    )

    def __init__(
        self,
        topic_ids: dict[str, bytes],
        clampable_offsets: dict[str, dict[int, int]],
        made_at: int | None = None,
    ) -> None:
        self.topic_ids = topic_ids
        self.clampable_offsets = clampable_offsets
        self.made_at = made_at
        #: Partitions whose start Kafka has to look up, by topic, as in `TopicOffsets`.
        self.awaited: dict[str, dict[int, int]] = {}
        self.is_admitted = False
        self.events_replayed = 0
        self.uncovered_topics: frozenset[str] = frozenset()
        self.scan_range: ScanRange | None = None
        self.records_read = 0  #: from Kafka, in scans that the session has left
        self.bytes_read = 0  #: likewise
        self._bytes_at_join: dict[str, int] = {}  # what the scan had read before, by topic

    def total_bytes_read(self, topics: Iterable[str]) -> int:
        """Bytes read from Kafka for this session, the current scan included."""
        if self.scan_range is None:
            return self.bytes_read
        scan_bytes, bytes_at_join = self.scan_range.bytes_by_topic, self._bytes_at_join
        return self.bytes_read + sum(
            scan_bytes[topic] - bytes_at_join.get(topic, 0) for topic in topics
        )

    def join_scan(self, scan_range: ScanRange) -> None:
        """Start counting the bytes of this scan for the session."""
        self.scan_range, self._bytes_at_join = scan_range, dict(scan_range.bytes_by_topic)

    def leave_scan(self, topics: Iterable[str]) -> None:
        """Add the scan's bytes to `bytes_read`, and be served by no scan."""
        self.bytes_read = self.total_bytes_read(topics)
        self.scan_range = None


class SessionIndex(Protocol):
    """The index in which event delivery finds a session: of live sessions, or of one scan."""

    def remove(self, session: Session) -> None: ...  # noqa: D102
    def add_room(self, session: Session, room: str) -> None: ...  # noqa: D102
    def remove_room(self, session: Session, room: str) -> None: ...  # noqa: D102


class Connection(Protocol):
    """The client's end of a session. The web layer implements it."""

    @property
    def kind(self) -> str:
        """The transport, as metrics name it."""

    @property
    def last_seen(self) -> float:
        """When the client last sent something, in seconds of the event loop's clock."""

    def flush(self) -> None:
        """Write the session's outbox to the socket."""


class NoConnection:
    """The connection of a session that only reads history: it has no socket."""

    kind = "none"
    last_seen = 0.0

    def flush(self) -> None:
        """Do nothing: there is no socket."""


NO_CONNECTION: Final = NoConnection()


class Session:
    """State of one connected client.

    `connection` is the client's end of the session. `wrap_frame` turns a frame's JSON text into
    the bytes of its transport. `index` is where delivery finds the session, None if
    nowhere. `min_offsets` has, by topic and partition, the first offset that may be sent, if it
    differs from this instance's own; usually it is None. `replay` is set only while `REPLAYING`.
    """

    __slots__ = (
        "client_address",
        "client_close_code",
        "close_code",
        "connected_at",
        "connection",
        "delivered_count",
        "held",
        "held_made_at",
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
        "welcomed_at",
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
        #: Where it stands in partitions that wait for a leader, by topic, if it is behind there.
        self.held: dict[str, TopicOffsets] = {}
        self.held_made_at: int | None = None  #: the time of the cursor that these are from
        self.index: SessionIndex | None = None
        self.outbox = Outbox()
        self.state = SessionState.OPENING
        self.close_code: CloseCode | None = None
        self.client_address = ""
        self.connected_at = 0.0
        self.welcomed_at: float | None = None  #: seconds of a monotonic clock
        self.delivered_count = 0  #: events that were queued for it
        self.client_close_code = ABNORMAL_CLOSURE
        self.is_flush_pending = False  # true while the hub lists it for `pop_unflushed`

    @property
    def is_welcomed(self) -> bool:
        """True between the welcome and the close: requests are handled and events are sent."""
        return self.state in _WELCOMED_STATES

    def transition(self, trigger: SessionTrigger) -> None:
        """Move to the state that `TRANSITIONS` has for `trigger`.

        Raises:
            AssertionError: If there is none. That is a bug of the caller.
        """
        try:
            self.state = TRANSITIONS[self.state][trigger]
        except KeyError:
            raise AssertionError(f"{trigger.name} in {self.state.name}") from None
