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

_encode: Final = msgspec.msgpack.Encoder().encode
_decode_event: Final = msgspec.msgpack.Decoder(Event).decode
_decode_events: Final = msgspec.msgpack.Decoder(list[Event]).decode
#: An entry of the index is the upper bits of an address' hash, and an event's number below them.
_EVENT_NUMBER_BITS: Final = 24
_EVENT_NUMBER_MASK: Final = (1 << _EVENT_NUMBER_BITS) - 1
#: So many entries stand beside the index until they are merged with it: while a segment grows,
#: and is asked for all the same, to sort all of it for each batch would be quadratic.
_MAX_RECENT_ENTRIES: Final = 2_000
#: What the objects around the bytes take, about.
_OVERHEAD_BYTES: Final = 600
_REFERENCE_BYTES: Final = 8
_serials: Final = count()

ALL_KEY: Final = hash(("all",)) & ~_EVENT_NUMBER_MASK


def connection_key(name: str) -> int:
    """Return the key of a connection's address."""
    return hash(("connection", name)) & ~_EVENT_NUMBER_MASK


def account_key(name: str) -> int:
    """Return the key of an account's address."""
    return hash(("account", name)) & ~_EVENT_NUMBER_MASK


def room_key(name: str) -> int:
    """Return the key of a room's address."""
    return hash(("room", name)) & ~_EVENT_NUMBER_MASK


class Segment:
    """Consecutive events of one partition; `next` is the offset that follows the last of them.

    No two segments ever have one `serial`.
    """

    __slots__ = (
        *(
            "_event_ends",
            "_recent_index",
            "_index",
            "_unindexed_blocks",
            "_offsets",
            "_indexed_events",
            "size_bytes",
            "next_offset",
        ),
        *("serial", "first_timestamp_ms"),
    )

    def __init__(self) -> None:
        self.serial = next(_serials)
        self.next_offset = 0
        self.first_timestamp_ms: int | None = None  #: of the first record
        self.size_bytes = _OVERHEAD_BYTES  #: of memory that this takes
        self._unindexed_blocks: list[bytes] = []  # packed lists of events, as they came
        self._indexed_events = bytearray()  # events that have been asked for: one after the other,
        self._event_ends = array("I")  # where each of them ends,
        self._offsets = array("q")
        self._index = array("q")  # and who they are for, sorted,
        self._recent_index = array("q")  # as are the latest by themselves

    def append(self, events: Sequence[Event]) -> None:
        """Add some events that follow."""
        block = bytes(memoryview(_encode(events)))  # copied: msgspec's own has room to spare
        self._unindexed_blocks.append(block)
        self.size_bytes += block.__sizeof__() + _REFERENCE_BYTES
        self.next_offset = events[-1].offset + 1
        if self.first_timestamp_ms is None:
            self.first_timestamp_ms = events[0].timestamp

    @property
    def has_unindexed_events(self) -> bool:
        """Whether there are events that can not be found yet: `pack` first."""
        return bool(self._unindexed_blocks)

    def index_events(self, max_events: int) -> int:
        """Let about `max_events` more events be found, oldest first; return how many it were.

        Cost: some microseconds for each, once.
        """
        events: list[Event] = []
        block_count = 0
        while block_count < len(self._unindexed_blocks) and len(events) < max_events:
            events += _decode_events(self._unindexed_blocks[block_count])
            block_count += 1
        del self._unindexed_blocks[:block_count]
        encoded = [_encode(event) for event in events]
        entries: list[int] = []
        end = len(self._indexed_events)
        for number, event in enumerate(events, len(self._offsets)):
            end += len(encoded[number - len(self._offsets)])
            self._event_ends.append(end)
            entries += [key | number for key in _event_keys(event)]
        self._offsets.extend(event.offset for event in events)
        self._indexed_events += b"".join(encoded)
        # Sorted stretches and some entries behind them: what Python's sort is quickest at.
        self._recent_index = array("q", sorted([*self._recent_index, *entries]))
        if len(self._recent_index) > _MAX_RECENT_ENTRIES:
            self._index = array("q", sorted([*self._index, *self._recent_index]))
            self._recent_index = array("q")
        parts = (
            self._event_ends,
            self._offsets,
            self._index,
            self._recent_index,
            *self._unindexed_blocks,
        )
        # What a bytearray has to spare was never touched, so no memory is behind it.
        self.size_bytes = (
            _OVERHEAD_BYTES + len(self._indexed_events) + sum(each.__sizeof__() for each in parts)
        )
        self.size_bytes += _REFERENCE_BYTES * len(self._unindexed_blocks)
        return len(events)

    def find(self, keys: Iterable[int], min_offset: int) -> list[int]:
        """Return the numbers of the packed events at offset `min_offset` or above that are for these.

        There may be some among them that are not: a key stands for a name, but not for one only.
        """
        first_number = bisect_left(self._offsets, min_offset)
        found: set[int] = set()
        for index in (self._index, self._recent_index) if self._recent_index else (self._index,):
            for key in keys:
                slot = bisect_left(index, key | first_number)
                while slot < len(index) and index[slot] & ~_EVENT_NUMBER_MASK == key:
                    found.add(index[slot] & _EVENT_NUMBER_MASK)
                    slot += 1
        return sorted(found)

    def event(self, number: int) -> Event:
        """Return the event of this number, made anew."""
        start = self._event_ends[number - 1] if number else 0
        return _decode_event(memoryview(self._indexed_events)[start : self._event_ends[number]])


