"""Topics that are read on demand: their subscribers, and replies that wait for activation.

Rules: a subscribe is answered only once the topic is read, so no cursor names an idle topic. A
session that waits counts as a subscriber, so its topic does not become idle meanwhile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from bridge.core.journal import Journal
    from bridge.core.protocol.frames import RequestId
    from bridge.core.sessions.positions import TopicPosition
    from bridge.core.sessions.session import Session

#: Replies that may wait for one session, because they are kept in memory.
MAX_PENDING_REPLIES: Final = 20


class OnDemandHub(Protocol):
    """What this module uses of the hub."""

    topic_positions: dict[str, TopicPosition]
    journal: Journal

    def may_read(self, session: Session, topic: str) -> bool: ...  # noqa: D102
    def subscribe(  # noqa: D102
        self, session: Session, topics: Iterable[str], rooms: Iterable[str]
    ) -> None: ...
    def reply_ok(self, session: Session, request_id: RequestId) -> None: ...  # noqa: D102
    def send_heartbeat(  # noqa: D102
        self, session: Session, stale_seconds: float | None
    ) -> None: ...


class PendingReply(NamedTuple):
    """A reply that is due once all `awaited_topics` are active, or were unsubscribed again."""

    request_id: RequestId
    awaited_topics: set[str]


class OnDemandTopics:
    """Counts the subscribers of on-demand topics, all idle at first.

    `on_first_subscriber` is called with each topic that gets its first subscriber.
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

    # -- topics ----------------------------------------------------------------------------------

    def has_topic(self, topic: str) -> bool:
        """True if `topic` is read on demand."""
        return topic in self._subscribers

    def is_starting(self, topic: str) -> bool:
        """True if `topic` is not read yet, although that needs no subscriber."""
        return self._hub.topic_positions[topic].is_idle and topic not in self._subscribers

    def add_topic(self, topic: str, subscribers: Iterable[Session] = ()) -> None:
        """Read `topic` on demand from now on. `subscribers` follow it already."""
        self._subscribers[topic] = set(subscribers)

    def remove_topic(self, topic: str) -> None:
        """Read `topic` whether it has subscribers or not, or not at all."""
        self._subscribers.pop(topic, None)

    # -- subscribers -----------------------------------------------------------------------------

    def has_subscribers(self, topic: str) -> bool:
        """True if a session follows `topic`, or waits for its activation."""
        return bool(self._subscribers[topic])

    def add_admitted(self, session: Session) -> None:
        """Count `session` as a subscriber of its topics before its welcome."""
        self._subscribe(session, session.topics)

    def add_subscriber(self, session: Session, topics: Collection[str]) -> None:
        """Count `session` as a subscriber of `topics`, unless it only reads history."""
        if session.is_welcomed:
            self._subscribe(session, topics)

    def _subscribe(self, session: Session, topics: Collection[str]) -> None:
        for topic in self._subscribers.keys() & topics:
            is_first = not self._subscribers[topic]
            self._subscribers[topic].add(session)
            if is_first:
                self._on_first_subscriber(topic)

    def remove_subscriber(self, session: Session, topics: Collection[str]) -> None:
        """Remove `session` from `topics`, and send replies that waited for nothing else."""
        for topic in self._subscribers.keys() & topics:
            self._subscribers[topic].discard(session)
        for pending in self._pending_replies.get(session, ()):
            pending.awaited_topics.difference_update(topics)
        self._send_due_replies(session)

    def remove_session(self, session: Session) -> None:
        """Remove `session`, which is closed, and drop the replies that wait for it."""
        topics = session.topics | self.awaited_topics(session)
        self._pending_replies.pop(session, None)
        for topic in self._subscribers.keys() & topics:
            self._subscribers[topic].discard(session)

    # -- pending replies -------------------------------------------------------------------------

    def idle_topics(self, topics: Iterable[str]) -> set[str]:
        """Return those of `topics` that are not read now."""
        return {topic for topic in topics if self._hub.topic_positions[topic].is_idle}

    def awaited_topics(self, session: Session) -> set[str]:
        """Return the topics whose activation replies to `session` wait for."""
        return {
            topic
            for pending in self._pending_replies.get(session, ())
            for topic in pending.awaited_topics
        }

    def has_too_many_pending(self, session: Session) -> bool:
        """True if `MAX_PENDING_REPLIES` replies to `session` wait already."""
        return len(self._pending_replies.get(session, ())) >= MAX_PENDING_REPLIES

    def reply_when_active(
        self, session: Session, request_id: RequestId, topics: Iterable[str]
    ) -> None:
        """Subscribe `session` to idle `topics` and send the reply once all of them are active."""
        self._pending_replies.setdefault(session, []).append(PendingReply(request_id, set(topics)))
        self.add_subscriber(session, self._pending_replies[session][-1].awaited_topics)

    def _send_due_replies(self, session: Session) -> bool:
        """Send the replies that wait for no topic any more; True if there was one."""
        pending = self._pending_replies.get(session, [])
        due = [reply for reply in pending if not reply.awaited_topics]
        if remaining := [reply for reply in pending if reply.awaited_topics]:
            self._pending_replies[session] = remaining
        else:
            self._pending_replies.pop(session, None)
        for reply in due:
            self._hub.reply_ok(session, reply.request_id)
        return bool(due)

    # -- activation ------------------------------------------------------------------------------

    def deactivate(self, topic: str, topic_id: bytes) -> None:
        """Mark `topic` as idle; its position and its journal are dropped."""
        self._hub.topic_positions[topic].deactivate(topic_id)
        self._hub.journal.remove_topic(topic)

    def activated(self, topic: str) -> None:
        """Subscribe the sessions that waited for `topic`, which is read from now on."""
        for session, pending in tuple(self._pending_replies.items()):
            if not any(topic in reply.awaited_topics for reply in pending):
                continue
            if self._hub.may_read(session, topic):
                self._hub.subscribe(session, (topic,), ())
            else:  # a newer token does not cover the topic
                self._subscribers.get(topic, set()).discard(session)
            for reply in pending:
                reply.awaited_topics.discard(topic)
            if not self._send_due_replies(session):
                # Its reply waits for other topics. Events of this one must not come before a
                # cursor that has it.
                self._hub.send_heartbeat(session, None)


def _ignore(_topic: str) -> None:
    """Stands in for `on_first_subscriber` where nothing reads topics on demand."""
