"""One page of a client's past events, oldest first, while it is being put together.

Rules: of each partition a page has everything that is for its reader, from where it begins up to
where its cursor says, in order; an event is handed out once no partition can have an older one;
and what waits for that is bounded, for it can be looked at again.
"""

from __future__ import annotations

from collections import deque
from heapq import heapify, heappop, heapreplace
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from bridge.core.journal import ALL_KEY, account_key, room_key
from bridge.core.protocol import frames
from bridge.core.protocol.cursor import TopicOffsets, encode_cursor
from bridge.core.replay.retention import LogBounds, ReplayLimits, ReplayRefused, check_retention
from bridge.core.sessions.fanout import match_reason

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping, Sequence

    from bridge.core.journal import Journal
    from bridge.core.protocol.cursor import Cursor
    from bridge.core.protocol.event import Event
    from bridge.core.sessions.hub import Hub
    from bridge.core.sessions.positions import TopicPosition
    from bridge.core.sessions.session import Session

#: A page that has so many bytes of frames is done, however few events they are.
MAX_PAGE_BYTES: Final = 4 << 20
#: So much may wait for older events of other partitions.
MAX_BUFFERED_BYTES: Final = 16 << 20
#: Events that are taken out of the journal at a time, and that are made ready to be found there.
JOURNAL_READ_EVENTS: Final = 64
JOURNAL_INDEX_EVENTS: Final = 500
#: What an event takes beside its data, about.
_EVENT_OVERHEAD_BYTES: Final = 500
_MIN_TIMESTAMP: Final = -(2**63)


class TopicRecreated(Exception):
    """A topic that a page tells of was deleted and created again meanwhile."""


