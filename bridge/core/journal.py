"""The recent tail of every partition, in a budget of memory.

Rules: of each partition the journal has everything from a floor up to what the instance has read,
or nothing; the budget is of real memory, index and all; and what goes first is what is oldest.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import deque
from itertools import count
from typing import TYPE_CHECKING, Final

import msgspec

from bridge.core.protocol.event import Event

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_pack: Final = msgspec.msgpack.Encoder().encode
_unpack: Final = msgspec.msgpack.Decoder(Event).decode
_unpack_all: Final = msgspec.msgpack.Decoder(list[Event]).decode
#: An entry of the index is the upper bits of an address' hash, and an event's number below them.
_NUMBER_BITS: Final = 24
_NUMBER: Final = (1 << _NUMBER_BITS) - 1
#: So many entries stand beside the index until they are merged with it: while a segment grows,
#: and is asked for all the same, to sort all of it for each batch would be quadratic.
_FRESH: Final = 2_000
#: What the objects around the bytes take, about.
_OVERHEAD_BYTES: Final = 600
_REFERENCE_BYTES: Final = 8
_serials: Final = count()

ALL: Final = hash(("all",)) & ~_NUMBER


def of_connection(name: str) -> int:
    """Return the key of a connection's address."""
    return hash(("connection", name)) & ~_NUMBER


def of_account(name: str) -> int:
    """Return the key of an account's address."""
    return hash(("account", name)) & ~_NUMBER


def of_room(name: str) -> int:
    """Return the key of a room's address."""
    return hash(("room", name)) & ~_NUMBER


class Segment:
    """Consecutive events of one partition; `next` is the offset that follows the last of them.

    No two segments ever have one `serial`.
    """

    __slots__ = (
        *("_ends", "_fresh", "_index", "_loose", "_offsets", "_packed", "bytes", "next"),
        *("serial", "timestamp"),
    )

    def __init__(self) -> None:
        self.serial = next(_serials)
        self.next = 0
        self.timestamp: int | None = None  #: of the first record
        self.bytes = _OVERHEAD_BYTES  #: of memory that this takes
        self._loose: list[bytes] = []  # packed lists of events, as they came
        self._packed = bytearray()  # events that have been asked for: one after the other,
        self._ends = array("I")  # where each of them ends,
        self._offsets = array("q")
        self._index = array("q")  # and who they are for, sorted,
        self._fresh = array("q")  # as are the latest by themselves

    def keep(self, events: Sequence[Event]) -> None:
        """Add some events that follow."""
        block = bytes(memoryview(_pack(events)))  # copied: msgspec's own has room to spare
        self._loose.append(block)
        self.bytes += block.__sizeof__() + _REFERENCE_BYTES
        self.next = events[-1].offset + 1
        if self.timestamp is None:
            self.timestamp = events[0].timestamp

    @property
    def loose(self) -> bool:
        """Whether there are events that can not be found yet: `pack` first."""
        return bool(self._loose)

    def pack(self, most: int) -> int:
        """Let about `most` more events be found, oldest first; return how many it were.

        Cost: some microseconds for each, once.
        """
        events: list[Event] = []
        blocks = 0
        while blocks < len(self._loose) and len(events) < most:
            events += _unpack_all(self._loose[blocks])
            blocks += 1
        del self._loose[:blocks]
        packed = [_pack(event) for event in events]
        entries: list[int] = []
        end = len(self._packed)
        for number, event in enumerate(events, len(self._offsets)):
            end += len(packed[number - len(self._offsets)])
            self._ends.append(end)
            entries += [key | number for key in _keys(event)]
        self._offsets.extend(event.offset for event in events)
        self._packed += b"".join(packed)
        # Sorted stretches and some entries behind them: what Python's sort is quickest at.
        self._fresh = array("q", sorted([*self._fresh, *entries]))
        if len(self._fresh) > _FRESH:
            self._index = array("q", sorted([*self._index, *self._fresh]))
            self._fresh = array("q")
        held = (self._ends, self._offsets, self._index, self._fresh, *self._loose)
        # What a bytearray has to spare was never touched, so no memory is behind it.
        self.bytes = _OVERHEAD_BYTES + len(self._packed) + sum(each.__sizeof__() for each in held)
        self.bytes += _REFERENCE_BYTES * len(self._loose)
        return len(events)

    def find(self, keys: Iterable[int], place: int) -> list[int]:
        """Return the numbers of the packed events at offset `place` or above that are for these.

        There may be some among them that are not: a key stands for a name, but not for one only.
        """
        first = bisect_left(self._offsets, place)
        found: set[int] = set()
        for index in (self._index, self._fresh) if self._fresh else (self._index,):
            for key in keys:
                at = bisect_left(index, key | first)
                while at < len(index) and index[at] & ~_NUMBER == key:
                    found.add(index[at] & _NUMBER)
                    at += 1
        return sorted(found)

    def event(self, number: int) -> Event:
        """Return the event of this number, made anew."""
        start = self._ends[number - 1] if number else 0
        return _unpack(memoryview(self._packed)[start : self._ends[number]])


def _keys(event: Event) -> set[int]:
    keys = {of_connection(name) for name in event.connections}
    keys.update(of_account(name) for name in event.accounts)
    keys.update(of_room(name) for name in event.rooms)
    if event.all:
        keys.add(ALL)
    return keys


#: Without any tail no replay could ever hand over to live: this much there always is.
LEAST_BYTES: Final = 1 << 20
#: A segment is closed at this size, or at a share of the budget where that is less.
SEGMENT_BYTES: Final = 4 << 20
_SHARE: Final = 16


