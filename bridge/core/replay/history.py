"""One page of past events for a client, oldest first: its request, its start, its merge.

Rules: between its start and its cursor a page has all of the reader's events, partition by
partition in order. An event is added once no partition can have an older one; buffers are bounded.
"""

from __future__ import annotations

from collections import deque
from heapq import heapify, heappop, heapreplace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import msgspec

from bridge.core.journal import ALL_KEY, account_key, room_key
from bridge.core.protocol import frames
from bridge.core.protocol.cursor import TopicOffsets, cursor_time, encode_cursor
from bridge.core.replay.retention import (
    LogBounds,
    ReplayLimits,
    ReplayRefused,
    check_retention,
    limit_by_cursor_age,
)
from bridge.core.sessions.fanout import match_reason
from bridge.core.sessions.positions import waiting_partitions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping, Sequence

    from bridge.core.journal import Journal
    from bridge.core.protocol.cursor import Cursor
    from bridge.core.protocol.event import Event
    from bridge.core.sessions.hub import Hub
    from bridge.core.sessions.positions import TopicPosition
    from bridge.core.sessions.session import Session

#: A page with this many bytes of frames is full, however few events it has.
MAX_PAGE_BYTES: Final = 4 << 20
#: Bytes of events that may wait for older events of other partitions. The rest is read again.
MAX_BUFFERED_BYTES: Final = 16 << 20
#: Events that one step reads from the journal.
JOURNAL_READ_EVENTS: Final = 64
#: Events that one step indexes in the journal.
JOURNAL_INDEX_EVENTS: Final = 500
#: Approximate memory of an event without its data.
_EVENT_OVERHEAD_BYTES: Final = 500
_MIN_TIMESTAMP: Final = -(2**63)
NONE_LEFT_OUT: Final[Mapping[str, TopicOffsets]] = MappingProxyType({})


class HistoryUnavailable(Exception):
    """History cannot be read now. The message is for the client, which may retry."""


class HistoryRequest(NamedTuple):
    """A request for events from `cursor` on, since a time, or from the earliest offset.

    `session` was never attached: it has the reader's permissions, topics, rooms and type filter.
    `since_ms` is in milliseconds since 1970. `removed` are topics that the reader cannot follow any
    more: the page reports a gap for each.
    """

    session: Session
    cursor: Cursor | None
    since_ms: int | None
    max_events: int
    removed: frozenset[str] = frozenset()


class HistoryReader(Protocol):
    """Reads pages of history, with the help of Kafka."""

    def read_page(self, request: HistoryRequest) -> Awaitable[HistoryPage]:
        """Return the requested page.

        Raises:
            HistoryUnavailable: If Kafka cannot be reached, or too many requests wait.

        Cancellation: safe; nothing more is read for the request.
        """


class HistoryConstraints(NamedTuple):
    """What limits the start of a page: log bounds by topic, and the limits of replays.

    `since_cursor` is the cursor of the requested time, empty if none was requested. `readable_from`
    has, by public topic and partition, the first offset above records that cannot be read, and the
    reason of that gap.
    """

    bounds: Mapping[str, LogBounds]
    limits: ReplayLimits
    since_cursor: Cursor
    readable_from: Mapping[tuple[str, int], tuple[int, str]]


class TopicChanged(Exception):
    """A topic of a page was recreated, removed or changed while the page was read."""


class PartitionCursor:
    """One partition's part of a page: read up to `read_offset`, to be read up to `end_offset`.

    `buffered` has found events that are not on the page yet, each with its `to`. No unread event
    is expected to be older than `reached_timestamp`, in milliseconds.
    """

    __slots__ = (
        "buffered",
        "buffered_bytes",
        "end_offset",
        "partition",
        "reached_timestamp",
        "read_offset",
        "start_offset",
        "topic",
    )

    def __init__(self, topic: str, partition: int, start_offset: int, end_offset: int) -> None:
        self.topic = topic
        self.partition = partition
        self.start_offset = self.read_offset = start_offset
        self.end_offset = end_offset
        self.reached_timestamp = _MIN_TIMESTAMP
        self.buffered: deque[tuple[Event, str]] = deque()
        self.buffered_bytes = 0

    @property
    def has_more(self) -> bool:
        """True if the partition may have more events for the page."""
        return bool(self.buffered) or self.read_offset < self.end_offset

    @property
    def merge_key(self) -> tuple[int, str, int]:
        """Sorts partitions by the timestamp of their next event, or by its lower bound."""
        timestamp = self.buffered[0][0].timestamp if self.buffered else self.reached_timestamp
        return timestamp, self.topic, self.partition

    @property
    def emitted_offset(self) -> int:
        """The offset below which all of the reader's events are on the page."""
        return self.buffered[0][0].offset if self.buffered else self.read_offset


