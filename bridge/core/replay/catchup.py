"""Bringing a session that comes back up to now, and over into live without a seam.

Rules: complete or refused, per topic, never silently partial. What is in the journal comes from
there, what is older from passes over Kafka that end at the journal's floor. The step in which the
journal is exhausted is the one in which the session goes live, so nothing can come in between.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from bridge.core.journal import ALL, of_account, of_connection, of_room
from bridge.core.protocol import frames as protocol_frames
from bridge.core.protocol.cursor import Cursor, Place
from bridge.core.replay.retention import Bounds, Limits, Refused, judge
from bridge.core.sessions.fanout import Frames, deliver, reason, runs
from bridge.core.sessions.positions import move_on, places, settle
from bridge.core.sessions.registry import Interest
from bridge.core.sessions.session import Need, Reach, Replay, Signal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bridge.core.journal import Journal, Tail
    from bridge.core.protocol.envelope import Routed
    from bridge.core.sessions.hub import Hub
    from bridge.core.sessions.session import Session

#: Events that are looked at for one session before others have their turn.
STEP_EVENTS: Final = 500
#: Events of the journal that one step makes ready to be found, at some microseconds each.
STEP_PACKED: Final = 1_000


class Turn:
    """What one step may still do for `session`."""

    __slots__ = ("events", "keys", "packable", "session")

    def __init__(self, session: Session) -> None:
        self.session = session
        self.events = STEP_EVENTS
        self.packable = STEP_PACKED
        self.keys = [of_connection(session.id), ALL, *map(of_room, session.rooms)]
        if session.grant.account is not None:
            self.keys.append(of_account(session.grant.account))


class Recall:
    """Hands out what is in the journal."""

    def __init__(self, journal: Journal, offer: Callable[[Session, bytes], bool]) -> None:
        """`offer` queues an event's frame for a session, if it takes it."""
        self._journal = journal
        self._offer = offer
        self._frames = Frames()

    def hand_out(
        self, turn: Turn, topic: str, partition: int, places: dict[int, int]
    ) -> Need | None:
        """Move on the session's place in one partition; None says that there is no more of it.

        `places` are those of its topic.
        """
        session, place = turn.session, places.get(partition, 0)
        tail = self._journal.tail(topic, partition)
        if place < tail.floor:
            return Need.KAFKA
        for segment in tail.since(place):
            if segment.loose and turn.packable > 0:
                turn.packable -= self._journal.pack(segment, turn.packable)
            if segment.loose:
                return Need.TURN
            for number in segment.find(turn.keys, place):
                if not turn.events:
                    return Need.TURN
                turn.events -= 1
                event = segment.event(number)
                to = reason(session, event)
                if to is not None:
                    at = (segment.serial, number)
                    frame = self._frames.make(topic, partition, at, event, to, session.wrap)
                    if not self._offer(session, frame):
                        return Need.ROOM
                places[partition] = event.offset + 1
            places[partition] = max(place, segment.next)
        places[partition] = tail.next
        return None


class Scan(Reach):
    """A pass, and whom it serves; `stretches` keeps what it reads for the journal."""

    __slots__ = ("interest", "stretches")

    def __init__(self, start: dict[tuple[str, int], int]) -> None:
        super().__init__(start)
        self.interest = Interest()
        self.stretches: dict[tuple[str, int], Tail] = {}


#: A client that has so much to read is sent no more of a replay until it has read.
MARK_BYTES: Final = 256 * 1024