def _event_keys(event: Event) -> set[int]:
    keys = {connection_key(name) for name in event.connections}
    keys.update(account_key(name) for name in event.accounts)
    keys.update(room_key(name) for name in event.rooms)
    if event.all:
        keys.add(ALL_KEY)
    return keys


#: Without any tail no replay could ever hand over to live: this much there always is.
MIN_BUDGET_BYTES: Final = 1 << 20
#: A segment is closed at this size, or at a share of the budget where that is less.
MAX_SEGMENT_BYTES: Final = 4 << 20
_MIN_SEGMENTS: Final = 16


class JournalRange:
    """The segments of one partition, or of a stretch of it: complete from `floor` to `next`."""

    __slots__ = ("next_offset", "segments", "start_offset")

    def __init__(self, offset: int) -> None:
        self.start_offset = offset
        self.next_offset = offset
        self.segments: deque[Segment] = deque()

    def segments_from(self, offset: int) -> Iterator[Segment]:
        """Yield the segments that have offsets at `offset` or above, in order."""
        return (segment for segment in self.segments if segment.next_offset > offset)


class Journal:
    """The tails of all partitions, by public topic and number."""

    def __init__(self, budget_bytes: int) -> None:
        """`budget_bytes` is in bytes."""
        self._budget_bytes = max(budget_bytes, MIN_BUDGET_BYTES)
        self._segment_bytes = min(MAX_SEGMENT_BYTES, self._budget_bytes // _MIN_SEGMENTS)
        self._partitions: dict[tuple[str, int], JournalRange] = {}
        self._segments_by_age: deque[tuple[JournalRange, Segment]] = (
            deque()
        )  # of the tails' segments, oldest first
        self._backfills: list[JournalRange] = []
        self.used_bytes = 0  #: of memory in use

    # -- the tails -------------------------------------------------------------------------------

    def reset_partition(self, topic: str, partition: int, offset: int) -> None:
        """Say that `partition` is read from `offset` on; what was kept of it is forgotten."""
        self._remove_partition(topic, partition)
        self._partitions[topic, partition] = JournalRange(offset)

    def remove_topic(self, topic: str) -> None:
        """Say that `topic` is no more what it was."""
        for _, partition in [key for key in self._partitions if key[0] == topic]:
            self._remove_partition(topic, partition)

    def _remove_partition(self, topic: str, partition: int) -> None:
        for backfill in tuple(self._backfills):
            self.remove_backfill(backfill)  # it may be of what is forgotten
        removed = self._partitions.pop((topic, partition), None)
        if removed is not None:
            self.used_bytes -= sum(segment.size_bytes for segment in removed.segments)
            self._segments_by_age = deque(
                (partition_range, segment)
                for partition_range, segment in self._segments_by_age
                if partition_range is not removed
            )

    def append(self, topic: str, partition: int, events: Sequence[Event], next_offset: int) -> None:
        """Add what was read of `partition`, up to `next_offset`."""
        partition_range = self._partitions[topic, partition]
        if self._append(partition_range, events, next_offset):
            self._segments_by_age.append((partition_range, partition_range.segments[-1]))
        self.evict()

    def partition(self, topic: str, partition: int) -> JournalRange:
        """Return what there is of `partition`, which was begun."""
        return self._partitions[topic, partition]

    def start_offset(self, topic: str, partition: int) -> int:
        """Return the first offset of `partition` that is here, 0 where it was never begun."""
        partition_range = self._partitions.get((topic, partition))
        return 0 if partition_range is None else partition_range.start_offset

    @property
    def oldest_timestamp_ms(self) -> int | None:
        """The timestamp of the oldest record that is here, in milliseconds; None without any."""
        return self._segments_by_age[0][1].first_timestamp_ms if self._segments_by_age else None

    def is_current(self, topic: str, partition: int, partition_range: JournalRange) -> bool:
        """Whether `partition` was not begun anew since `partition_range` was what there is of it."""
        return self._partitions.get((topic, partition)) is partition_range

    def index_segment(self, segment: Segment, max_events: int) -> int:
        """Do `segment.pack`; its memory is accounted for."""
        bytes_before = segment.size_bytes
        indexed = segment.index_events(max_events)
        self.used_bytes += segment.size_bytes - bytes_before
        return indexed

    def evict(self) -> None:
        """Forget the oldest until the budget holds; what was read again is the oldest of all."""
        if self.used_bytes > self._budget_bytes:
            for backfill in tuple(self._backfills):
                self.remove_backfill(backfill)
        while self.used_bytes > self._budget_bytes and self._segments_by_age:
            partition_range, segment = self._segments_by_age.popleft()
            partition_range.segments.popleft()
            partition_range.start_offset = segment.next_offset
            self.used_bytes -= segment.size_bytes

    # -- stretches below them --------------------------------------------------------------------

    def start_backfill(self, offset: int) -> JournalRange:
        """Return the beginning of a stretch that is being read again, to be kept too if it fits."""
        backfill = JournalRange(offset)
        self._backfills.append(backfill)
        return backfill

    def extend_backfill(
        self, backfill: JournalRange, events: Sequence[Event], next_offset: int
    ) -> None:
        """Add what was read of `backfill`, up to `next_offset`."""
        if backfill in self._backfills:
            self._append(backfill, events, next_offset)
            self.evict()

    def prepend_backfill(self, topic: str, partition: int, backfill: JournalRange) -> None:
        """Put `backfill` below the tail of `partition`, if it reaches up to there."""
        if not self.remove_backfill(backfill):
            return
        partition_range = self._partitions.get((topic, partition))
        if (
            partition_range is None
            or backfill.next_offset != partition_range.start_offset
            or backfill.start_offset >= partition_range.start_offset
        ):
            return
        self.used_bytes += sum(segment.size_bytes for segment in backfill.segments)
        partition_range.segments.extendleft(reversed(backfill.segments))
        partition_range.start_offset = backfill.start_offset
        self._segments_by_age.extendleft(
            (partition_range, segment) for segment in reversed(backfill.segments)
        )

    def has_backfill(self, backfill: JournalRange) -> bool:
        """Whether `backfill` has fitted so far."""
        return backfill in self._backfills

    def remove_backfill(self, backfill: JournalRange) -> bool:
        """Forget `backfill`; tell whether it was kept until now."""
        if backfill not in self._backfills:
            return False
        self._backfills.remove(backfill)
        self.used_bytes -= sum(segment.size_bytes for segment in backfill.segments)
        return True

    # -- memory ----------------------------------------------------------------------------------

    def _append(
        self, journal_range: JournalRange, events: Sequence[Event], next_offset: int
    ) -> bool:
        """Add to the last segment of `journal_range`; tell whether that is a new one."""
        journal_range.next_offset = next_offset
        if not events:
            return False
        is_new_segment = (
            not journal_range.segments
            or journal_range.segments[-1].size_bytes >= self._segment_bytes
        )
        if is_new_segment:
            journal_range.segments.append(Segment())
        segment = journal_range.segments[-1]
        bytes_before = 0 if is_new_segment else segment.size_bytes
        segment.append(events)
        self.used_bytes += segment.size_bytes - bytes_before
        return is_new_segment
