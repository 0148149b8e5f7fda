"""A past that is too simple to be wrong, and a client that pages through it.

Each partition is a list of what is at its offsets: an event, or None where there is none. `shelf`
puts some of it into a hub's journal; the rest is read from the list, as from Kafka, in portions.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from bridge.core.protocol.cursor import read_cursor
from bridge.core.protocol.envelope import Routed
from bridge.core.replay.history import Asked, Opening, begin
from bridge.core.replay.retention import Bounds, Limits
from bridge.core.sessions.hub import Hub
from tests.core.given import LIFE, session
from tests.harness.pages import Turned, read_page

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bridge.core.protocol.cursor import Cursor
    from bridge.core.protocol.event import Event
    from bridge.core.replay.history import Page, Strand
    from bridge.core.sessions.session import Session

Key = tuple[str, int]


class Slot(NamedTuple):
    """What is at an offset: a record's timestamp, and its event where it is one."""

    timestamp: int
    event: Event | None


class Past:
    """Partitions by topic and number; offsets below `floors` are not in the journal."""

    def __init__(
        self,
        logs: Mapping[Key, list[Slot]],
        floors: Mapping[Key, int],
        read: Mapping[Key, int] | None = None,
    ) -> None:
        """`read` is how far the instance has come, where that is not to the end."""
        self.logs = {key: list(slots) for key, slots in logs.items()}
        self.hub = Hub(
            "i1", dict.fromkeys((t for t, _ in logs), False), heartbeat=1, ceiling=1, jitter=float
        )
        for topic in self.hub.logs:
            begun = {p: floors[t, p] for t, p in logs if t == topic}
            self.hub.begin(topic, LIFE, begun)
        for key, slots in self.logs.items():
            self.read(*key, len(slots) if read is None else read[key], floors[key])

    def read(self, topic: str, partition: int, until: int, place: int | None = None) -> None:
        """Let the instance read one partition on, up to `until`."""
        if place is None:
            place = self.hub.logs[topic].next[partition]
        events = [slot.event for slot in self.logs[topic, partition][place:until] if slot.event]
        self.hub.publish(Routed(topic, partition, events, until, 0, []))

    def bounds(self) -> dict[str, Bounds]:
        ends: dict[str, dict[int, int]] = {topic: {} for topic in self.hub.logs}
        for (topic, partition), slots in self.logs.items():
            ends[topic][partition] = len(slots)
        zeros = {topic: dict.fromkeys(each, 0) for topic, each in ends.items()}
        return {t: Bounds(LIFE, zeros[t], end, zeros[t]) for t, end in ends.items()}

    def begin(self, reader: Session, cursor: Cursor | None, limit: int) -> Page:
        opening = Opening(self.bounds(), Limits(1, 1), {}, {})
        page = begin(self.hub, Asked(reader, cursor, None, limit), opening)
        assert page is not None
        return page

    def look(self, page: Page, strand: Strand, portion: int) -> None:
        """Look at some more of `strand`: in the journal, or else at so many offsets of the list."""
        if page.recall(strand, self.hub.journal):
            return
        first = strand.place
        slots = self.logs[strand.topic, strand.number][first : first + portion]
        events = [slot.event for slot in slots if slot.event is not None]
        reached = max((slot.timestamp for slot in slots), default=None)
        page.take(strand, events, first, first + portion, reached)

    def owed(self, reader: Session) -> list[str]:
        """The positions of everything that is for `reader`, in the order of a history."""
        found = [
            (slot.timestamp, topic, partition, offset)
            for (topic, partition), slots in self.logs.items()
            for offset, slot in enumerate(slots)
            if topic in reader.topics and slot.event is not None and is_for(reader, slot.event)
        ]
        return [f"{t}:{p}:{offset}" for _, t, p, offset in sorted(found)]


def is_for(reader: Session, event: Event) -> bool:
    """Whether the contract owes `event` to `reader`; events for connections are never replayed."""
    return (reader.types is None or event.type in reader.types.wanted) and bool(
        event.all or reader.grant.account in event.accounts or set(reader.rooms) & set(event.rooms)
    )


def written(page: Page) -> Turned:
    """Read what a page writes."""
    told = page.write()
    assert list(json.loads(told)) == ["events", "cursor", "more", "gaps"]
    return read_page(told)


def turn(
    past: Past,
    reader: Session,
    cursor: str | None,
    limit: int,
    portion: Callable[[], int],
    cut: Callable[[], bool] = lambda: False,
) -> Turned:
    """Return the page that goes on at `cursor`; it is cut where `cut` says so."""
    page = past.begin(reader, None if cursor is None else read_cursor(cursor), limit)
    while not page.merge():
        for strand in page.wanted():
            past.look(page, strand, portion())
        if page.moved and cut():
            page.cut()
            break
    return written(page)


def ann(*topics: str, **more: Any) -> Session:
    """Return the one who reads: of account ann, and in the room `r`."""
    return session("reader", "ann", topics=topics or ("orders",), **{"rooms": ["r"], **more})
