"""A past that is too simple to be wrong, and a client that pages through it.

Each partition is a list of what is at its offsets: an event, or None where there is none. `shelf`
puts some of it into a hub's journal; the rest is read from the list, as from Kafka, in portions.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from bridge.core.protocol.cursor import decode_cursor
from bridge.core.protocol.record import DecodedBatch
from bridge.core.replay.history import HistoryConstraints, HistoryRequest, start_page
from bridge.core.replay.retention import LogBounds, ReplayLimits
from bridge.core.sessions.hub import Hub
from tests.core.factories import TOPIC_ID, session
from tests.harness.history_pages import ReceivedPage, read_page

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bridge.core.protocol.cursor import Cursor
    from bridge.core.protocol.event import Event
    from bridge.core.replay.history import HistoryPage, PartitionCursor
    from bridge.core.sessions.session import Session

Key = tuple[str, int]


class Slot(NamedTuple):
    """What is at an offset: a record's timestamp, and its event where it is one."""

    timestamp: int
    event: Event | None


class HistoryModel:
    """Partitions by topic and number; offsets below `floors` are not in the journal."""

    def __init__(
        self,
        logs: Mapping[Key, list[Slot]],
        journal_floors: Mapping[Key, int],
        read_offsets: Mapping[Key, int] | None = None,
    ) -> None:
        """`read_offsets` is how far the instance has come, where that is not to the end."""
        self.logs = {key: list(slots) for key, slots in logs.items()}
        self.hub = Hub(
            "i1",
            dict.fromkeys((t for t, _ in logs), False),
            heartbeat_seconds=1,
            max_outbox_bytes=1,
            jitter=float,
            wall_clock=time.time,
        )
        for topic in self.hub.topic_positions:
            journal_starts = {p: journal_floors[t, p] for t, p in logs if t == topic}
            self.hub.set_start_offsets(topic, TOPIC_ID, journal_starts)
        for key, slots in self.logs.items():
            self.read_partition(
                *key, len(slots) if read_offsets is None else read_offsets[key], journal_floors[key]
            )

    def read_partition(
        self, topic: str, partition: int, end_offset: int, start_offset: int | None = None
    ) -> None:
        """Let the instance read one partition on, up to `end_offset`."""
        if start_offset is None:
            start_offset = self.hub.topic_positions[topic].next_offsets[partition]
        events = [
            slot.event
            for slot in self.logs[topic, partition][start_offset:end_offset]
            if slot.event
        ]
        self.hub.deliver_batch(DecodedBatch(topic, partition, events, end_offset, 0, []))

    def bounds(self) -> dict[str, LogBounds]:
        ends: dict[str, dict[int, int]] = {topic: {} for topic in self.hub.topic_positions}
        for (topic, partition), slots in self.logs.items():
            ends[topic][partition] = len(slots)
        zeros = {topic: dict.fromkeys(each, 0) for topic, each in ends.items()}
        return {t: LogBounds(TOPIC_ID, zeros[t], end, zeros[t]) for t, end in ends.items()}

    def begin_page(self, reader: Session, cursor: Cursor | None, limit: int) -> HistoryPage:
        dependencies = HistoryConstraints(self.bounds(), ReplayLimits(1, 1), {}, {})
        page = start_page(self.hub, HistoryRequest(reader, cursor, None, limit), dependencies)
        assert page is not None
        return page

    def fill_page(
        self, page: HistoryPage, partition_cursor: PartitionCursor, max_offsets: int
    ) -> None:
        """Read on from `partition_cursor`: in the journal, else at `max_offsets` of the list."""
        if page.read_from_journal(partition_cursor, self.hub.journal):
            return
        first_offset = partition_cursor.read_offset
        slots = self.logs[partition_cursor.topic, partition_cursor.partition][
            first_offset : first_offset + max_offsets
        ]
        events = [slot.event for slot in slots if slot.event is not None]
        last_timestamp = max((slot.timestamp for slot in slots), default=None)
        page.add_events(
            partition_cursor, events, first_offset, first_offset + max_offsets, last_timestamp
        )

    def expected_positions(self, reader: Session) -> list[str]:
        """The positions of everything that is for `reader`, in the order of a history."""
        expected = [
            (slot.timestamp, topic, partition, offset)
            for (topic, partition), slots in self.logs.items()
            for offset, slot in enumerate(slots)
            if topic in reader.topics
            and slot.event is not None
            and is_addressed_to(reader, slot.event)
        ]
        return [f"{t}:{p}:{offset}" for _, t, p, offset in sorted(expected)]


def is_addressed_to(reader: Session, event: Event) -> bool:
    """Whether the contract owes `event` to `reader`; events for connections are never replayed."""
    return (reader.type_filter is None or event.type in reader.type_filter.patterns) and bool(
        event.all
        or reader.permissions.account in event.accounts
        or set(reader.rooms) & set(event.rooms)
    )


def read_written_page(page: HistoryPage) -> ReceivedPage:
    """Read what a page writes."""
    text = page.to_json()
    assert list(json.loads(text)) == ["events", "cursor", "more", "gaps", "waiting"]
    return read_page(text)


def next_page(
    history: HistoryModel,
    reader: Session,
    cursor: str | None,
    limit: int,
    max_offsets: Callable[[], int],
    should_cut: Callable[[], bool] = lambda: False,
) -> ReceivedPage:
    """Return the page that goes on at `cursor`; it is cut where `should_cut` says so."""
    page = history.begin_page(reader, None if cursor is None else decode_cursor(cursor), limit)
    while not page.merge():
        for partition_cursor in page.partitions_to_read():
            history.fill_page(page, partition_cursor, max_offsets())
        if page.has_progressed and should_cut():
            page.finish_early()
            break
    return read_written_page(page)


def session_of_ann(*topics: str, **options: Any) -> Session:
    """Return the one who reads: of account ann, and in the room `r`."""
    return session("reader", "ann", topics=topics or ("orders",), **{"rooms": ["r"], **options})
