"""Recent events of every partition in memory, within a budget of bytes.

Rule: a partition's range has no holes and ends where this instance reads. The oldest goes first.
Replay reads it; only what is older is fetched from Kafka.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import deque
from itertools import count
from typing import TYPE_CHECKING, Final

import msgspec

from bridge.core.protocol.event import Event, address_count

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_encode: Final = msgspec.msgpack.Encoder().encode
_decode_event: Final = msgspec.msgpack.Decoder(Event).decode
_decode_events: Final = msgspec.msgpack.Decoder(list[Event]).decode
#: An index entry holds the upper bits of an address' hash and, in these bits, an event's number.
_EVENT_NUMBER_BITS: Final = 24
_EVENT_NUMBER_MASK: Final = (1 << _EVENT_NUMBER_BITS) - 1
#: New entries are kept apart until there are this many. A growing segment is searched while it
#: grows, and sorting all of its entries for each batch would be quadratic.
_MAX_RECENT_ENTRIES: Final = 2_000
#: Approximate memory of a segment's own objects, without the events.
_OVERHEAD_BYTES: Final = 600
_REFERENCE_BYTES: Final = 8
_serials: Final = count()

#: Without any journal, no replay could hand over to live delivery. This much there always is.
MIN_BUDGET_BYTES: Final = 1 << 20
#: A segment is closed at this size, or at a share of the budget if that is less.
MAX_SEGMENT_BYTES: Final = 4 << 20
_MIN_SEGMENTS: Final = 16

#: The search key of events for everybody.
ALL_KEY: Final = hash(("all",)) & ~_EVENT_NUMBER_MASK


def connection_key(name: str) -> int:
    """Return the search key of events addressed to a connection."""
    return hash(("connection", name)) & ~_EVENT_NUMBER_MASK


def account_key(name: str) -> int:
    """Return the search key of events addressed to an account."""
    return hash(("account", name)) & ~_EVENT_NUMBER_MASK


def room_key(name: str) -> int:
    """Return the search key of events addressed to a room."""
    return hash(("room", name)) & ~_EVENT_NUMBER_MASK


class Segment:
    """Consecutive events of one partition, encoded, with an index by address.

    Events are appended unindexed, which is cheap: most are never searched. `index_events` makes
    them searchable. `next_offset` follows the last event. `serial` is unique in the process.
    """

    __slots__ = (
        "_event_ends",
        "_index",
        "_indexed_events",
        "_offsets",
        "_recent_index",
        "_unindexed_blocks",
        "first_timestamp_ms",
        "next_offset",
        "serial",
        "size_bytes",
    )

    def __init__(self) -> None:
        self.serial = next(_serials)
        self.next_offset = 0
        self.first_timestamp_ms: int | None = None  #: timestamp of the first record
        self.size_bytes = _OVERHEAD_BYTES  #: memory of this segment, index included
        self._unindexed_blocks: list[bytes] = []  # encoded lists of events, as they were appended
        self._indexed_events = bytearray()  # encoded events, one after the other
        self._event_ends = array("I")  # by event number: its end in `_indexed_events`
        self._offsets = array("q")  # by event number: its Kafka offset
        self._index = array("q")  # entries, sorted
        self._recent_index = array("q")  # the latest entries, sorted by themselves

    def append(self, events: Sequence[Event]) -> None:
        """Add the next events, at least one; they are not searchable yet."""
        block = bytes(memoryview(_encode(events)))  # a copy: msgspec's own buffer has spare room
        self._unindexed_blocks.append(block)
        self.size_bytes += block.__sizeof__() + _REFERENCE_BYTES
        self.next_offset = events[-1].offset + 1
        if self.first_timestamp_ms is None:
            self.first_timestamp_ms = events[0].timestamp

    @property
    def has_unindexed_events(self) -> bool:
        """True while `find` misses some events: call `index_events` first."""
        return bool(self._unindexed_blocks)

    def index_events(self, max_entries: int) -> int:
        """Add about `max_entries` entries to the index, oldest events first; return their number.

        An event has an entry for each address. Whole blocks are indexed, so it may be more. Each
        entry costs about a microsecond, once.
        """
        events: list[Event] = []
        block_count = entry_count = 0
        while block_count < len(self._unindexed_blocks) and entry_count < max_entries:
            block = _decode_events(self._unindexed_blocks[block_count])
            events += block
            entry_count += sum(max(1, address_count(event)) for event in block)
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
        # Python's sort is fastest on sorted runs with some entries behind them.
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
        # A bytearray's spare room does not count: it was never touched, so no memory backs it.
        self.size_bytes = (
            _OVERHEAD_BYTES + len(self._indexed_events) + sum(each.__sizeof__() for each in parts)
        )
        self.size_bytes += _REFERENCE_BYTES * len(self._unindexed_blocks)
        return entry_count

    def find(self, keys: Iterable[int], min_offset: int) -> list[int]:
        """Return the numbers of the indexed events from `min_offset` on that have one of `keys`.

        Different names can share a key, so the caller checks each event's audience.
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
        """Decode the indexed event with this number; the result is a new object."""
        start = self._event_ends[number - 1] if number else 0
        return _decode_event(memoryview(self._indexed_events)[start : self._event_ends[number]])


def _event_keys(event: Event) -> set[int]:
    keys = {connection_key(name) for name in event.connections}
    keys.update(account_key(name) for name in event.accounts)
    keys.update(room_key(name) for name in event.rooms)
    if event.all:
        keys.add(ALL_KEY)
    return keys