class PartitionCursor:
    """One partition's part of a page: looked at up to `place`, and to be told up to `end`.

    `found` waits to be handed out, each with why the reader gets it. `reached` is a timestamp
    before which nothing more is expected.
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
        self.buffered_bytes = 0  #: of what was found

    @property
    def has_more(self) -> bool:
        """Whether there may be more of it."""
        return bool(self.buffered) or self.read_offset < self.end_offset

    @property
    def merge_key(self) -> tuple[int, str, int]:
        """When its next event was, or what it can not have been before."""
        timestamp = self.buffered[0][0].timestamp if self.buffered else self.reached_timestamp
        return timestamp, self.topic, self.partition

    @property
    def emitted_offset(self) -> int:
        """The offset below which everything has been handed out."""
        return self.buffered[0][0].offset if self.buffered else self.read_offset


class HistoryPage:
    """A page for `reader`, a session that was never attached, of at most `limit` events.

    It begins at `places`, and ends at `ends` at the latest. `gaps` are reasons, by topic: what the
    reader has asked for and can not get stands before its beginning.
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
    ) -> None:
        self._session = session
        self._topic_positions = topic_positions
        self._max_events = max_events
        self._identities = {topic: topic_positions[topic].topic_id for topic in start_offsets}
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
        self._buffered_bytes = 0  # bytes of what was found
        self._page_bytes = 0
        self.event_frames: list[bytes] = []  #: frames
        start_cursor = self.cursor
        self.gap_frames = [
            frames.encode_frame(frames.Gap(topic, gap_reason, start_cursor))
            for topic, gap_reason in gap_reasons.items()
        ]

    # -- what it tells ---------------------------------------------------------------------------

    @property
    def cursor(self) -> str:
        """The cursor that covers exactly what was handed out."""
        offsets: dict[str, dict[int, int]] = {topic: {} for topic in self._identities}
        for partition in self._partitions:
            offsets[partition.topic][partition.partition] = partition.emitted_offset
        return encode_cursor(
            {topic: TopicOffsets(self._identities[topic], offsets[topic]) for topic in offsets}
        )

    @property
    def has_more(self) -> bool:
        """Whether there may be more before its ends."""
        return any(partition.has_more for partition in self._partitions)

    @property
    def has_progressed(self) -> bool:
        """Whether the reader gets on by it."""
        return bool(self.event_frames) or any(
            partition.read_offset > partition.start_offset for partition in self._partitions
        )

    def to_json(self) -> bytes:
        """Return the page as JSON text, its frames as they are."""
        return b'{"events":[%b],"cursor":"%b","more":%b,"gaps":[%b]}' % (
            b",".join(self.event_frames),
            self.cursor.encode(),
            b"true" if self.has_more else b"false",
            b",".join(self.gap_frames),
        )

    # -- handing out -----------------------------------------------------------------------------

    def merge(self) -> bool:
        """Hand out what nothing older can come before; return whether the page is done."""
        heap = [
            (partition.merge_key, partition) for partition in self._partitions if partition.has_more
        ]
        heapify(heap)
        while heap and not self._is_full and heap[0][1].buffered:
            partition = heap[0][1]
            self._emit(partition)
            if partition.has_more:
                heapreplace(heap, (partition.merge_key, partition))
            else:
                heappop(heap)
        return self._is_full or not heap

    def partitions_to_read(self) -> list[PartitionCursor]:
        """What has to be looked at before anything more can be handed out, oldest first."""
        oldest_key = min(
            (partition.merge_key for partition in self._partitions if partition.buffered),
            default=None,
        )
        to_read = [
            partition
            for partition in self._partitions
            if not partition.buffered
            and partition.has_more
            and (oldest_key is None or partition.merge_key < oldest_key)
        ]
        return sorted(to_read, key=lambda partition: partition.merge_key)

    def finish_early(self) -> None:
        """End the page here: to look on would take too much.

        Where nothing could be handed out in order, what was found goes out without: whoever asks
        again has to get on.
        """
        self.merge()
        if not self.event_frames:
            while not self._is_full and (
                buffered := [candidate for candidate in self._partitions if candidate.buffered]
            ):
                self._emit(min(buffered, key=lambda partition: partition.merge_key))

    @property
    def _is_full(self) -> bool:
        return len(self.event_frames) >= self._max_events or self._page_bytes >= MAX_PAGE_BYTES

    def _emit(self, partition: PartitionCursor) -> None:
        event, to = partition.buffered.popleft()
        partition.buffered_bytes -= _memory_bytes(event)
        self._buffered_bytes -= _memory_bytes(event)
        frame = frames.build_event_frame(partition.topic, partition.partition, event).encode(to)
        self.event_frames.append(frame)
        self._page_bytes += len(frame)

    # -- looking ---------------------------------------------------------------------------------

    def partition_cursor(self, topic: str, partition: int) -> PartitionCursor | None:
        """Return the strand of a partition, None where the page has none of it."""
        return self._by_partition.get((topic, partition))

    def check_identities(self) -> None:
        """Make sure that its topics are still the ones that it tells of.

        Raises:
            Outlived: If one is not.
        """
        if any(
            self._topic_positions[topic].topic_id != identity
            for topic, identity in self._identities.items()
        ):
            raise TopicRecreated

    def is_ahead_of_consumer(self, partition: PartitionCursor) -> bool:
        """Whether this instance will read what follows in `partition`, and has not yet."""
        topic_position = self._topic_positions[partition.topic]
        return (
            not topic_position.is_idle
            and partition.read_offset >= topic_position.next_offsets.get(partition.partition, 0)
        )

    def is_in_journal(self, partition: PartitionCursor, journal: Journal) -> bool:
        """Whether the journal has what follows in `partition`."""
        if partition.partition not in self._topic_positions[partition.topic].next_offsets:
            return False
        tail = journal.partition(partition.topic, partition.partition)
        return tail.start_offset <= partition.read_offset < tail.next_offset

    def read_from_journal(self, partition: PartitionCursor, journal: Journal) -> bool:
        """Look at some more of `partition` in the journal; return False where it is not there.

        Raises:
            Outlived: If a topic is not the one that it was.
        """
        self.check_identities()
        if not self.is_in_journal(partition, journal):
            return False
        tail = journal.partition(partition.topic, partition.partition)
        segment = next(tail.segments_from(partition.read_offset), None)
        if segment is None:
            self.add_events(partition, (), partition.read_offset, tail.next_offset)
            return True
        if segment.has_unindexed_events:
            journal.index_segment(segment, JOURNAL_INDEX_EVENTS)
        if not segment.has_unindexed_events:
            event_numbers = segment.find(self._audience_keys, partition.read_offset)
            events = [
                segment.event(event_number) for event_number in event_numbers[:JOURNAL_READ_EVENTS]
            ]
            next_offset = (
                segment.next_offset
                if len(event_numbers) <= JOURNAL_READ_EVENTS
                else events[-1].offset + 1
            )
            self.add_events(partition, events, partition.read_offset, next_offset)
        journal.evict()
        return True

    def add_events(
        self,
        partition: PartitionCursor,
        events: Sequence[Event],
        first_offset: int,
        next_offset: int,
        max_timestamp: int | None = None,
    ) -> bool:
        """Keep what is for the reader of `events`: all there are from offset `first_offset` up to `next_offset`.

        `max_timestamp` is the highest timestamp among them and all that was passed over. Return whether
        the page can do with more that follows them.
        """
        if partition.read_offset < first_offset:
            return False
        end_offset = min(next_offset, partition.end_offset)
        for event in events:
            if not partition.read_offset <= event.offset < end_offset:
                continue
            to = match_reason(self._session, event)
            if to is None:
                continue
            if (
                len(partition.buffered) + len(self.event_frames) >= self._max_events
                or partition.buffered_bytes >= MAX_PAGE_BYTES
            ):
                partition.read_offset = event.offset
                break
            partition.buffered.append((event, to))
            partition.buffered_bytes += _memory_bytes(event)
            self._buffered_bytes += _memory_bytes(event)
        else:
            partition.read_offset = max(partition.read_offset, end_offset)
            partition.reached_timestamp = max(
                partition.reached_timestamp,
                _MIN_TIMESTAMP if max_timestamp is None else max_timestamp,
            )
        self._trim_buffers()
        return next_offset <= partition.read_offset < partition.end_offset

    def _trim_buffers(self) -> None:
        """Leave what would be handed out last to another look, where too much waits."""
        while self._buffered_bytes > MAX_BUFFERED_BYTES:
            buffered = [partition for partition in self._partitions if partition.buffered]
            if len(buffered) == 1:
                return
            latest = max(buffered, key=lambda partition: partition.merge_key)
            first_event, _ = latest.buffered[0]
            latest.read_offset, latest.reached_timestamp = first_event.offset, first_event.timestamp
            self._buffered_bytes -= latest.buffered_bytes
            latest.buffered_bytes = 0
            latest.buffered.clear()


