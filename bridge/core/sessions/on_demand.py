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
    from bridge.core.protocol.frames import Id
    from bridge.core.sessions.positions import Log
    from bridge.core.sessions.session import Session

#: A session that waits for so many replies has to wait for one of them: they are kept in memory.
MOST_OWED: Final = 20


class Host(Protocol):
    """What is asked of the hub."""

    logs: dict[str, Log]
    journal: Journal

    def may_read(self, session: Session, topic: str) -> bool: ...  # noqa: D102
    def follow(self, session: Session, topics: Iterable[str], rooms: Iterable[str]) -> None: ...  # noqa: D102
    def done(self, session: Session, id: Id) -> None: ...  # noqa: D102
    def beat(self, session: Session, stale: float | None) -> None: ...  # noqa: D102


class Owed(NamedTuple):
    """A reply that is due once all of `topics` have woken, or are not asked for any more."""

    id: Id
    topics: set[str]


class Demand:
    """The followers of the topics that are read on demand, which are asleep until they are read.

    `call` is told each of these topics that has got its first follower.
    """

    def __init__(self, hub: Host, topics: Iterable[str]) -> None:
        self._hub = hub
        self._followers: dict[str, set[Session]] = {topic: set() for topic in topics}
        self._owed: dict[Session, list[Owed]] = {}
        self.call: Callable[[str], None] = _nobody
        for topic in self._followers:
            hub.logs[topic].sleep(b"")

    # -- who follows -----------------------------------------------------------------------------

    def followed(self, topic: str) -> bool:
        """Whether anybody follows `topic`, or waits to."""
        return bool(self._followers[topic])

    def expect(self, session: Session) -> None:
        """Count `session`, which was admitted and is not welcomed yet."""
        self._count(session, session.topics)

    def add(self, session: Session, topics: Collection[str]) -> None:
        """Count `session` as a follower of `topics`; who only looks back is not counted."""
        if session.welcomed:
            self._count(session, topics)

    def _count(self, session: Session, topics: Collection[str]) -> None:
        for topic in self._followers.keys() & topics:
            first = not self._followers[topic]
            self._followers[topic].add(session)
            if first:
                self.call(topic)

    def remove(self, session: Session, topics: Collection[str]) -> None:
        """Let `session` follow `topics` no more; a reply that waited for them alone is due."""
        for topic in self._followers.keys() & topics:
            self._followers[topic].discard(session)
        for owed in self._owed.get(session, ()):
            owed.topics.difference_update(topics)
        self._answer(session)

    def drop(self, session: Session) -> None:
        """Forget `session`, which is hung up on or gone: it is answered no more."""
        topics = session.topics | self.awaited(session)
        self._owed.pop(session, None)
        for topic in self._followers.keys() & topics:
            self._followers[topic].discard(session)

    # -- who waits -------------------------------------------------------------------------------

    def asleep(self, topics: Iterable[str]) -> set[str]:
        """Return those of `topics` that are asleep."""
        return {topic for topic in topics if self._hub.logs[topic].asleep}

    def awaited(self, session: Session) -> set[str]:
        """Return the topics for which replies to `session` wait."""
        return {topic for owed in self._owed.get(session, ()) for topic in owed.topics}

    def owes_too_much(self, session: Session) -> bool:
        """Whether as many replies to `session` wait as may."""
        return len(self._owed.get(session, ())) >= MOST_OWED

    def wait(self, session: Session, id: Id, topics: Iterable[str]) -> None:
        """Let `session` follow `topics`, which are asleep, and answer it, once they have woken."""
        self._owed.setdefault(session, []).append(Owed(id, set(topics)))
        self.add(session, self._owed[session][-1].topics)

    def _answer(self, session: Session) -> bool:
        """Answer what does not wait any more; tell whether there was any of that."""
        owed = self._owed.get(session, [])
        due = [each for each in owed if not each.topics]
        if left := [each for each in owed if each.topics]:
            self._owed[session] = left
        else:
            self._owed.pop(session, None)
        for each in due:
            self._hub.done(session, each.id)
        return bool(due)

    # -- asleep and awake ------------------------------------------------------------------------

    def sleep(self, topic: str, identity: bytes) -> None:
        """Say that `topic` of `identity` is not read now: nothing of it is known or kept."""
        self._hub.logs[topic].sleep(identity)
        self._hub.journal.forget(topic)

    def woke(self, topic: str) -> None:
        """Let those follow `topic` who have waited for it; it is read from now on."""
        for session, owed in tuple(self._owed.items()):
            if not any(topic in each.topics for each in owed):
                continue
            if self._hub.may_read(session, topic):
                self._hub.follow(session, (topic,), ())
            else:  # a newer token does not cover it
                self._followers[topic].discard(session)
            for each in owed:
                each.topics.discard(topic)
            if not self._answer(session):
                # It waits for others. A cursor has to name this one before events of it come.
                self._hub.beat(session, None)


def _nobody(_topic: str) -> None:
    """Nobody reads anything: so it is until somebody is there to be called."""
