"""What is asked of the past, and where a page of it begins.

Rule: a page begins where it was asked to, as far as that can be had. Of a topic for which it can
not it says why, and goes on with the oldest there is; who has named no place is owed no reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from bridge.core.replay.history import Page
from bridge.core.replay.retention import Bounds, Limits, Refused, judge

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from bridge.core.protocol.cursor import Cursor
    from bridge.core.sessions.hub import Hub
    from bridge.core.sessions.session import Session


class NotNow(Exception):
    """The past can not be told now. The message is for the client, who may ask again."""


class Asked(NamedTuple):
    """A request for events from `cursor` on, or since a time (ms), or from as early as may be.

    `reader` is a session that was never attached: its grant, topics, rooms and types count.
    """

    reader: Session
    cursor: Cursor | None
    since: int | None
    limit: int


class Archive(Protocol):
    """Tells the past."""

    def page(self, asked: Asked) -> Awaitable[Page]:
        """Return the page that was asked for.

        Raises:
            NotNow: If Kafka is away, or too many ask.

        Cancellation: safe; nothing is read for it any more.
        """


class Opening(NamedTuple):
    """What pages may be begun with: what Kafka says of the topics, and what reading may cost.

    `since` is the cursor of the time that was asked for. `damaged` are offsets, by public topic and
    partition, below which there is something that can not be read.
    """

    bounds: Mapping[str, Bounds]
    limits: Limits
    since: Cursor
    damaged: Mapping[tuple[str, int], int]


def begin(hub: Hub, asked: Asked, opening: Opening) -> Page | None:
    """Return the page, with nothing in it yet.

    None says that `opening` does not fit what this instance knows by now: ask Kafka again.
    """
    places: dict[str, dict[int, int]] = {}
    gaps: dict[str, str] = {}
    for topic in sorted(asked.reader.topics):
        told, log = opening.bounds.get(topic), hub.logs[topic]
        if told is None or told.identity not in {None, log.identity}:
            return None
        if topic in opening.since and log.is_other(opening.since[topic].identity):
            return None
        floors = {
            number: hub.journal.floor(topic, number) if number in log.next else end
            for number, end in told.end.items()
        }
        if not (opening.limits.records and opening.limits.bytes):
            told = told._replace(aged={n: max(told.aged[n], floor) for n, floor in floors.items()})
        at, why = _asked_for(hub, topic, asked, opening, told, floors)
        at = {number: min(at.get(number, 0), end) for number, end in told.end.items()}
        judge(at, floors, told, clip=floors)
        for number in at:
            if at[number] < (readable := opening.damaged.get((topic, number), 0)):
                at[number], why = min(readable, told.end[number]), why or "corrupt"
        places[topic] = at
        if why is not None:
            gaps[topic] = why
    ends = {topic: opening.bounds[topic].end for topic in places}
    return Page(asked.reader, hub.logs, places, ends, limit=asked.limit, gaps=gaps)


def _asked_for(
    hub: Hub,
    topic: str,
    asked: Asked,
    opening: Opening,
    told: Bounds,
    floors: Mapping[int, int],
) -> tuple[Mapping[int, int], str | None]:
    """Return the places in `topic` that are asked for, and why they can not be had, if so."""
    if asked.cursor is None:
        place = opening.since.get(topic)
        return {} if place is None else place.offsets, None
    place = asked.cursor.get(topic)
    if place is None:
        return told.end, None  # what a cursor does not name goes on from now
    if hub.logs[topic].is_other(place.identity):
        return {}, "recreated"
    try:
        judge(dict(place.offsets), floors, told, clip=())
    except Refused as refused:
        return place.offsets, str(refused)
    return place.offsets, None