def _memory_bytes(event: Event) -> int:
    return len(event.data) + _EVENT_OVERHEAD_BYTES


class HistoryUnavailable(Exception):
    """The past can not be told now. The message is for the client, who may ask again."""


class HistoryRequest(NamedTuple):
    """A request for events from `cursor` on, or since a time (ms), or from as early as may be.

    `reader` is a session that was never attached: its grant, topics, rooms and types count.
    """

    session: Session
    cursor: Cursor | None
    since_ms: int | None
    max_events: int


class HistoryReader(Protocol):
    """Tells the past."""

    def read_page(self, request: HistoryRequest) -> Awaitable[HistoryPage]:
        """Return the page that was asked for.

        Raises:
            NotNow: If Kafka is away, or too many ask.

        Cancellation: safe; nothing is read for it any more.
        """


class HistoryConstraints(NamedTuple):
    """What pages may be begun with: what Kafka says of the topics, and what reading may cost.

    `since` is the cursor of the time that was asked for. `damaged` are offsets, by public topic and
    partition, below which there is something that can not be read.
    """

    bounds: Mapping[str, LogBounds]
    limits: ReplayLimits
    since_cursor: Cursor
    readable_from: Mapping[tuple[str, int], int]


def start_page(
    hub: Hub, request: HistoryRequest, constraints: HistoryConstraints
) -> HistoryPage | None:
    """Return the page, with nothing in it yet.

    None says that `constraints` does not fit what this instance knows by now: ask Kafka again.
    """
    start_offsets: dict[str, dict[int, int]] = {}
    gap_reasons: dict[str, str] = {}
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
        if not (constraints.limits.max_records and constraints.limits.max_bytes):
            bounds = bounds._replace(
                replayable_from={
                    n: max(bounds.replayable_from[n], until) for n, until in read_until.items()
                }
            )
        offsets, gap_reason = _requested_offsets(
            hub, topic, request, constraints, bounds, read_until
        )
        offsets = {
            partition: min(offsets.get(partition, 0), end)
            for partition, end in bounds.end_offsets.items()
        }
        check_retention(offsets, read_until, bounds, reset_partitions=read_until)
        for partition in offsets:
            if offsets[partition] < (
                readable_from := constraints.readable_from.get((topic, partition), 0)
            ):
                offsets[partition], gap_reason = (
                    min(readable_from, bounds.end_offsets[partition]),
                    gap_reason or "corrupt",
                )
        start_offsets[topic] = offsets
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
    )


def _requested_offsets(
    hub: Hub,
    topic: str,
    request: HistoryRequest,
    constraints: HistoryConstraints,
    bounds: LogBounds,
    read_until: Mapping[int, int],
) -> tuple[Mapping[int, int], str | None]:
    """Return the places in `topic` that are asked for, and why they can not be had, if so."""
    if request.cursor is None:
        requested_place = constraints.since_cursor.get(topic)
        return {} if requested_place is None else requested_place.offsets, None
    requested_place = request.cursor.get(topic)
    if requested_place is None:
        return bounds.end_offsets, None  # what a cursor does not name goes on from now
    if hub.topic_positions[topic].was_recreated_since(requested_place.topic_id):
        return {}, "recreated"
    try:
        check_retention(dict(requested_place.offsets), read_until, bounds, reset_partitions=())
    except ReplayRefused as refused:
        return requested_place.offsets, str(refused)
    return requested_place.offsets, None
