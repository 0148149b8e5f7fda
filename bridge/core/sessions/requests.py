"""What a client may say on a live connection, and what it is answered.

Rule: every request gets a reply; a wrong one has no effect, and only frames that break the
contract count towards being closed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bridge.core.protocol import close_codes, frames
from bridge.core.protocol.frames import BadFrame, Beat, Subscribe, Token, Unsubscribe
from bridge.core.protocol.names import is_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bridge.core.sessions.hub import Hub
    from bridge.core.sessions.session import Session

#: More wrong frames than this in a minute close the connection (docs/protocol.md).
BAD_FRAMES_PER_MINUTE = 20
#: More credentials than this are not judged: each costs a signature's worth of work.
TOKENS_PER_MINUTE = 120
MINUTE = 60.0


class Bounds(NamedTuple):
    """How much one connection may ask for."""

    rooms: int
    topics: int
    changes_per_minute: int


class Tally:
    """How often something happened in the minute that began with its first time."""

    __slots__ = ("_began", "_count")

    def __init__(self) -> None:
        self._began = float("-inf")
        self._count = 0

    def exceeds(self, most: int, now: float) -> bool:
        """Count once more at `now` (seconds); tell whether that is more than `most` in a minute."""
        if now - self._began >= MINUTE:
            self._began, self._count = now, 0
        self._count += 1
        return self._count > most


class Dialogue:
    """One client's side of the conversation."""

    __slots__ = ("_bad", "_bounds", "_changes", "_hub", "_session", "_tokens")

    def __init__(self, hub: Hub, session: Session, bounds: Bounds) -> None:
        self._hub = hub
        self._session = session
        self._bounds = bounds
        self._bad: Tally | None = None
        self._changes: Tally | None = None
        self._tokens: Tally | None = None

    def hear(self, text: bytes, now: float, stale: float | None) -> Token | None:
        """Answer one frame; a `Token` is returned, because only the bank can judge it.

        `now` is in seconds of any steady clock; `stale` in seconds without Kafka.
        """
        if not self._session.welcomed:
            return None
        try:
            frame = frames.read(text)
        except BadFrame as bad:
            self.complain(str(bad), bad.id, now)
            return None
        match frame:
            case Beat():
                self._hub.beat(self._session, stale, frame.id)
            case Token():
                return self._credential(frame, now)
            case Subscribe() | Unsubscribe():
                self._change(frame, now)
        return None

    def complain(self, reason: str, id: frames.Id, now: float) -> None:
        """Answer a frame that breaks the contract; hang up on one too many."""
        if not self._session.welcomed:
            return
        self._hub.refuse(self._session, "bad_frame", reason, id)
        self._bad = self._bad or Tally()
        if self._bad.exceeds(BAD_FRAMES_PER_MINUTE, now):
            self._hub.hang_up(self._session, close_codes.MISBEHAVING)

    def _credential(self, frame: Token, now: float) -> Token | None:
        self._tokens = self._tokens or Tally()
        if not self._tokens.exceeds(TOKENS_PER_MINUTE, now):
            return frame
        reason = f"more than {TOKENS_PER_MINUTE} tokens in a minute"
        self._hub.refuse(self._session, "limit", reason, frame.id)
        return None

    def _change(self, frame: Subscribe | Unsubscribe, now: float) -> None:
        if not all(is_name(name) for name in (*frame.topics, *frame.rooms)):
            self.complain("a name is 1 to 200 bytes without control characters", frame.id, now)
            return
        self._changes = self._changes or Tally()
        if self._changes.exceeds(self._bounds.changes_per_minute, now):
            most = self._bounds.changes_per_minute
            reason = f"more than {most} changes in a minute"
            self._hub.refuse(self._session, "limit", reason, frame.id)
            return
        if isinstance(frame, Unsubscribe):
            self._hub.unfollow(self._session, frame.topics, frame.rooms)
        elif refusal := self._refusal(frame):
            self._hub.refuse(self._session, *refusal, frame.id)
            return
        else:
            asleep = self._hub.demand.asleep(frame.topics)
            self._hub.follow(self._session, set(frame.topics) - asleep, frame.rooms)
            if asleep:
                self._hub.demand.wait(self._session, frame.id, asleep)
                return
        self._hub.done(self._session, frame.id)

    def _refusal(self, frame: Subscribe) -> tuple[str, str] | None:
        session, demand = self._session, self._hub.demand
        topics = session.topics | demand.awaited(session) | set(frame.topics)
        refusal = forbidden(self._hub, session, frame.topics, frame.rooms) or too_many(
            self._bounds, topics, session.rooms.keys() | set(frame.rooms)
        )
        if refusal is None and demand.owes_too_much(session) and demand.asleep(frame.topics):
            return "limit", "too many requests wait for topics that are asleep"
        return refusal


def forbidden(
    hub: Hub, session: Session, topics: Iterable[str], rooms: Iterable[str]
) -> tuple[str, str] | None:
    """Why the grant does not cover all of this, as an error and a sentence, or None."""
    for topic in topics:
        if not hub.may_read(session, topic):
            return "forbidden", f"the grant does not cover the topic {topic!r}"
    for room in rooms:
        if not session.grant.may_join(room):
            return "forbidden", f"the grant does not cover the room {room!r}"
    return None


def too_many(
    bounds: Bounds, topics: set[str] | frozenset[str], rooms: set[str]
) -> tuple[str, str] | None:
    """Why this is more than one connection may have, as an error and a sentence, or None."""
    if len(topics) > bounds.topics:
        return "limit", f"more than {bounds.topics} topics (BRIDGE_LIMITS__TOPICS)"
    if len(rooms) > bounds.rooms:
        return "limit", f"more than {bounds.rooms} rooms (BRIDGE_LIMITS__ROOMS)"
    return None
