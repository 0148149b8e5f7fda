"""Handles a client's frames on a live connection: subscribe, unsubscribe, heartbeat, token.

Rule: every request gets a reply, and a refused request has no effect. Only frames that break the
protocol count towards closing the connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from bridge.core.protocol import close_codes, frames
from bridge.core.protocol.frames import (
    BadFrame,
    HeartbeatRequest,
    Subscribe,
    TokenUpdate,
    Unsubscribe,
)
from bridge.core.protocol.names import is_valid_name, nearest_names

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.core.sessions.hub import Hub
    from bridge.core.sessions.session import Session

#: More invalid frames than this in a minute close the connection (docs/protocol.md).
MAX_BAD_FRAMES_PER_MINUTE: Final = 20
#: More tokens than this are refused unchecked: each check costs the CPU of one signature.
MAX_TOKENS_PER_MINUTE: Final = 120
MINUTE_SECONDS: Final = 60.0
#: A burst of frames may use the allowance of so many seconds at once (docs/protocol.md).
BURST_SECONDS: Final = 5.0
#: A frame with more names counts as several: each costs a look-up or two.
NAMES_PER_FRAME: Final = 10
#: The reason for an unknown topic names so many others.
MAX_TOPICS_LISTED: Final = 10


class RequestLimits(NamedTuple):
    """What one connection may have: rooms, topics, and subscription changes per minute."""

    max_rooms: int
    max_topics: int
    max_changes_per_minute: int


class MinuteCounter:
    """Counts in windows of one minute. A window starts with the first count after the last one."""

    __slots__ = ("_count", "_window_start")

    def __init__(self) -> None:
        self._window_start = float("-inf")
        self._count = 0

    def count_exceeds(self, max_count: int, now: float) -> bool:
        """Count once at `now`, in seconds; True if that exceeds `max_count` in this minute."""
        if now - self._window_start >= MINUTE_SECONDS:
            self._window_start, self._count = now, 0
        self._count += 1
        return self._count > max_count


class FrameAllowance:
    """Limits the frames of one connection: so many a second, with bursts of five times as many.

    All frames count: those of the protocol, control frames, fragments and refused ones.
    """

    __slots__ = ("_per_second", "_used_until")

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._used_until = float("-inf")  # when all frames so far had come at the allowed rate

    def count(self, now: float, frame_count: float = 1.0) -> None:
        """Count frames that came at `now`, in seconds of a monotonic clock."""
        self._used_until = max(self._used_until, now) + frame_count / self._per_second

    def used_seconds(self, now: float) -> float:
        """Return how long this client must be quiet until its whole allowance is back."""
        return max(0.0, self._used_until - now)

    def wait_seconds(self, now: float) -> float:
        """Return how long the next frame has to wait; 0 if it may come now."""
        return max(0.0, self._used_until - now - BURST_SECONDS)


class ClientRequests:
    """Handles the frames of one session. Counters are created on first use: most need none."""

    __slots__ = (
        "_allowance",
        "_bad_frames",
        "_changes",
        "_hub",
        "_limits",
        "_session",
        "_token_updates",
    )

    def __init__(
        self, hub: Hub, session: Session, limits: RequestLimits, allowance: FrameAllowance
    ) -> None:
        self._hub = hub
        self._session = session
        self._limits = limits
        self._allowance = allowance
        self._bad_frames: MinuteCounter | None = None
        self._changes: MinuteCounter | None = None
        self._token_updates: MinuteCounter | None = None

    def handle(
        self, text: bytes, now: float, stale_seconds: float | None
    ) -> TokenUpdate | Subscribe | None:
        """Handle one frame. Return it if the caller has to ask for permissions first.

        That is a `TokenUpdate`, or a `Subscribe` that a backend may grant.

        `now` is in seconds of a monotonic clock. `stale_seconds` is how long Kafka was not
        reached, None if it is.
        """
        if not self._session.is_welcomed:
            return None
        try:
            frame = frames.decode_frame(text)
        except BadFrame as error:
            self.reject_frame(str(error), error.request_id, now)
            return None
        match frame:
            case HeartbeatRequest():
                self._hub.send_heartbeat(self._session, stale_seconds, frame.id)
            case TokenUpdate():
                return self._handle_token(frame, now)
            case Subscribe() | Unsubscribe():
                return self._handle_subscription(frame, now)
        return None

    def reject_frame(self, reason: str, request_id: frames.RequestId, now: float) -> None:
        """Reply `bad_frame`; close the session after too many of them in a minute."""
        if not self._session.is_welcomed:
            return
        self._hub.reply_error(self._session, "bad_frame", reason, request_id)
        self._bad_frames = self._bad_frames or MinuteCounter()
        if self._bad_frames.count_exceeds(MAX_BAD_FRAMES_PER_MINUTE, now):
            self._hub.close(self._session, close_codes.MISBEHAVING)

    def _handle_token(self, frame: TokenUpdate, now: float) -> TokenUpdate | None:
        self._token_updates = self._token_updates or MinuteCounter()
        if not self._token_updates.count_exceeds(MAX_TOKENS_PER_MINUTE, now):
            return frame
        reason = f"more than {MAX_TOKENS_PER_MINUTE} tokens in a minute"
        self._hub.reply_error(self._session, "limit", reason, frame.id)
        return None

    def _handle_subscription(self, frame: Subscribe | Unsubscribe, now: float) -> Subscribe | None:
        # Its first names are paid for: the caller counts each frame once.
        name_count = len(frame.topics) + len(frame.rooms)
        self._allowance.count(now, max(0.0, name_count / NAMES_PER_FRAME - 1))
        if not all(is_valid_name(name) for name in (*frame.topics, *frame.rooms)):
            self.reject_frame("a name is 1 to 200 bytes without control characters", frame.id, now)
            return None
        self._changes = self._changes or MinuteCounter()
        if self._changes.count_exceeds(self._limits.max_changes_per_minute, now):
            max_changes = self._limits.max_changes_per_minute
            reason = f"more than {max_changes} changes in a minute"
            self._hub.reply_error(self._session, "limit", reason, frame.id)
            return None
        if isinstance(frame, Unsubscribe):
            self._hub.unsubscribe(self._session, frame.topics, frame.rooms)
            self._hub.reply_ok(self._session, frame.id, frame.rooms)
            return None
        has_backend = self._session.permissions.claims is not None
        if has_backend and check_permissions(self._hub, self._session, frame.topics, frame.rooms):
            return frame
        self.subscribe(frame)
        return None

    def subscribe(self, frame: Subscribe) -> None:
        """Reply to `frame` by the permissions that the session has now."""
        if refusal := self._check_subscribe(frame):
            self._hub.reply_error(self._session, *refusal, frame.id)
            return
        idle_topics = self._hub.on_demand.idle_topics(frame.topics)
        self._hub.subscribe(self._session, set(frame.topics) - idle_topics, frame.rooms)
        if idle_topics:
            self._hub.on_demand.reply_when_active(self._session, frame.id, idle_topics)
            return
        self._hub.reply_ok(self._session, frame.id)

    def _check_subscribe(self, frame: Subscribe) -> tuple[str, str] | None:
        session, on_demand = self._session, self._hub.on_demand
        topics = session.topics | on_demand.awaited_topics(session) | set(frame.topics)
        refusal = check_permissions(self._hub, session, frame.topics, frame.rooms) or check_limits(
            self._limits, topics, session.rooms.keys() | set(frame.rooms)
        )
        if (
            refusal is None
            and on_demand.has_too_many_pending(session)
            and on_demand.idle_topics(frame.topics)
        ):
            return "limit", "too many requests wait for topics that are asleep"
        return refusal


def check_permissions(
    hub: Hub, session: Session, topics: Iterable[str], rooms: Iterable[str]
) -> tuple[str, str] | None:
    """Return the error code and a sentence if a topic or room is not covered, else None."""
    for topic in topics:
        if not hub.may_read(session, topic):
            if session.permissions.may_read_all_private:  # authentication is off: nothing to probe
                return "forbidden", _describe_unknown_topic(hub, topic)
            return "forbidden", f"the grant does not cover the topic {topic!r}"
    for room in rooms:
        if not session.permissions.may_join(room):
            return "forbidden", f"the grant does not cover the room {room!r}"
    return None


def _describe_unknown_topic(hub: Hub, topic: str) -> str:
    public = (name for name, position in hub.topic_positions.items() if not position.is_private)
    nearest = nearest_names(topic, public, MAX_TOPICS_LISTED)
    there_are = f"; there are: {', '.join(nearest)}" if nearest else ""
    return f"there is no topic {topic!r} here{there_are}"


def check_limits(
    limits: RequestLimits, topics: set[str] | frozenset[str], rooms: set[str]
) -> tuple[str, str] | None:
    """Return the error code and a sentence if there are too many topics or rooms, else None."""
    if len(topics) > limits.max_topics:
        return "limit", f"more than {limits.max_topics} topics (BRIDGE_LIMITS__TOPICS)"
    if len(rooms) > limits.max_rooms:
        return "limit", f"more than {limits.max_rooms} rooms (BRIDGE_LIMITS__ROOMS)"
    return None