class Tail:
    """The segments of one partition, or of a stretch of it: complete from `floor` to `next`."""

    __slots__ = ("floor", "next", "segments")

    def __init__(self, offset: int) -> None:
        self.floor = offset
        self.next = offset
        self.segments: deque[Segment] = deque()

    def since(self, place: int) -> Iterator[Segment]:
        """Yield the segments that have offsets at `place` or above, in order."""
        return (segment for segment in self.segments if segment.next > place)


class Journal:
    """The tails of all partitions, by public topic and number."""

    def __init__(self, budget: int) -> None:
        """`budget` is in bytes."""
        self._budget = max(budget, LEAST_BYTES)
        self._segment_bytes = min(SEGMENT_BYTES, self._budget // _SHARE)
        self._tails: dict[tuple[str, int], Tail] = {}
        self._ages: deque[tuple[Tail, Segment]] = deque()  # of the tails' segments, oldest first
        self._stretches: list[Tail] = []
        self.bytes = 0  #: of memory in use

    # -- the tails -------------------------------------------------------------------------------

    def begin(self, topic: str, partition: int, offset: int) -> None:
        """Say that `partition` is read from `offset` on; what was kept of it is forgotten."""
        self._forget(topic, partition)
        self._tails[topic, partition] = Tail(offset)

    def forget(self, topic: str) -> None:
        """Say that `topic` is no more what it was."""
        for _, partition in [key for key in self._tails if key[0] == topic]:
            self._forget(topic, partition)

    def _forget(self, topic: str, partition: int) -> None:
        for stretch in tuple(self._stretches):
            self.drop(stretch)  # it may be of what is forgotten
        old = self._tails.pop((topic, partition), None)
        if old is not None:
            self.bytes -= sum(segment.bytes for segment in old.segments)
            self._ages = deque((tail, segment) for tail, segment in self._ages if tail is not old)

    def keep(self, topic: str, partition: int, events: Sequence[Event], next: int) -> None:
        """Add what was read of `partition`, up to `next`."""
        tail = self._tails[topic, partition]
        if self._add(tail, events, next):
            self._ages.append((tail, tail.segments[-1]))
        self.shrink()

    def tail(self, topic: str, partition: int) -> Tail:
        """Return what there is of `partition`, which was begun."""
        return self._tails[topic, partition]

    def floor(self, topic: str, partition: int) -> int:
        """Return the first offset of `partition` that is here, 0 where it was never begun."""
        tail = self._tails.get((topic, partition))
        return 0 if tail is None else tail.floor

    @property
    def oldest(self) -> int | None:
        """The timestamp of the oldest record that is here, in milliseconds; None without any."""
        return self._ages[0][1].timestamp if self._ages else None

    def holds(self, topic: str, partition: int, tail: Tail) -> bool:
        """Whether `partition` was not begun anew since `tail` was what there is of it."""
        return self._tails.get((topic, partition)) is tail

    def pack(self, segment: Segment, most: int) -> int:
        """Do `segment.pack`; its memory is accounted for."""
        before = segment.bytes
        packed = segment.pack(most)
        self.bytes += segment.bytes - before
        return packed

    def shrink(self) -> None:
        """Forget the oldest until the budget holds; what was read again is the oldest of all."""
        if self.bytes > self._budget:
            for stretch in tuple(self._stretches):
                self.drop(stretch)
        while self.bytes > self._budget and self._ages:
            tail, segment = self._ages.popleft()
            tail.segments.popleft()
            tail.floor = segment.next
            self.bytes -= segment.bytes

    # -- stretches below them --------------------------------------------------------------------

    def stretch(self, offset: int) -> Tail:
        """Return the beginning of a stretch that is being read again, to be kept too if it fits."""
        stretch = Tail(offset)
        self._stretches.append(stretch)
        return stretch

    def extend(self, stretch: Tail, events: Sequence[Event], next: int) -> None:
        """Add what was read of `stretch`, up to `next`."""
        if stretch in self._stretches:
            self._add(stretch, events, next)
            self.shrink()

    def prepend(self, topic: str, partition: int, stretch: Tail) -> None:
        """Put `stretch` below the tail of `partition`, if it reaches up to there."""
        if not self.drop(stretch):
            return
        tail = self._tails.get((topic, partition))
        if tail is None or stretch.next != tail.floor or stretch.floor >= tail.floor:
            return
        self.bytes += sum(segment.bytes for segment in stretch.segments)
        tail.segments.extendleft(reversed(stretch.segments))
        tail.floor = stretch.floor
        self._ages.extendleft((tail, segment) for segment in reversed(stretch.segments))

    def is_open(self, stretch: Tail) -> bool:
        """Whether `stretch` has fitted so far."""
        return stretch in self._stretches

    def drop(self, stretch: Tail) -> bool:
        """Forget `stretch`; tell whether it was kept until now."""
        if stretch not in self._stretches:
            return False
        self._stretches.remove(stretch)
        self.bytes -= sum(segment.bytes for segment in stretch.segments)
        return True

    # -- memory ----------------------------------------------------------------------------------

    def _add(self, tail: Tail, events: Sequence[Event], next: int) -> bool:
        """Add to the last segment of `tail`; tell whether that is a new one."""
        tail.next = next
        if not events:
            return False
        new = not tail.segments or tail.segments[-1].bytes >= self._segment_bytes
        if new:
            tail.segments.append(Segment())
        segment = tail.segments[-1]
        before = 0 if new else segment.bytes
        segment.keep(events)
        self.bytes += segment.bytes - before
        return new