class JournalRange:
    """Segments of one partition: every event from `start_offset` on, below `next_offset`."""

    __slots__ = ("next_offset", "segments", "start_offset")

    def __init__(self, offset: int) -> None:
        self.start_offset = offset
        self.next_offset = offset
        self.segments: deque[Segment] = deque()

    def segments_from(self, offset: int) -> Iterator[Segment]:
        """Yield, in order, the segments that reach beyond `offset`."""
        return (segment for segment in self.segments if segment.next_offset > offset)


class Journal:
    """Recent ranges of all partitions, by public topic and partition, within one budget.

    A backfill is a range that a scan of Kafka reads below a partition's range. It is prepended
    when it has reached it, and is the first to go when the budget is exceeded.
    """

    def __init__(self, budget_bytes: int) -> None:
        """`budget_bytes` is raised to `MIN_BUDGET_BYTES` if it is less."""
        self._budget_bytes = max(budget_bytes, MIN_BUDGET_BYTES)
        self._segment_bytes = min(MAX_SEGMENT_BYTES, self._budget_bytes // _MIN_SEGMENTS)
        self._partitions: dict[tuple[str, int], JournalRange] = {}
        # The partitions' segments, oldest first; backfills are not among them.
        self._segments_by_age: deque[tuple[JournalRange, Segment]] = deque()
        self._backfills: list[JournalRange] = []
        self.used_bytes = 0  #: memory of all segments, those of backfills included

    # -- partitions ------------------------------------------------------------------------------

    def reset_partition(self, topic: str, partition: int, offset: int) -> None:
        """Drop everything of `partition` and start its range at `offset`."""
        self._remove_partition(topic, partition)
        self._partitions[topic, partition] = JournalRange(offset)

    def remove_topic(self, topic: str) -> None:
        """Drop all partitions of `topic`: it was recreated, or is not read any more."""
        for _, partition in [key for key in self._partitions if key[0] == topic]:
            self._remove_partition(topic, partition)

    def _remove_partition(self, topic: str, partition: int) -> None:
        for backfill in tuple(self._backfills):
            self.remove_backfill(backfill)  # it may belong to the partition that is dropped
        removed = self._partitions.pop((topic, partition), None)
        if removed is not None:
            self.used_bytes -= sum(segment.size_bytes for segment in removed.segments)
            self._segments_by_age = deque(
                (partition_range, segment)
                for partition_range, segment in self._segments_by_age
                if partition_range is not removed
            )

    def append(self, topic: str, partition: int, events: Sequence[Event], next_offset: int) -> None:
        """Add what was read of `partition`, up to `next_offset`, and evict the oldest segments."""
        partition_range = self._partitions[topic, partition]
        if self._append(partition_range, events, next_offset):
            self._segments_by_age.append((partition_range, partition_range.segments[-1]))
        self.evict()

    def partition(self, topic: str, partition: int) -> JournalRange:
        """Return the range of `partition`.

        Raises:
            KeyError: If the partition is not read on this instance.
        """
        return self._partitions[topic, partition]

    def start_offset(self, topic: str, partition: int) -> int:
        """Return the first offset of `partition` in memory; 0 if the partition is not read here."""
        partition_range = self._partitions.get((topic, partition))
        return 0 if partition_range is None else partition_range.start_offset

    @property
    def oldest_timestamp_ms(self) -> int | None:
        """Timestamp of the oldest record in memory, in milliseconds; None if there is none."""
        return self._segments_by_age[0][1].first_timestamp_ms if self._segments_by_age else None

    def is_current(self, topic: str, partition: int, partition_range: JournalRange) -> bool:
        """False once `partition` was reset or removed since `partition_range` was returned."""
        return self._partitions.get((topic, partition)) is partition_range

    def index_segment(self, segment: Segment, max_entries: int) -> int:
        """Call `segment.index_events` and account for the memory of the index."""
        bytes_before = segment.size_bytes
        indexed = segment.index_events(max_entries)
        self.used_bytes += segment.size_bytes - bytes_before
        return indexed

    def evict(self) -> None:
        """Drop segments until the budget holds: all backfills first, then the oldest."""
        if self.used_bytes > self._budget_bytes:
            for backfill in tuple(self._backfills):
                self.remove_backfill(backfill)
        while self.used_bytes > self._budget_bytes and self._segments_by_age:
            partition_range, segment = self._segments_by_age.popleft()
            partition_range.segments.popleft()
            partition_range.start_offset = segment.next_offset
            self.used_bytes -= segment.size_bytes

    # -- backfills -------------------------------------------------------------------------------

    def start_backfill(self, offset: int) -> JournalRange:
        """Return a new, empty backfill that starts at `offset`."""
        backfill = JournalRange(offset)
        self._backfills.append(backfill)
        return backfill

    def extend_backfill(
        self, backfill: JournalRange, events: Sequence[Event], next_offset: int
    ) -> None:
        """Add what was read, up to `next_offset`; nothing happens if `backfill` was dropped."""
        if backfill in self._backfills:
            self._append(backfill, events, next_offset)
            self.evict()

    def prepend_backfill(self, topic: str, partition: int, backfill: JournalRange) -> None:
        """Put `backfill` before the range of `partition` if it ends where the range starts.

        Otherwise it is dropped.
        """
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
        """False once `backfill` was dropped for lack of memory, or prepended."""
        return backfill in self._backfills

    def remove_backfill(self, backfill: JournalRange) -> bool:
        """Drop `backfill`; return False if it was dropped before."""
        if backfill not in self._backfills:
            return False
        self._backfills.remove(backfill)
        self.used_bytes -= sum(segment.size_bytes for segment in backfill.segments)
        return True

    # -- memory ----------------------------------------------------------------------------------

    def _append(
        self, journal_range: JournalRange, events: Sequence[Event], next_offset: int
    ) -> bool:
        """Add events to the last segment of `journal_range`; return True if that is a new one."""
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
