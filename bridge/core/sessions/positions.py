"""Read positions of this instance per topic, and the cursor of each session.

Rule: a cursor covers exactly the events queued for its session. Live sessions share the
instance's offsets; a session that replays, or has seen more than this instance, has its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.core.protocol.cursor import (
    NOTHING_AWAITED,
    TopicOffsets,
    join_topic_offsets,
    pack_topic_offsets,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bridge.core.sessions.session import ReplayState, Session


class TopicPosition:
    """How far this instance has read one topic.

    An offset moves only after everything below it was queued for the sessions, so a cursor made of
    the offsets covers exactly what they were sent.
    """

    __slots__ = (
        "_packed_offsets",
        "awaited",
        "is_idle",
        "is_private",
        "next_offsets",
        "topic",
        "topic_id",
        "waiting",
    )

    def __init__(self, topic: str, *, is_private: bool = False) -> None:
        self.topic = topic
        self.is_private = is_private
        self.is_idle = False  #: true for an on-demand topic that is not read now
        self.topic_id = b""
        self.next_offsets: dict[int, int] = {}
        #: Partitions that have no leader, and since when in seconds since 1970.
        self.waiting: Mapping[int, float] = {}
        #: Those of them that were never read, as in `TopicOffsets`.
        self.awaited: Mapping[int, int] = NOTHING_AWAITED
        self._packed_offsets: bytes | None = None

    def copy(self) -> TopicPosition:
        """Return another object with the same content."""
        copied = TopicPosition(self.topic, is_private=self.is_private)
        copied.topic_id, copied.next_offsets = self.topic_id, dict(self.next_offsets)
        copied.waiting, copied.awaited = self.waiting, self.awaited
        copied.is_idle = self.is_idle
        return copied

    def set_waiting(
        self, topic_id: bytes, since: Mapping[int, float], unread: Mapping[int, int]
    ) -> None:
        """Replace the partitions that wait for a leader."""
        self.waiting, self.awaited = since, unread
        self.topic_id = self.topic_id or topic_id
        self._packed_offsets = None

    def set_next_offset(self, partition: int, offset: int) -> None:
        """Record that everything of `partition` below `offset` was queued."""
        self.next_offsets[partition] = offset
        self._packed_offsets = None

    def reset(self, topic_id: bytes, offsets: Mapping[int, int]) -> None:
        """Start reading at `offsets`; earlier offsets are dropped."""
        self.is_idle = False
        self.topic_id = topic_id
        self.next_offsets = dict(offsets)
        self._packed_offsets = None

    def deactivate(self, topic_id: bytes) -> None:
        """Mark the topic as idle until `reset`; its offsets are dropped."""
        self.reset(topic_id, {})
        self.is_idle = True

    @property
    def packed_offsets(self) -> bytes:
        """This topic's part of a cursor, encoded once after each move of an offset."""
        if self._packed_offsets is None:
            self._packed_offsets = pack_topic_offsets(
                self.topic, TopicOffsets(self.topic_id, self.next_offsets, self.awaited)
            )
        return self._packed_offsets

    def was_recreated_since(self, topic_id: bytes) -> bool:
        """True if Kafka's topic id has changed from `topic_id`; False if either is unknown."""
        return bool(topic_id and self.topic_id) and topic_id != self.topic_id


def session_cursor(
    session: Session, topic_positions: Mapping[str, TopicPosition], made_at: int
) -> str:
    """Encode the cursor of `session`, made now; sessions without `min_offsets` share its parts.

    `made_at` is in seconds since 1970.
    """
    if session.replay is None and session.min_offsets is not None:
        prune_min_offsets(session, topic_positions)
    if session.min_offsets is None and not session.held:
        return join_topic_offsets(
            (topic_positions[topic].packed_offsets for topic in sorted(session.topics)), made_at
        )
    return join_topic_offsets(
        (
            _pack_session_offsets(session, topic, topic_positions[topic])
            for topic in sorted(session.topics)
        ),
        made_at,
    )


