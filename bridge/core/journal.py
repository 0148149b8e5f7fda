"""The recent tail of every partition, in a budget of memory.

Rules: of each partition the journal has everything from a floor up to what the instance has read,
or nothing; the budget is of real memory, index and all; and what goes first is what is oldest.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from bridge.core.segment import Segment

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bridge.core.protocol.event import Event

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
