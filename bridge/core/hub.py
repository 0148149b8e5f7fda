"""All sessions on this instance, and the events that reach them.

Rule: every method is synchronous, so each is atomic on the event loop: nothing can arrive
between a session's welcome and its first live event. What has to be written afterwards is
returned by `flushable`; the bank writes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET

from bridge.core import close as closes
from bridge.core import moment, wire
from bridge.core.fanout import deliver
from bridge.core.interest import Interest
from bridge.core.log import Log
from bridge.core.position import Place, join_places, pack_place
from bridge.core.resume import ahead, resume
from bridge.core.session import Hand, Session, Signal, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from bridge.core.close import Close
    from bridge.core.position import Cursor
    from bridge.core.router import Routed


class Hub:
    """Routes each event to the sessions that follow its audience.

    `topics` maps each public topic to whether it is private. `heartbeat` is in seconds and only
    told; `ceiling` is the bytes at which a session's outbox takes no more. `jitter` spreads the
    seconds after which clients that are hung up on come back.
    """

    def __init__(
        self,
        instance: str,
        topics: Mapping[str, bool],
        *,
        heartbeat: float,
        ceiling: int,
        jitter: Callable[[float], float],
    ) -> None:
        self.instance = instance
        self.heartbeat = heartbeat
        self.logs = {topic: Log(topic, private=private) for topic, private in topics.items()}
        self.interest = Interest()
        self.delivered = 0
        self.read = 0
        self.unaddressed = 0
        self._ceiling = ceiling
        self._jitter = jitter
        self._dirty: list[Session] = []

    # -- sessions ------------------------------------------------------------------------------

    def readable(self, session: Session) -> frozenset[str]:
        """The topics that `session` may read without naming them."""
        grant = session.grant
        return frozenset(
            topic
            for topic, log in self.logs.items()
            if not (log.private and grant.names_private)
            and grant.may_read(topic, private=log.private)
        )

    def may_read(self, session: Session, topic: str) -> bool:
        """Whether `session` may name `topic`; one that does not exist is like one forbidden."""
        log = self.logs.get(topic)
        return log is not None and session.grant.may_read(topic, private=log.private)

    def questions(self, cursor: Cursor) -> list[tuple[str, int]]:
        """The topics and partitions whose ends `attach` will need to judge `cursor`."""
        return ahead(cursor, self.logs)

    def attach(
        self,
        session: Session,
        *,
        resumed: str = "",
        cursor: Cursor | None = None,
        ends: Mapping[str, Mapping[int, int]] | None = None,
    ) -> None:
        """Welcome `session`, whose topics, rooms and types are set, and bring it live.

        `cursor` is what `resumed`, the client's own text, says; `ends` answers `questions`.
        """
        gaps = self._resume(session, cursor, ends or {}) if cursor is not None else {}
        self.interest.add(session)
        session.on(Signal.WELCOMED)
        expires = session.grant.expires
        self._tell(
            session,
            wire.Welcome(
                connection=session.id,
                account=session.grant.account,
                instance=self.instance,
                topics=sorted(session.topics),
                rooms=sorted(session.rooms),
                heartbeat=self.heartbeat,
                expires=None if expires is None else moment.from_ms(int(expires * 1000)),
                cursor=resumed or self.cursor(session),
            ),
        )
        if cursor is not None:
            untold = {topic: cursor[topic] for topic in gaps}
            for topic, reason in gaps.items():
                del untold[topic]
                self._tell(session, wire.Gap(topic, reason, self.cursor(session, untold)))
            self._tell(session, wire.Live(0, self.cursor(session)))

    def _resume(
        self, session: Session, cursor: Cursor, ends: Mapping[str, Mapping[int, int]]
    ) -> dict[str, str]:
        gaps: dict[str, str] = {}
        for topic in sorted(session.topics & cursor.keys()):
            gap, floors = resume(cursor[topic], self.logs[topic], ends.get(topic, {}))
            if gap is not None:
                gaps[topic] = gap
            if floors:
                session.floors = {**(session.floors or {}), topic: floors}
        return gaps

    def detach(self, session: Session) -> None:
        """Forget `session`; its socket is gone."""
        self.interest.remove(session)
        session.outbox.clear()
        if session.state is not State.CLOSED:
            session.on(Signal.LOST)

    def hang_up(
        self,
        session: Session,
        why: Close,
        *,
        discard: bool = False,
    ) -> None:
        """Tell `session` that it is closed, for the first reason given; no event follows.

        `discard` takes back the events that are still queued, as a grant that
        has ended demands; the client is then told no cursor, for none would cover them rightly.
        """
        if session.state not in {State.OPENING, State.LIVE}:
            return
        covered = session.state is State.LIVE and not (discard and session.outbox.pending)
        if discard:
            session.outbox.clear()
        closing = self.farewell(why, self.cursor(session) if covered else None)
        self.interest.remove(session)
        session.on(Signal.HUNG_UP)
        session.close = why
        self._tell(session, closing)

    def farewell(self, why: Close, cursor: str | None = None) -> wire.Closing:
        """Return the frame that comes before a close."""
        retry_after = self._jitter(why.retry_after)
        return wire.Closing(why.code, why.reason, why.reconnect, retry_after, cursor)

    # -- what a session follows ----------------------------------------------------------------

    def cursor(self, session: Session, untold: Cursor | None = None) -> str:
        """The cursor that covers exactly the frames that `session` has been handed.

        `untold` has the client's own place in the topics whose gap it has not been told yet.
        """
        if session.floors is not None:
            self._settle(session)
        if session.floors is None and not untold:
            return join_places(self.logs[topic].packed for topic in sorted(session.topics))
        return join_places(self._packed(session, t, untold or {}) for t in sorted(session.topics))

    def _packed(self, session: Session, topic: str, untold: Cursor) -> bytes:
        if topic in untold:
            return pack_place(topic, untold[topic])
        log, floors = self.logs[topic], (session.floors or {}).get(topic)
        if not floors:
            return log.packed
        offsets = {p: max(log.next.get(p, 0), floors.get(p, 0)) for p in {*log.next, *floors}}
        return pack_place(topic, Place(log.identity, offsets))

    def _settle(self, session: Session) -> None:
        """Drop the floors that this instance has read past by now."""
        left: dict[str, dict[int, int]] = {}
        for topic, floors in (session.floors or {}).items():
            read = self.logs[topic].next
            higher = {p: floor for p, floor in floors.items() if floor > read.get(p, 0)}
            if higher and topic in session.topics:
                left[topic] = higher
        session.floors = left or None

    def follow(self, session: Session, topics: Iterable[str], rooms: Iterable[str]) -> None:
        """Let `session` follow these topics, and be in these rooms by its own hand."""
        session.topics |= frozenset(topics)
        for room in rooms:
            session.rooms[room] = session.rooms.get(room, Hand(0)) | Hand.OWN
            if session.state is State.LIVE:
                self.interest.enter(session, room)

    def unfollow(self, session: Session, topics: Iterable[str], rooms: Iterable[str]) -> None:
        """Take back `session`'s own hand from these topics and rooms."""
        session.topics -= frozenset(topics)
        for room in rooms:
            self.let_go(session, room, Hand.OWN)

    def let_go(self, session: Session, room: str, hand: Hand) -> None:
        """Take `hand` off `session`'s place in `room`; it leaves when that was the last one."""
        left = session.rooms.get(room, Hand(0)) & ~hand
        if left:
            session.rooms[room] = left
        elif session.rooms.pop(room, None):
            self.interest.leave(session, room)

    # -- the log -------------------------------------------------------------------------------

    def begin(self, topic: str, identity: bytes, offsets: Mapping[int, int]) -> None:
        """Say where reading `topic` starts, or that partitions were added to it."""
        log = self.logs[topic]
        recreated = bool(log.identity and identity) and log.identity != identity
        log.begin(identity or log.identity, offsets if recreated else {**log.next, **offsets})
        if recreated:
            self.gap(topic, "recreated")

    def skip(self, topic: str, reason: str, offsets: Mapping[int, int]) -> None:
        """Say that events of `topic` below `offsets` can not be read, and never will be."""
        for partition, offset in offsets.items():
            self.logs[topic].move(partition, offset)
        self.gap(topic, reason)

    def gap(self, topic: str, reason: str) -> None:
        """Tell the sessions that follow `topic` that events of it are lost to them."""
        for session in self.interest.everybody:
            if topic in session.topics:
                if session.floors is not None:
                    session.floors.pop(topic, None)
                self._tell(session, wire.Gap(topic, reason, self.cursor(session)))

    def publish(self, routed: Routed) -> None:
        """Hand the events to the sessions that they are for.

        Never interrupted half-way, or attaching would race.
        """
        self.read += len(routed.events) + routed.nobody + len(routed.casualties)
        self.unaddressed += routed.nobody
        log = self.logs[routed.topic]
        for event in routed.events:
            overflowed = deliver(self.interest, self.offer, routed.topic, routed.partition, event)
            if overflowed:
                # Everything below this event has been handed out: so says the cursor they get.
                log.move(routed.partition, event.offset)
            for session in overflowed:
                self.hang_up(session, closes.SLOW)
        log.move(routed.partition, routed.next)

    def offer(self, session: Session, frame: bytes) -> bool:
        """Queue an event's frame, already wrapped; tell whether the outbox took it."""
        if not session.outbox.put(frame, self._ceiling):
            return False
        self.delivered += 1
        if not session.dirty:
            session.dirty = True
            self._dirty.append(session)
        return True

    # -- frames --------------------------------------------------------------------------------

    def beat(self, session: Session, stale: float | None, id: wire.Id = UNSET) -> None:
        """Queue a heartbeat; `stale` is seconds without Kafka."""
        told = UNSET if stale is None else stale
        self._tell(session, wire.Heartbeat(self.cursor(session), id, told))

    def moved(self, session: Session, joined: list[str], left: list[str]) -> None:
        """Tell `session` of rooms that it is in, or not, by another hand than its own."""
        self._tell(session, wire.Rooms(joined, left, self.cursor(session)))

    def done(self, session: Session, id: wire.Id) -> None:
        """Answer a request that took effect."""
        topics, rooms = sorted(session.topics), sorted(session.rooms)
        self._tell(session, wire.Done(topics, rooms, self.cursor(session), id=id))

    def refuse(self, session: Session, error: str, reason: str, id: wire.Id) -> None:
        """Answer a request that had no effect."""
        self._tell(session, wire.Refusal(error, reason, id=id))

    def _tell(self, session: Session, frame: wire.ServerFrame) -> None:
        session.outbox.force(session.wrap(wire.write(frame)))
        if not session.dirty:
            session.dirty = True
            self._dirty.append(session)

    def flushable(self) -> Sequence[Session]:
        """Return, once, the sessions that were handed frames since the last call."""
        dirty, self._dirty = self._dirty, []
        for session in dirty:
            session.dirty = False
        return dirty
