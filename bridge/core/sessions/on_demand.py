"""The topics that are read on demand: who follows them, and who is to be told when one wakes.

Rules: nobody is told to follow a topic before it is read, so a cursor never has to name one that is
asleep; and whoever waits for a topic to wake follows it already, so it does not go to sleep
meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from bridge.core.journal import Journal
    from bridge.core.protocol.frames import RequestId
    from bridge.core.sessions.positions import TopicPosition
    from bridge.core.sessions.session import Session

#: A session that waits for so many replies has to wait for one of them: they are kept in memory.
MAX_PENDING_REPLIES: Final = 20


class OnDemandHub(Protocol):
    """What is asked of the hub."""

    topic_positions: dict[str, TopicPosition]
    journal: Journal

    def may_read(self, session: Session, topic: str) -> bool: ...  # noqa: D102
    def subscribe(self, session: Session, topics: Iterable[str], rooms: Iterable[str]) -> None: ...  # noqa: D102
    def reply_ok(self, session: Session, request_id: RequestId) -> None: ...  # noqa: D102
    def send_heartbeat(self, session: Session, stale_seconds: float | None) -> None: ...  # noqa: D102


class PendingReply(NamedTuple):
    """A reply that is due once all of `topics` have woken, or are not asked for any more."""

    request_id: RequestId
    awaited_topics: set[str]


class OnDemandTopics:
    """The followers of the topics that are read on demand, which are asleep until they are read.

    `on_first_subscriber` is called with each of them that gets its first subscriber.
    """

    def __init__(
        self,
        hub: OnDemandHub,
        topics: Iterable[str],
        on_first_subscriber: Callable[[str], None] | None = None,
    ) -> None:
        self._hub = hub
        self._subscribers: dict[str, set[Session]] = {topic: set() for topic in topics}
        self._pending_replies: dict[Session, list[PendingReply]] = {}
        self._on_first_subscriber = on_first_subscriber or _ignore
        for topic in self._subscribers:
            hub.topic_positions[topic].deactivate(b"")

    # -- who follows -----------------------------------------------------------------------------

    def has_subscribers(self, topic: str) -> bool:
        """Whether anybody follows `topic`, or waits to."""
        return bool(self._subscribers[topic])

    def add_admitted(self, session: Session) -> None:
        """Count `session`, which was admitted and is not welcomed yet."""
        self._subscribe(session, session.topics)

    def add_subscriber(self, session: Session, topics: Collection[str]) -> None:
        """Count `session` as a follower of `topics`; who only looks back is not counted."""
        if session.is_welcomed:
            self._subscribe(session, topics)

    def _subscribe(self, session: Session, topics: Collection[str]) -> None:
        for topic in self._subscribers.keys() & topics:
            is_first = not self._subscribers[topic]
            self._subscribers[topic].add(session)
            if is_first:
                self._on_first_subscriber(topic)

    def remove_subscriber(self, session: Session, topics: Collection[str]) -> None:
        """Let `session` follow `topics` no more; a reply that waited for them alone is due."""
        for topic in self._subscribers.keys() & topics:
            self._subscribers[topic].discard(session)
        for pending in self._pending_replies.get(session, ()):
            pending.awaited_topics.difference_update(topics)
        self._send_due_replies(session)

    def remove_session(self, session: Session) -> None:
        """Forget `session`, which is hung up on or gone: it is answered no more."""
        topics = session.topics | self.awaited_topics(session)
        self._pending_replies.pop(session, None)
        for topic in self._subscribers.keys() & topics:
            self._subscribers[topic].discard(session)

    # -- who waits -------------------------------------------------------------------------------

    def idle_topics(self, topics: Iterable[str]) -> set[str]:
        """Return those of `topics` that are asleep."""
        return {topic for topic in topics if self._hub.topic_positions[topic].is_idle}

    def awaited_topics(self, session: Session) -> set[str]:
        """Return the topics for which replies to `session` wait."""
        return {
            topic
            for pending in self._pending_replies.get(session, ())
            for topic in pending.awaited_topics
        }

    def has_too_many_pending(self, session: Session) -> bool:
        """Whether as many replies to `session` wait as may."""
        return len(self._pending_replies.get(session, ())) >= MAX_PENDING_REPLIES

    def reply_when_active(
        self, session: Session, request_id: RequestId, topics: Iterable[str]
    ) -> None:
        """Let `session` follow `topics`, which are asleep, and answer it, once they have woken."""
        self._pending_replies.setdefault(session, []).append(PendingReply(request_id, set(topics)))
        self.add_subscriber(session, self._pending_replies[session][-1].awaited_topics)

    def _send_due_replies(self, session: Session) -> bool:
        """Answer what does not wait any more; tell whether there was any of that."""
        pending = self._pending_replies.get(session, [])
        due = [reply for reply in pending if not reply.awaited_topics]
        if remaining := [reply for reply in pending if reply.awaited_topics]:
            self._pending_replies[session] = remaining
        else:
            self._pending_replies.pop(session, None)
        for reply in due:
            self._hub.reply_ok(session, reply.request_id)
        return bool(due)

    # -- asleep and awake ------------------------------------------------------------------------

    def deactivate(self, topic: str, topic_id: bytes) -> None:
        """Say that `topic` of `topic_id` is not read now: nothing of it is known or kept."""
        self._hub.topic_positions[topic].deactivate(topic_id)
        self._hub.journal.remove_topic(topic)

    def activated(self, topic: str) -> None:
        """Let those follow `topic` who have waited for it; it is read from now on."""
        for session, pending in tuple(self._pending_replies.items()):
            if not any(topic in reply.awaited_topics for reply in pending):
                continue
            if self._hub.may_read(session, topic):
                self._hub.subscribe(session, (topic,), ())
            else:  # a newer token does not cover it
                self._subscribers[topic].discard(session)
            for reply in pending:
                reply.awaited_topics.discard(topic)
            if not self._send_due_replies(session):
                # It waits for others. A cursor has to name this one before events of it come.
                self._hub.send_heartbeat(session, None)


def _ignore(_topic: str) -> None:
    """Nobody reads anything: so it is until somebody is there to be called."""
