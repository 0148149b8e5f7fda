"""All sessions on this instance, and the events that reach them.

Rule: every method is synchronous, so each is atomic on the event loop: nothing can arrive
between a session's welcome and its first live event. What has to be written afterwards is
returned by `flushable`; the bank writes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import UNSET

from bridge.core.journal import Journal
from bridge.core.protocol import close_codes as closes
from bridge.core.protocol import frames as protocol_frames
from bridge.core.protocol import timestamps
from bridge.core.sessions.fanout import deliver, run_bytes, runs
from bridge.core.sessions.on_demand import Demand
from bridge.core.sessions.positions import Log, cursor, move_on, uproot
from bridge.core.sessions.registry import Crowd, Interest
from bridge.core.sessions.session import Hand, Session, Signal, State
from bridge.core.sessions.stats import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from bridge.core.protocol import frames
    from bridge.core.protocol.close_codes import Close
    from bridge.core.protocol.envelope import Routed
    from bridge.core.sessions.permissions import Grant


def regrant(hub: Hub, session: Session, grant: Grant, id: frames.Id) -> None:
    """Replace the grant of a live `session` by one of the same account; answer with what is left.

    Rooms that the backend gave stay: their grant is the backend's own.
    """
    session.grant = grant
    topics = [topic for topic in session.topics if not hub.may_read(session, topic)]
    rooms = [room for room in session.rooms if not grant.may_join(room)]
    hub.unfollow(session, topics, rooms)
    left = sorted(room for room in rooms if room not in session.rooms)
    if left:
        hub.moved(session, [], left)
    hub.done(session, id)


class Hub:
    """Routes each event to the sessions that follow its audience.

    `topics` maps each public topic to whether it is private. `heartbeat` is in seconds and only
    told; `ceiling` is the bytes at which a session's outbox takes no more. `jitter` spreads the
    seconds after which clients that are hung up on come back. `on_demand` are asleep at first.
    """

    def __init__(
        self,
        instance: str,
        topics: Mapping[str, bool],
        *,
        heartbeat: float,
        ceiling: int,
        jitter: Callable[[float], float],
        journal: Journal | None = None,
        on_demand: Iterable[str] = (),
    ) -> None:
        self.instance = instance
        self.heartbeat = heartbeat
        self.logs = {topic: Log(topic, private=private) for topic, private in topics.items()}
        self.interest = Interest()  #: of those who are live
        self.journal = journal if journal is not None else Journal(0)
        self.demand = Demand(self, on_demand)
        self.replaying: set[Session] = set()
        self.crowd = Crowd()
        self.delivered = 0
        self.tally = Tally()
        self._ceiling = ceiling
        self.run_bytes = run_bytes(ceiling)
        self.jitter = jitter
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

    def attach(self, session: Session) -> None:
        """Welcome `session`, whose topics, rooms and types are set: it is live from now on."""
        self.settle_in(session)
        session.on(Signal.WELCOMED)
        self.welcome(session, self.cursor(session))

    def settle_in(self, session: Session) -> None:
        """Let `session` be found by whatever happens from now on."""
        session.home = self.interest
        self.interest.add(session)

    def welcome(self, session: Session, cursor: str) -> None:
        """Tell `session` who it is, and that it goes on from `cursor`."""
        self.crowd.add(session)
        expires = session.grant.expires
        self.tell(
            session,
            protocol_frames.Welcome(
                connection=session.id,
                account=session.grant.account,
                instance=self.instance,
                topics=sorted(session.topics),
                rooms=sorted(session.rooms),
                heartbeat=self.heartbeat,
                expires=None if expires is None else timestamps.from_ms(int(expires * 1000)),
                cursor=cursor,
            ),
        )

    def detach(self, session: Session) -> None:
        """Forget `session`; its socket is gone."""
        self._let_go_of(session)
        session.outbox.clear()
        if session.state is not State.CLOSED:
            session.on(Signal.LOST)

    def _let_go_of(self, session: Session) -> None:
        self.crowd.remove(session)
        self.demand.drop(session)
        self.replaying.discard(session)
        if session.home is not None:
            session.home.remove(session)
        session.home = session.replay = None

    def hang_up(self, session: Session, why: Close, *, discard: bool = False) -> None:
        """Tell `session` that it is closed, for the first reason given; no event follows.

        `discard` takes back the events that are still queued, as a grant that
        has ended demands; the client is then told no cursor, for none would cover them rightly.
        """
        if session.state is not State.OPENING and not session.welcomed:
            return
        covered = session.welcomed and not (discard and session.outbox.pending)
        if discard:
            session.outbox.clear()
        closing = self.farewell(why, self.cursor(session) if covered else None)
        self._let_go_of(session)
        session.on(Signal.HUNG_UP)
        session.close = why
        self.tell(session, closing)

    def farewell(self, why: Close, cursor: str | None = None) -> protocol_frames.Closing:
        """Return the frame that comes before a close."""
        retry_after = self.jitter(why.retry_after)
        return protocol_frames.Closing(why.code, why.reason, why.reconnect, retry_after, cursor)

    # -- what a session follows ----------------------------------------------------------------

    def cursor(self, session: Session) -> str:
        """The cursor that covers exactly the frames that `session` has been handed."""
        return cursor(session, self.logs)

    def follow(self, session: Session, topics: Iterable[str], rooms: Iterable[str]) -> None:
        """Let `session` follow these topics, and be in these rooms by its own hand."""
        self.crowd.note(session)
        added = frozenset(topics) - session.topics
        session.topics |= added
        self.demand.add(session, added)
        for topic in added:
            move_on(session, self.logs[topic], from_beginning=False)
        for room in rooms:
            self.give(session, room, Hand.OWN)

    def unfollow(self, session: Session, topics: Iterable[str], rooms: Iterable[str]) -> None:
        """Take back `session`'s own hand from these topics and rooms."""
        self.crowd.note(session)
        session.topics -= frozenset(topics)
        for room in rooms:
            self.let_go(session, room, Hand.OWN)
        self.demand.remove(session, frozenset(topics))

    def give(self, session: Session, room: str, hand: Hand) -> bool:
        """Put `session` into `room` by `hand` too; tell whether it was not in it before."""
        held = session.rooms.get(room, Hand(0))
        session.rooms[room] = held | hand
        if not held:
            self.crowd.note(session)
            if session.home is not None:
                session.home.enter(session, room)
        return not held

    def let_go(self, session: Session, room: str, hand: Hand) -> bool:
        """Take `hand` off `session`'s place in `room`; tell whether it left: that was the last."""
        held = session.rooms.get(room, Hand(0))
        left = held & ~hand
        if left:
            session.rooms[room] = left
        elif session.rooms.pop(room, None):
            self.crowd.note(session)
            if session.home is not None:
                session.home.leave(session, room)
        return bool(held) and not left

    def of_account(self, account: str) -> list[Session]:
        """The welcomed sessions of `account`."""
        replaying = (each for each in self.replaying if each.grant.account == account)
        return [*self.interest.accounts.get(account, ()), *replaying]

    # -- the log -------------------------------------------------------------------------------

    def begin(self, topic: str, identity: bytes, offsets: Mapping[int, int]) -> None:
        """Say where reading `topic` starts, or that partitions were added to it."""
        log = self.logs[topic]
        recreated = bool(log.identity and identity) and log.identity != identity
        log.begin(identity or log.identity, offsets if recreated else {**log.next, **offsets})
        if recreated:
            self.journal.forget(topic)
        for partition, offset in offsets.items():
            self.journal.begin(topic, partition, offset)
        if recreated:
            self.gap(topic, "recreated", uproot(self.replaying, log))
        self.demand.woke(topic)

    def skip(self, topic: str, reason: str, offsets: Mapping[int, int]) -> None:
        """Say that events of `topic` below `offsets` can not be read, and never will be."""
        log = self.logs[topic]
        cut = {p: offset for p, offset in offsets.items() if offset < log.next.get(p, 0)}
        for partition, offset in offsets.items():
            log.move(partition, offset)
            self.journal.begin(topic, partition, offset)
        self.gap(topic, reason, uproot(self.replaying, log, cut))

    def gap(self, topic: str, reason: str, replaying: Iterable[Session] = ()) -> None:
        """Tell all that are live and follow `topic`, and these, that events of it are lost."""
        self.tally.gaps[reason] += 1
        for session in (*self.interest.everybody, *replaying):
            if topic in session.topics:
                if session.replay is None and session.floors is not None:
                    session.floors.pop(topic, None)
                self.tell(session, protocol_frames.Gap(topic, reason, self.cursor(session)))

    def publish(self, routed: Routed) -> None:
        """Hand the events to the sessions that they are for.

        Never interrupted half-way, or attaching would race.
        """
        self.tally.read += len(routed.events) + routed.nobody + len(routed.casualties)
        self.tally.routed += len(routed.events)
        self.tally.unaddressed += routed.nobody
        log = self.logs[routed.topic]
        for run in runs(self.interest, routed.events, self.run_bytes):
            overflowed = deliver(run, routed.topic, routed.partition, self.offer)
            if overflowed:
                # Everything below this run has been handed out: so says the cursor they get.
                log.move(routed.partition, run.events[0].offset)
            for session in overflowed:
                self.hang_up(session, closes.SLOW)
        log.move(routed.partition, routed.next)
        self.journal.keep(routed.topic, routed.partition, routed.events, routed.next)

    def offer(self, session: Session, frames: bytes, count: int, ceiling: int = 0) -> bool:
        """Queue the frames of `count` events, already wrapped; tell whether the outbox took them.

        `ceiling` is the bytes that may wait in it, 0 for the usual.
        """
        if not session.outbox.put(frames, ceiling or self._ceiling):
            return False
        self.delivered += count
        if not session.dirty:
            session.dirty = True
            self._dirty.append(session)
        return True

    # -- frames --------------------------------------------------------------------------------

    def beat(self, session: Session, stale: float | None, id: protocol_frames.Id = UNSET) -> None:
        """Queue a heartbeat; `stale` is seconds without Kafka."""
        told = UNSET if stale is None else stale
        self.tell(session, protocol_frames.Heartbeat(self.cursor(session), id, told))

    def moved(self, session: Session, joined: list[str], left: list[str]) -> None:
        """Tell `session` of rooms that it is in, or not, by another hand than its own."""
        self.tell(session, protocol_frames.Rooms(joined, left, self.cursor(session)))

    def done(self, session: Session, id: protocol_frames.Id) -> None:
        """Answer a request that took effect."""
        topics, rooms = sorted(session.topics), sorted(session.rooms)
        self.tell(session, protocol_frames.Done(topics, rooms, self.cursor(session), id=id))

    def refuse(self, session: Session, error: str, reason: str, id: protocol_frames.Id) -> None:
        """Answer a request that had no effect."""
        self.tell(session, protocol_frames.Refusal(error, reason, id=id))

    def tell(self, session: Session, frame: protocol_frames.ServerFrame) -> None:
        """Queue one of the bridge's own frames."""
        session.outbox.force(session.wrap(protocol_frames.write(frame)))
        if not session.dirty:
            session.dirty = True
            self._dirty.append(session)

    def flushable(self) -> Sequence[Session]:
        """Return, once, the sessions that were handed frames since the last call."""
        dirty, self._dirty = self._dirty, []
        for session in dirty:
            session.dirty = False
        return dirty