def prune_min_offsets(session: Session, topic_positions: Mapping[str, TopicPosition]) -> None:
    """Drop the `min_offsets` of a live session that this instance has reached."""
    remaining: dict[str, dict[int, int]] = {}
    for topic, min_offsets in (session.min_offsets or {}).items():
        next_offsets = topic_positions[topic].next_offsets
        higher = {
            partition: min_offset
            for partition, min_offset in min_offsets.items()
            if min_offset > next_offsets.get(partition, 0)
        }
        if higher and topic in session.topics:
            remaining[topic] = higher
    session.min_offsets = remaining or None


def replay_offsets(session: Session, topic: str) -> dict[int, int]:
    """Return the next offset of each partition for a replaying session, its scan included."""
    offsets = dict((session.min_offsets or {}).get(topic, {}))
    if session.replay is not None and session.replay.scan_range is not None:
        for (scanned_topic, partition), offset in session.replay.scan_range.next_offsets.items():
            if scanned_topic == topic and offset > offsets.get(partition, 0):
                offsets[partition] = offset
    return offsets


def reposition_replaying(
    sessions: Iterable[Session],
    topic_position: TopicPosition,
    truncated_ends: Mapping[int, int] | None = None,
) -> list[Session]:
    """Move replaying sessions after their topic was recreated or truncated.

    `truncated_ends` has the new ends of truncated partitions; None means that the topic was
    recreated, and is replayed from its beginning. Return the affected sessions: they need a gap.
    """
    topic = topic_position.topic
    affected: dict[Session, ReplayState] = {}
    for session in sessions:
        if session.replay is None or topic not in session.topics:
            continue
        offsets = replay_offsets(session, topic)
        if (
            session.replay.topic_ids[topic] != topic_position.topic_id
            if truncated_ends is None
            else any(offsets.get(partition, 0) > end for partition, end in truncated_ends.items())
        ):
            affected[session] = session.replay
    for session, replay in affected.items():
        reposition(session, topic_position, from_beginning=truncated_ends is None)
        replay.is_admitted = False
        if replay.scan_range is not None:
            replay.scan_range.exclude(topic, truncated_ends)
    return list(affected)


def reposition(session: Session, topic_position: TopicPosition, *, from_beginning: bool) -> None:
    """Move a replaying session to the current offsets of a topic, or to its beginning."""
    if session.replay is None or session.min_offsets is None:
        return
    session.min_offsets[topic_position.topic] = (
        {} if from_beginning else dict(topic_position.next_offsets)
    )
    session.replay.topic_ids[topic_position.topic] = topic_position.topic_id
    session.replay.clampable_offsets.pop(topic_position.topic, None)
    session.replay.awaited.pop(topic_position.topic, None)
    if not from_beginning and topic_position.awaited:
        session.replay.awaited[topic_position.topic] = dict(topic_position.awaited)
    if from_beginning:
        # The log may start above 0. The client was sent a gap already, so no second one.
        session.replay.clampable_offsets[topic_position.topic] = {}


def _pack_session_offsets(session: Session, topic: str, topic_position: TopicPosition) -> bytes:
    if session.replay is not None:
        topic_id = session.replay.topic_ids[topic] or topic_position.topic_id
        awaited = session.replay.awaited.get(topic, NOTHING_AWAITED)
        return pack_topic_offsets(
            topic, TopicOffsets(topic_id, replay_offsets(session, topic), awaited)
        )
    min_offsets = (session.min_offsets or {}).get(topic, {})
    held = session.held.get(topic)
    if not min_offsets and held is None:
        return topic_position.packed_offsets
    offsets = {
        partition: max(topic_position.next_offsets.get(partition, 0), min_offsets.get(partition, 0))
        for partition in {*topic_position.next_offsets, *min_offsets}
    }
    awaited = topic_position.awaited
    if held is not None:
        offsets = {p: o for p, o in {**offsets, **held.offsets}.items() if p not in held.awaited}
        awaited = {p: s for p, s in {**awaited, **held.awaited}.items() if p not in offsets}
    return pack_topic_offsets(topic, TopicOffsets(topic_position.topic_id, offsets, awaited))


def waiting_partitions(
    topics: Iterable[str], topic_positions: Mapping[str, TopicPosition]
) -> list[str]:
    """Return the partitions of `topics` that wait for a leader, as `topic:partition`."""
    return [
        f"{topic}:{partition}"
        for topic in sorted(topics)
        for partition in sorted(topic_positions[topic].waiting)
    ]
