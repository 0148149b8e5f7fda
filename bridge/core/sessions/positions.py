"""The cursor that covers exactly the frames that a session has been handed.

Rule: it is made of what this instance has read where the session is live, and of the session's
own places where it is ahead of that or has not been caught up yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.core.protocol.cursor import Place, join_places, pack_place

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bridge.core.sessions.session import Replay, Session


class Log:
    """What has been read of `topic`.

    Rule: `next` of a partition is moved only after everything below it has been handed to the
    sessions, so a cursor made of it covers exactly what they were sent.
    """

    __slots__ = ("_packed", "asleep", "identity", "next", "private", "topic")

    def __init__(self, topic: str, *, private: bool = False) -> None:
        self.topic = topic
        self.private = private
        self.asleep = False  #: whether it is read on demand, and nobody demands it
        self.identity = b""
        self.next: dict[int, int] = {}
        self._packed: bytes | None = None

    def move(self, partition: int, offset: int) -> None:
        """Say that `partition` has been read up to `offset`, which is the next."""
        self.next[partition] = offset
        self._packed = None

    def begin(self, identity: bytes, offsets: Mapping[int, int]) -> None:
        """Say that the topic of `identity` is read from `offsets`, whatever was before."""
        self.asleep = False
        self.identity = identity
        self.next = dict(offsets)
        self._packed = None

    def sleep(self, identity: bytes) -> None:
        """Say that the topic, which is of `identity` now, is not read until it is begun anew."""
        self.begin(identity, {})
        self.asleep = True

    @property
    def packed(self) -> bytes:
        """This topic's part of a cursor, made once between two moves."""
        if self._packed is None:
            self._packed = pack_place(self.topic, Place(self.identity, self.next))
        return self._packed

    def is_other(self, identity: bytes) -> bool:
        """Whether the topic was deleted and created again since it had this `identity`."""
        return bool(identity and self.identity) and identity != self.identity


def cursor(session: Session, logs: Mapping[str, Log]) -> str:
    """Return the cursor of `session` as text."""
    if session.replay is None and session.floors is not None:
        settle(session, logs)
    if session.floors is None:
        return join_places(logs[topic].packed for topic in sorted(session.topics))
    return join_places(_packed(session, topic, logs[topic]) for topic in sorted(session.topics))


def settle(session: Session, logs: Mapping[str, Log]) -> None:
    """Drop the floors of a live `session` that this instance has read past by now."""
    left: dict[str, dict[int, int]] = {}
    for topic, floors in (session.floors or {}).items():
        read = logs[topic].next
        higher = {p: floor for p, floor in floors.items() if floor > read.get(p, 0)}
        if higher and topic in session.topics:
            left[topic] = higher
    session.floors = left or None


def places(session: Session, topic: str) -> dict[int, int]:
    """The next offset of each partition that a session in the middle of a replay is to be sent."""
    found = dict((session.floors or {}).get(topic, {}))
    if session.replay is not None and session.replay.reach is not None:
        for (passed, partition), offset in session.replay.reach.next.items():
            if passed == topic and offset > found.get(partition, 0):
                found[partition] = offset
    return found


def uproot(
    sessions: Iterable[Session], log: Log, cut: Mapping[int, int] | None = None
) -> list[Session]:
    """Let sessions in the middle of a replay go on elsewhere in a topic that is not what it was.

    `cut` are the ends of partitions that were cut off. Without, the topic was created again, and
    is replayed from its beginning. Return those that it concerns: they have to be told.
    """
    topic = log.topic
    concerned: dict[Session, Replay] = {}
    for session in sessions:
        if session.replay is None or topic not in session.topics:
            continue
        at = places(session, topic)
        if (
            session.replay.identities[topic] != log.identity
            if cut is None
            else any(at.get(partition, 0) > end for partition, end in cut.items())
        ):
            concerned[session] = session.replay
    for session, replay in concerned.items():
        move_on(session, log, from_beginning=cut is None)
        replay.judged = False
        if replay.reach is not None:
            replay.reach.leave_out(topic, cut)
    return list(concerned)


def move_on(session: Session, log: Log, *, from_beginning: bool) -> None:
    """Let a session in the middle of a replay go on from now in a topic, or from its beginning."""
    if session.replay is None or session.floors is None:
        return
    session.floors[log.topic] = {} if from_beginning else dict(log.next)
    session.replay.identities[log.topic] = log.identity
    session.replay.clipped.pop(log.topic, None)
    if from_beginning:
        session.replay.clipped[log.topic] = {}  # wherever that is


def _packed(session: Session, topic: str, log: Log) -> bytes:
    if session.replay is not None:
        identity = session.replay.identities[topic] or log.identity
        return pack_place(topic, Place(identity, places(session, topic)))
    floors = (session.floors or {}).get(topic)
    if not floors:
        return log.packed
    offsets = {p: max(log.next.get(p, 0), floors.get(p, 0)) for p in {*log.next, *floors}}
    return pack_place(topic, Place(log.identity, offsets))
