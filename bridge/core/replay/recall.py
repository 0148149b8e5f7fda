"""What the journal has of what a session has missed, handed out a portion at a time.

Rule: one step takes some milliseconds, however much there is and whoever asks; what was not
looked at is left to the next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bridge.core.segment import ALL, of_account, of_connection, of_room
from bridge.core.sessions.fanout import reason
from bridge.core.sessions.frames import Frames
from bridge.core.sessions.replay import Need

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.core.journal import Journal
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