class HistoryPage:
    """A page of at most `max_events` events for `session`, which was never attached to the hub.

    It has what is from `start_offsets` on and below `end_offsets`. `gap_reasons` are by topic: the
    reader asked for events before the start that it cannot get. `event_frames` are JSON text.
    """

    def __init__(
        self,
        session: Session,
        topic_positions: Mapping[str, TopicPosition],
        start_offsets: Mapping[str, Mapping[int, int]],
        end_offsets: Mapping[str, Mapping[int, int]],
        *,
        max_events: int,
        gap_reasons: Mapping[str, str],
        made_at: int,
        left_out: Mapping[str, TopicOffsets] = NONE_LEFT_OUT,
    ) -> None:
        """`made_at` is the time of its cursor, in seconds since 1970.

        `left_out` has the requested places in partitions that wait for a leader, by topic.
        """
        self._left_out = left_out
        self._made_at = made_at
        self._session = session
        self._topic_positions = topic_positions
        self._positions = {topic: topic_positions[topic] for topic in start_offsets}
        self._max_events = max_events
        self._topic_ids = {topic: topic_positions[topic].topic_id for topic in start_offsets}
        self._by_partition = {
            (topic, partition): PartitionCursor(
                topic, partition, offset, end_offsets[topic][partition]
            )
            for topic, offsets in start_offsets.items()
            for partition, offset in offsets.items()
        }
        self._partitions = tuple(self._by_partition.values())
        account = session.permissions.account
        self._audience_keys = [ALL_KEY, *map(room_key, session.rooms)]
        self._audience_keys += [] if account is None else [account_key(account)]
        self._buffered_bytes = 0  # of all partitions
        self._page_bytes = 0
        self.event_frames: list[bytes] = []
        start_cursor = self.cursor
        self.gap_frames = [
            frames.encode_frame(frames.Gap(topic, gap_reason, start_cursor))
            for topic, gap_reason in gap_reasons.items()
        ]

    # -- result ----------------------------------------------------------------------------------

    @property
    def cursor(self) -> str:
        """The cursor that covers exactly the events on the page."""
        offsets: dict[str, dict[int, int]] = {topic: {} for topic in self._topic_ids}
        for partition_cursor in self._partitions:
            offsets[partition_cursor.topic][partition_cursor.partition] = (
                partition_cursor.emitted_offset
            )
        return encode_cursor(
            {
                topic: TopicOffsets(
                    self._topic_ids[topic],
                    {**left_out.offsets, **offsets[topic]},
                    left_out.awaited,
                )
                for topic in offsets
                for left_out in (self._left_out.get(topic, TopicOffsets(b"", {})),)
            },
            self._made_at,
        )

    @property
    def has_more(self) -> bool:
        """True if there may be more events before `end_offsets`."""
        return any(partition_cursor.has_more for partition_cursor in self._partitions)

    @property
    def has_progressed(self) -> bool:
        """True if the cursor has moved, so that asking again makes sense."""
        return bool(self.event_frames) or any(
            partition_cursor.read_offset > partition_cursor.start_offset
            for partition_cursor in self._partitions
        )

    def to_json(self) -> bytes:
        """Return the response body; frames are not encoded a second time."""
        waiting = waiting_partitions(self._left_out, self._positions)
        return b'{"events":[%b],"cursor":"%b","more":%b,"gaps":[%b],"waiting":%b}' % (
            b",".join(self.event_frames),
            self.cursor.encode(),
            b"true" if self.has_more else b"false",
            b",".join(self.gap_frames),
            msgspec.json.encode(waiting),
        )

    def is_waiting(self, partition_cursor: PartitionCursor) -> bool:
        """True if the partition has no leader any more."""
        return partition_cursor.partition in self._positions[partition_cursor.topic].waiting

    # -- merging ---------------------------------------------------------------------------------

    def merge(self) -> bool:
        """Add buffered events that no unread event can precede; True if the page is complete."""
        heap = [
            (partition_cursor.merge_key, partition_cursor)
            for partition_cursor in self._partitions
            if partition_cursor.has_more
        ]
        heapify(heap)
        while heap and not self._is_full and heap[0][1].buffered:
            partition_cursor = heap[0][1]
            self._emit(partition_cursor)
            if partition_cursor.has_more:
                heapreplace(heap, (partition_cursor.merge_key, partition_cursor))
            else:
                heappop(heap)
        return self._is_full or not heap

    def partitions_to_read(self) -> list[PartitionCursor]:
        """The partitions to read before more events can be added, oldest first."""
        oldest_key = min(
            (
                partition_cursor.merge_key
                for partition_cursor in self._partitions
                if partition_cursor.buffered
            ),
            default=None,
        )
        to_read = [
            partition_cursor
            for partition_cursor in self._partitions
            if not partition_cursor.buffered
            and partition_cursor.has_more
            and (oldest_key is None or partition_cursor.merge_key < oldest_key)
        ]
        return sorted(to_read, key=lambda partition_cursor: partition_cursor.merge_key)

    def finish_early(self) -> None:
        """End the page before it is complete, because reading on would cost too much.

        If no event could be added in order, buffered ones are added out of order between
        partitions: otherwise the reader's next request would start at the same place.
        """
        self.merge()
        if not self.event_frames:
            while not self._is_full and (
                buffered := [candidate for candidate in self._partitions if candidate.buffered]
            ):
                self._emit(min(buffered, key=lambda partition_cursor: partition_cursor.merge_key))

    @property
    def _is_full(self) -> bool:
        return len(self.event_frames) >= self._max_events or self._page_bytes >= MAX_PAGE_BYTES

    def _emit(self, partition_cursor: PartitionCursor) -> None:
        event, to = partition_cursor.buffered.popleft()
        partition_cursor.buffered_bytes -= _memory_bytes(event)
        self._buffered_bytes -= _memory_bytes(event)
        frame = frames.build_event_frame(
            partition_cursor.topic, partition_cursor.partition, event
        ).encode(to)
        self.event_frames.append(frame)
        self._page_bytes += len(frame)

    # -- reading ---------------------------------------------------------------------------------

    def partition_cursor(self, topic: str, partition: int) -> PartitionCursor | None:
        """Return the page's part of a partition; None if the partition is not on the page."""
        return self._by_partition.get((topic, partition))

    def check_topics(self) -> None:
        """Check that the topics are what they were when the page was started.

        Raises:
            TopicChanged: If one was recreated, removed or changed.
        """
        for topic in self._topic_ids:
            self._check_topic(topic)

    def _check_topic(self, topic: str) -> None:
        position = self._positions[topic]
        if (
            self._topic_positions.get(topic) is not position
            or position.topic_id != self._topic_ids[topic]
        ):
            raise TopicChanged

    def is_ahead_of_consumer(self, partition_cursor: PartitionCursor) -> bool:
        """True if this instance's consumer reads the partition, and has not come this far."""
        topic_position = self._positions[partition_cursor.topic]
        return (
            not topic_position.is_idle
            and partition_cursor.read_offset
            >= topic_position.next_offsets.get(partition_cursor.partition, 0)
        )

    def is_in_journal(self, partition_cursor: PartitionCursor, journal: Journal) -> bool:
        """True if the journal has the next records of `partition_cursor`.

        Raises:
            TopicChanged: If its topic was recreated, removed or changed.
        """
        self._check_topic(partition_cursor.topic)
        position = self._positions[partition_cursor.topic]
        if partition_cursor.partition not in position.next_offsets:
            return False
        tail = journal.partition(partition_cursor.topic, partition_cursor.partition)
        return tail.start_offset <= partition_cursor.read_offset < tail.next_offset

    def read_from_journal(self, partition_cursor: PartitionCursor, journal: Journal) -> bool:
        """Do one step of reading `partition_cursor` from the journal; False if it is not there.

        Raises:
            TopicChanged: If a topic of the page was recreated, removed or changed.
        """
        self.check_topics()
        if not self.is_in_journal(partition_cursor, journal):
            return False
        tail = journal.partition(partition_cursor.topic, partition_cursor.partition)
        segment = next(tail.segments_from(partition_cursor.read_offset), None)
        if segment is None:
            self.add_events(partition_cursor, (), partition_cursor.read_offset, tail.next_offset)
            return True
        if segment.has_unindexed_events:
            journal.index_segment(segment, JOURNAL_INDEX_EVENTS)
        if not segment.has_unindexed_events:
            event_numbers = segment.find(self._audience_keys, partition_cursor.read_offset)
            events = [
                segment.event(event_number) for event_number in event_numbers[:JOURNAL_READ_EVENTS]
            ]
            next_offset = (
                segment.next_offset
                if len(event_numbers) <= JOURNAL_READ_EVENTS
                else events[-1].offset + 1
            )
            self.add_events(partition_cursor, events, partition_cursor.read_offset, next_offset)
        journal.evict()
        return True

    def add_events(
        self,
        partition_cursor: PartitionCursor,
        events: Sequence[Event],
        first_offset: int,
        next_offset: int,
        max_timestamp: int | None = None,
    ) -> bool:
        """Buffer the reader's events among `events`: all from `first_offset` to `next_offset`.

        `max_timestamp` is the highest timestamp of these offsets, records without events included.
        Return True if the page has room for more events that follow these.
        """
        if partition_cursor.read_offset < first_offset:
            return False
        end_offset = min(next_offset, partition_cursor.end_offset)
        for event in events:
            if not partition_cursor.read_offset <= event.offset < end_offset:
                continue
            to = match_reason(self._session, event)
            if to is None:
                continue
            if (
                len(partition_cursor.buffered) + len(self.event_frames) >= self._max_events
                or partition_cursor.buffered_bytes >= MAX_PAGE_BYTES
            ):
                partition_cursor.read_offset = event.offset
                break
            partition_cursor.buffered.append((event, to))
            partition_cursor.buffered_bytes += _memory_bytes(event)
            self._buffered_bytes += _memory_bytes(event)
        else:
            partition_cursor.read_offset = max(partition_cursor.read_offset, end_offset)
            partition_cursor.reached_timestamp = max(
                partition_cursor.reached_timestamp,
                _MIN_TIMESTAMP if max_timestamp is None else max_timestamp,
            )
        self._trim_buffers()
        return next_offset <= partition_cursor.read_offset < partition_cursor.end_offset

    def _trim_buffers(self) -> None:
        """While too much is buffered, drop what would be added last; it is read again later."""
        while self._buffered_bytes > MAX_BUFFERED_BYTES:
            buffered = [
                partition_cursor
                for partition_cursor in self._partitions
                if partition_cursor.buffered
            ]
            if len(buffered) == 1:
                return
            latest = max(buffered, key=lambda partition_cursor: partition_cursor.merge_key)
            first_event, _ = latest.buffered[0]
            latest.read_offset, latest.reached_timestamp = first_event.offset, first_event.timestamp
            self._buffered_bytes -= latest.buffered_bytes
            latest.buffered_bytes = 0
            latest.buffered.clear()