class CatchUp:
    """The sessions that are between their welcome and live."""

    def __init__(self, hub: Hub, limits: Limits, ceiling: int) -> None:
        """`ceiling` is the bytes at which an outbox takes no more."""
        self._hub = hub
        self.journal = hub.journal
        self._limits = limits
        # Less than what it holds: whoever has been caught up must have room for what happens next.
        self._mark = min(MARK_BYTES, max(1, ceiling // 2))
        self._recall = Recall(hub.journal, self._offer)
        self.begun = 0  #: how many have come back
        self.gaps: Counter[str] = Counter()  #: topics of theirs that are not replayed, by reason

    def begin(self, session: Session, cursor: Cursor, resumed: str, *, clip: bool = False) -> None:
        """Welcome `session`, which goes on at `cursor`, in its own words `resumed`.

        `clip` says that where the log or the limits begin later, the client knows that already.
        """
        self.begun += 1
        logs = self._hub.logs
        # A topic that the cursor does not name is live: from now on.
        found = {
            topic: cursor.get(topic) or Place(logs[topic].identity, logs[topic].next)
            for topic in session.topics
        }
        session.floors = {topic: dict(place.offsets) for topic, place in found.items()}
        session.replay = Replay(
            {topic: place.identity or logs[topic].identity for topic, place in found.items()},
            {topic: dict(place.offsets) for topic, place in found.items()} if clip else {},
        )
        session.on(Signal.RETURNED)
        self._hub.replaying.add(session)
        session.replay.unnamed = session.topics - cursor.keys()
        self._hub.welcome(session, resumed)

    def step(self, session: Session) -> Need:
        """Hand `session` some of what it has missed, as far as the journal has it.

        When that was all of it, it is live.
        """
        if session.replay is None or session.floors is None:
            return Need.NOTHING
        self.leave(session)
        self._tell_other_lives(session, session.replay)
        if not session.replay.judged and self._is_ahead(session):
            return Need.KAFKA
        need = self._hand_out(Turn(session), session.floors)
        self.journal.shrink()
        if need is None:
            self._go_live(session, session.replay)
            return Need.NOTHING
        if need is Need.KAFKA and session.replay.judged:
            # The journal may have run away from it since.
            more = sum(floor - place for place, floor in self.missing(session).values())
            session.replay.judged = session.replay.records + more <= self._limits.records
        return need

    def _hand_out(self, turn: Turn, places: dict[str, dict[int, int]]) -> Need | None:
        for topic in sorted(turn.session.topics):
            for partition, end in self._hub.logs[topic].next.items():
                if places[topic].get(partition, 0) < end:
                    self._name_all(turn.session, {topic})
                    need = self._recall.hand_out(turn, topic, partition, places[topic])
                    if need is not None:
                        return need
        return None

    def _name_all(self, session: Session, topics: set[str]) -> None:
        """Tell a cursor that names all topics, before events come of one that was not named.

        To a cursor that does not cover them the client could not add their positions.
        """
        if session.replay is not None and session.replay.unnamed & topics:
            session.replay.unnamed = frozenset()
            self._hub.beat(session, None)

    def missing(self, session: Session) -> dict[tuple[str, int], tuple[int, int]]:
        """What only Kafka still has of what `session` is owed: from where, up to where."""
        if session.replay is None or session.floors is None:
            return {}
        return {
            (topic, partition): (place, floor)
            for topic in session.topics
            for partition in self._hub.logs[topic].next
            if (place := session.floors[topic].get(partition, 0))
            < (floor := self.journal.floor(topic, partition))
        }

    def _offer(self, session: Session, frames: bytes, count: int = 1) -> bool:
        if not self._hub.offer(session, frames, count, self._mark):
            return False
        if session.replay is not None:
            session.replay.replayed += count
        return True

    def _go_live(self, session: Session, replay: Replay) -> None:
        session.replay = None
        settle(session, self._hub.logs)
        session.on(Signal.CAUGHT_UP)
        self._hub.replaying.discard(session)
        self._hub.settle_in(session)
        self._hub.tell(session, protocol_frames.Live(replay.replayed, self._hub.cursor(session)))

    # -- what can not be replayed ----------------------------------------------------------------

    def _tell_other_lives(self, session: Session, replay: Replay) -> None:
        for topic in sorted(session.topics):
            log = self._hub.logs[topic]
            if log.is_other(replay.identities[topic]):
                self._gap(session, topic, "recreated")

    def _is_ahead(self, session: Session) -> bool:
        """Whether `session` has seen more than this instance, or than there is: Kafka knows."""
        return any(
            place > self._hub.logs[topic].next.get(partition, 0)
            for topic in session.topics
            for partition, place in (session.floors or {})[topic].items()
        )

    def judge(self, session: Session, bounds: Mapping[str, Bounds]) -> bool:
        """Refuse what Kafka or the limits do not allow, topic by topic.

        Return False where `bounds` do not fit what this instance knows by now: ask again.
        """
        if session.replay is None or session.floors is None:
            return True
        for topic in session.topics:
            told = bounds.get(topic)
            if told is None or told.identity not in {None, self._hub.logs[topic].identity}:
                return False
        session.replay.judged = True
        amounts: list[tuple[int, str]] = []
        for topic in sorted(session.topics):
            if not self._hub.logs[topic].is_other(session.replay.identities[topic]):
                try:
                    amounts.append((self._judge(session, topic, bounds[topic]), topic))
                except Refused as refused:
                    self._gap(session, topic, str(refused))
        records = session.replay.records
        for amount, topic in sorted(amounts):
            records += amount
            if amount and records > self._limits.records:
                self._gap(session, topic, "limit")
        return True

    def _judge(self, session: Session, topic: str, bounds: Bounds) -> int:
        """Do `judge` for one topic; what was asked for by its time may begin later."""
        assert session.floors is not None and session.replay is not None  # noqa: PT018, S101
        at, begun = session.floors[topic], session.replay.clipped.get(topic)
        floors = {p: self.journal.floor(topic, p) for p in self._hub.logs[topic].next}
        if begun is None:
            return judge(at, floors, bounds, clip=())
        clip = {p for p in floors if at.get(p, 0) == begun.get(p, 0)}
        amount = judge(at, floors, bounds, clip=clip)
        begun.update({p: at[p] for p in clip if p in at})
        return amount

    def spent(self, scan: Scan) -> list[Session]:
        """The sessions of a pass for which as many bytes were read as may be."""
        return [
            session
            for session in scan.interest.everybody
            if session.replay is not None
            and session.replay.cost(session.topics) > self._limits.bytes
        ]

    def limit(self, session: Session) -> None:
        """Refuse `session` what Kafka would still have to be read for."""
        self.leave(session)
        for topic in sorted({topic for topic, _ in self.missing(session)}):
            self._gap(session, topic, "limit")

    def give_up(self, scan: Scan, topic: str, partition: int, reason: str | None) -> list[Session]:
        """Let a pass go on without `partition`, and return the sessions that follow `topic`.

        Those who have come to its place there are told of a gap, or are judged anew where no
        `reason` is known.
        """
        place = scan.next.get((topic, partition))
        if place is None:
            return []
        left = [session for session in scan.interest.everybody if topic in session.topics]
        for session in left:
            self.leave(session)
            if session.floors is None or session.replay is None:
                continue
            if session.floors[topic].get(partition, 0) <= place:
                if reason is None:
                    session.replay.judged = False
                else:
                    self._gap(session, topic, reason)
        del scan.next[topic, partition]
        return left

    def _gap(self, session: Session, topic: str, reason: str) -> None:
        self.gaps[reason] += 1
        move_on(session, self._hub.logs[topic], from_beginning=reason == "recreated")
        self._hub.tell(session, protocol_frames.Gap(topic, reason, self._hub.cursor(session)))

    # -- from Kafka ------------------------------------------------------------------------------

    def fits(self, scan: Scan, session: Session) -> bool:
        """Whether `scan` can serve `session` too: it has passed nothing that is still owed."""
        if session.floors is None or not self.missing(session).keys() <= scan.next.keys():
            return False
        return all(
            session.floors[topic].get(partition, 0) >= next
            for (topic, partition), next in scan.next.items()
            if topic in session.topics
        )

    def enter(self, scan: Scan, session: Session) -> None:
        """Let `session` be served by `scan`, which fits."""
        assert session.replay is not None  # noqa: S101 - it is REPLAYING
        self._name_all(session, {topic for topic, _ in scan.next})
        session.replay.enter(scan)
        session.home = scan.interest
        scan.interest.add(session)

    def leave(self, session: Session) -> None:
        """Let `session` stand by itself, where the pass has brought it."""
        replay, floors = session.replay, session.floors
        if replay is None or replay.reach is None or floors is None:
            return
        for topic in session.topics:
            before, floors[topic] = floors[topic], places(session, topic)
            replay.records += sum(at - before.get(p, 0) for p, at in floors[topic].items())
        replay.leave(session.topics)
        if session.home is not None:
            session.home.remove(session)
            session.home = None

    def scan(self, scan: Scan, routed: Routed) -> list[Session]:
        """Hand what a pass has read to its sessions; return those whose clients have to read first.

        What the journal has is left to it, and what was handed out before is passed over.
        """
        key = (routed.topic, routed.partition)
        place, floor = scan.next[key], self.journal.floor(*key)
        events = [event for event in routed.events if place <= event.offset < floor]
        full: list[Session] = []
        for run in runs(scan.interest, events, self._hub.run_bytes):
            overflowed = deliver(run, *key, self._offer)
            if overflowed:
                scan.next[key] = run.events[0].offset
                for session in overflowed:
                    self.leave(session)
                full += overflowed
        scan.next[key] = max(place, min(routed.next, floor))
        if stretch := scan.stretches.get(key):
            self.journal.extend(stretch, events, scan.next[key])
        return full
