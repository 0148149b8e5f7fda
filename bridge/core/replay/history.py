"""One page of a client's past events, oldest first, while it is being put together.

Rules: of each partition a page has everything that is for its reader, from where it begins up to
where its cursor says, in order; an event is handed out once no partition can have an older one;
and what waits for that is bounded, for it can be looked at again.
"""

from __future__ import annotations

from collections import deque
from heapq import heapify, heappop, heapreplace
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from bridge.core.journal import ALL, of_account, of_room
from bridge.core.protocol import frames
from bridge.core.protocol.cursor import Place, write_cursor
from bridge.core.replay.retention import Bounds, Limits, Refused, judge
from bridge.core.sessions.fanout import reason

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping, Sequence

    from bridge.core.journal import Journal
    from bridge.core.protocol.cursor import Cursor
    from bridge.core.protocol.event import Event
    from bridge.core.sessions.hub import Hub
    from bridge.core.sessions.positions import Log
    from bridge.core.sessions.session import Session

#: A page that has so many bytes of frames is done, however few events they are.
PAGE_BYTES: Final = 4 << 20
#: So much may wait for older events of other partitions.
WAITING_BYTES: Final = 16 << 20
#: Events that are taken out of the journal at a time, and that are made ready to be found there.
PORTION: Final = 64
PACKED: Final = 500
#: What an event takes beside its data, about.
_EVENT_BYTES: Final = 500
_LONG_AGO: Final = -(2**63)


class Outlived(Exception):
    """A topic that a page tells of was deleted and created again meanwhile."""


class Strand:
    """One partition's part of a page: looked at up to `place`, and to be told up to `end`.

    `found` waits to be handed out, each with why the reader gets it. `reached` is a timestamp
    before which nothing more is expected.
    """

    __slots__ = ("bytes", "end", "found", "number", "place", "reached", "start", "topic")

    def __init__(self, topic: str, number: int, place: int, end: int) -> None:
        self.topic = topic
        self.number = number
        self.start = self.place = place
        self.end = end
        self.reached = _LONG_AGO
        self.found: deque[tuple[Event, str]] = deque()
        self.bytes = 0  #: of what was found

    @property
    def is_open(self) -> bool:
        """Whether there may be more of it."""
        return bool(self.found) or self.place < self.end

    @property
    def order(self) -> tuple[int, str, int]:
        """When its next event was, or what it can not have been before."""
        at = self.found[0][0].timestamp if self.found else self.reached
        return at, self.topic, self.number

    @property
    def next(self) -> int:
        """The offset below which everything has been handed out."""
        return self.found[0][0].offset if self.found else self.place