def _memory_bytes(event: Event) -> int:
    return len(event.data) + _EVENT_OVERHEAD_BYTES


def start_page(
    hub: Hub, request: HistoryRequest, constraints: HistoryConstraints
) -> HistoryPage | None:
    """Return an empty page that starts at the requested position, or at the oldest available one.

    In the second case the page reports a gap. None means that `constraints` are outdated: fetch
    them again.
    """
    start_offsets: dict[str, dict[int, int]] = {}
    left_out: dict[str, TopicOffsets] = {}
    gap_reasons = dict.fromkeys(sorted(request.removed), "removed")
    for topic in sorted(request.session.topics):
        bounds, topic_position = constraints.bounds.get(topic), hub.topic_positions[topic]
        if bounds is None or bounds.topic_id not in {None, topic_position.topic_id}:
            return None
        if topic in constraints.since_cursor and topic_position.was_recreated_since(
            constraints.since_cursor[topic].topic_id
        ):
            return None
        read_until = {
            partition: hub.journal.start_offset(topic, partition)
            if partition in topic_position.next_offsets
            else end
            for partition, end in bounds.end_offsets.items()
        }
        offsets, gap_reason = _requested_offsets(
            hub, topic, request, constraints, bounds, read_until
        )
        offsets = {
            partition: min(offsets.get(partition, 0), end)
            for partition, end in bounds.end_offsets.items()
        }
        bounds = _limit_bounds(hub, topic, request, constraints, bounds, read_until, may_clamp=True)
        check_retention(offsets, read_until, bounds, clampable_partitions=read_until)
        for partition in offsets:
            readable_from, reason = constraints.readable_from.get((topic, partition), (0, ""))
            if offsets[partition] < readable_from:
                offsets[partition] = min(readable_from, bounds.end_offsets[partition])
                gap_reason = gap_reason or reason
        start_offsets[topic] = offsets
        if missing := topic_position.waiting.keys() - bounds.end_offsets.keys():
            left_out[topic] = _requested_place(request, constraints, topic, missing)
        if gap_reason is not None:
            gap_reasons[topic] = gap_reason
    end_offsets = {topic: constraints.bounds[topic].end_offsets for topic in start_offsets}
    return HistoryPage(
        request.session,
        hub.topic_positions,
        start_offsets,
        end_offsets,
        max_events=request.max_events,
        gap_reasons=gap_reasons,
        made_at=int(hub.wall_clock()),
        left_out=left_out,
    )


def _requested_place(
    request: HistoryRequest, constraints: HistoryConstraints, topic: str, partitions: set[int]
) -> TopicOffsets:
    """Return where the reader asked for these partitions, for the cursor of its page."""
    cursor = constraints.since_cursor if request.cursor is None else request.cursor
    place = cursor.get(topic, TopicOffsets(b"", {}))
    return TopicOffsets(
        place.topic_id,
        {p: offset for p, offset in place.offsets.items() if p in partitions},
        {p: seconds for p, seconds in place.awaited.items() if p in partitions},
    )


def _limit_bounds(
    hub: Hub,
    topic: str,
    request: HistoryRequest,
    constraints: HistoryConstraints,
    bounds: LogBounds,
    read_until: Mapping[int, int],
    *,
    may_clamp: bool,
) -> LogBounds:
    """Return `bounds` with what the cursor's age and the limits allow to read from Kafka."""
    cursor, limits = request.cursor or {}, constraints.limits
    made_at = cursor_time(cursor) if topic in cursor else None
    bounds = limit_by_cursor_age(bounds, made_at, limits, hub.wall_clock(), may_clamp=may_clamp)
    if limits.max_records and limits.max_bytes:
        return bounds
    return bounds._replace(
        replayable_from={
            partition: max(bounds.replayable_from.get(partition, 0), until)
            for partition, until in read_until.items()
        }
    )


def _requested_offsets(
    hub: Hub,
    topic: str,
    request: HistoryRequest,
    constraints: HistoryConstraints,
    bounds: LogBounds,
    read_until: Mapping[int, int],
) -> tuple[Mapping[int, int], str | None]:
    """Return the requested offsets of `topic`, and the gap's reason if they are not available."""
    if request.cursor is None:
        requested_place = constraints.since_cursor.get(topic)
        return {} if requested_place is None else requested_place.offsets, None
    requested_place = request.cursor.get(topic)
    if requested_place is None:
        return bounds.end_offsets, None  # a topic that is not in the cursor starts at its end
    if hub.topic_positions[topic].was_recreated_since(requested_place.topic_id):
        return {}, "recreated"
    bounds = _limit_bounds(hub, topic, request, constraints, bounds, read_until, may_clamp=False)
    try:
        waiting = hub.topic_positions[topic].waiting.keys() - bounds.end_offsets.keys()
        offsets = {p: o for p, o in requested_place.offsets.items() if p not in waiting}
        check_retention(offsets, read_until, bounds, clampable_partitions=())
    except ReplayRefused as refused:
        return requested_place.offsets, str(refused)
    return requested_place.offsets, None