class Page:
    """A page for `reader`, a session that was never attached, of at most `limit` events.

    It begins at `places`, and ends at `ends` at the latest. `gaps` are reasons, by topic: what the
    reader has asked for and can not get stands before its beginning.
    """

    def __init__(
        self,
        reader: Session,
        logs: Mapping[str, Log],
        places: Mapping[str, Mapping[int, int]],
        ends: Mapping[str, Mapping[int, int]],
        *,
        limit: int,
        gaps: Mapping[str, str],
    ) -> None:
        self._reader = reader
        self._logs = logs
        self._limit = limit
        self._lives = {topic: logs[topic].identity for topic in places}
        self._by_partition = {
            (topic, number): Strand(topic, number, place, ends[topic][number])
            for topic, at in places.items()
            for number, place in at.items()
        }
        self._strands = tuple(self._by_partition.values())
        account = reader.grant.account
        self._keys = [ALL, *map(of_room, reader.rooms)]
        self._keys += [] if account is None else [of_account(account)]
        self._waiting = 0  # bytes of what was found
        self._bytes = 0
        self.events: list[bytes] = []  #: frames
        begin = self.cursor
        self.gaps = [frames.write(frames.Gap(topic, why, begin)) for topic, why in gaps.items()]

    # -- what it tells ---------------------------------------------------------------------------

    @property
    def cursor(self) -> str:
        """The cursor that covers exactly what was handed out."""
        at: dict[str, dict[int, int]] = {topic: {} for topic in self._lives}
        for strand in self._strands:
            at[strand.topic][strand.number] = strand.next
        return write_cursor({topic: Place(self._lives[topic], at[topic]) for topic in at})

    @property
    def more(self) -> bool:
        """Whether there may be more before its ends."""
        return any(strand.is_open for strand in self._strands)

    @property
    def moved(self) -> bool:
        """Whether the reader gets on by it."""
        return bool(self.events) or any(strand.place > strand.start for strand in self._strands)

    def write(self) -> bytes:
        """Return the page as JSON text, its frames as they are."""
        return b'{"events":[%b],"cursor":"%b","more":%b,"gaps":[%b]}' % (
            b",".join(self.events),
            self.cursor.encode(),
            b"true" if self.more else b"false",
            b",".join(self.gaps),
        )

    # -- handing out -----------------------------------------------------------------------------

    def merge(self) -> bool:
        """Hand out what nothing older can come before; return whether the page is done."""
        heap = [(strand.order, strand) for strand in self._strands if strand.is_open]
        heapify(heap)
        while heap and not self._is_full and heap[0][1].found:
            strand = heap[0][1]
            self._hand_out(strand)
            if strand.is_open:
                heapreplace(heap, (strand.order, strand))
            else:
                heappop(heap)
        return self._is_full or not heap

    def wanted(self) -> list[Strand]:
        """What has to be looked at before anything more can be handed out, oldest first."""
        first = min((strand.order for strand in self._strands if strand.found), default=None)
        wanted = [
            strand
            for strand in self._strands
            if not strand.found and strand.is_open and (first is None or strand.order < first)
        ]
        return sorted(wanted, key=lambda strand: strand.order)

    def cut(self) -> None:
        """End the page here: to look on would take too much.

        Where nothing could be handed out in order, what was found goes out without: whoever asks
        again has to get on.
        """
        self.merge()
        if not self.events:
            while not self._is_full and (found := [s for s in self._strands if s.found]):
                self._hand_out(min(found, key=lambda strand: strand.order))

    @property
    def _is_full(self) -> bool:
        return len(self.events) >= self._limit or self._bytes >= PAGE_BYTES

    def _hand_out(self, strand: Strand) -> None:
        event, to = strand.found.popleft()
        strand.bytes -= _size(event)
        self._waiting -= _size(event)
        frame = frames.event_frame(strand.topic, strand.number, event).text(to)
        self.events.append(frame)
        self._bytes += len(frame)

    # -- looking ---------------------------------------------------------------------------------

    def strand(self, topic: str, number: int) -> Strand | None:
        """Return the strand of a partition, None where the page has none of it."""
        return self._by_partition.get((topic, number))

    def check(self) -> None:
        """Make sure that its topics are still the ones that it tells of.

        Raises:
            Outlived: If one is not.
        """
        if any(self._logs[topic].identity != life for topic, life in self._lives.items()):
            raise Outlived

    def is_ahead(self, strand: Strand) -> bool:
        """Whether this instance will read what follows in `strand`, and has not yet."""
        log = self._logs[strand.topic]
        return not log.asleep and strand.place >= log.next.get(strand.number, 0)

    def is_kept(self, strand: Strand, journal: Journal) -> bool:
        """Whether the journal has what follows in `strand`."""
        if strand.number not in self._logs[strand.topic].next:
            return False
        tail = journal.tail(strand.topic, strand.number)
        return tail.floor <= strand.place < tail.next

    def recall(self, strand: Strand, journal: Journal) -> bool:
        """Look at some more of `strand` in the journal; return False where it is not there.

        Raises:
            Outlived: If a topic is not the one that it was.
        """
        self.check()
        if not self.is_kept(strand, journal):
            return False
        tail = journal.tail(strand.topic, strand.number)
        segment = next(tail.since(strand.place), None)
        if segment is None:
            self.take(strand, (), strand.place, tail.next)
            return True
        if segment.loose:
            journal.pack(segment, PACKED)
        if not segment.loose:
            numbers = segment.find(self._keys, strand.place)
            events = [segment.event(number) for number in numbers[:PORTION]]
            after = segment.next if len(numbers) <= PORTION else events[-1].offset + 1
            self.take(strand, events, strand.place, after)
        journal.shrink()
        return True

    def take(
        self,
        strand: Strand,
        events: Sequence[Event],
        first: int,
        next: int,
        reached: int | None = None,
    ) -> bool:
        """Keep what is for the reader of `events`: all there are from offset `first` up to `next`.

        `reached` is the highest timestamp among them and all that was passed over. Return whether
        the page can do with more that follows them.
        """
        if strand.place < first:
            return False
        until = min(next, strand.end)
        for event in events:
            if not strand.place <= event.offset < until:
                continue
            to = reason(self._reader, event)
            if to is None:
                continue
            if len(strand.found) + len(self.events) >= self._limit or strand.bytes >= PAGE_BYTES:
                strand.place = event.offset
                break
            strand.found.append((event, to))
            strand.bytes += _size(event)
            self._waiting += _size(event)
        else:
            strand.place = max(strand.place, until)
            strand.reached = max(strand.reached, _LONG_AGO if reached is None else reached)
        self._forget_some()
        return next <= strand.place < strand.end

    def _forget_some(self) -> None:
        """Leave what would be handed out last to another look, where too much waits."""
        while self._waiting > WAITING_BYTES:
            strands = [strand for strand in self._strands if strand.found]
            if len(strands) == 1:
                return
            last = max(strands, key=lambda strand: strand.order)
            head, _ = last.found[0]
            last.place, last.reached = head.offset, head.timestamp
            self._waiting -= last.bytes
            last.bytes = 0
            last.found.clear()


def _size(event: Event) -> int:
    return len(event.data) + _EVENT_BYTES


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
