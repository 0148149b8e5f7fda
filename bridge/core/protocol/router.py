"""Records to events, a batch at a time: the seam between the bank that reads and the hub.

Rule: no record is an obstacle to the next one. What names nobody is counted, what can not be
used is handed back with its reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bridge.core.protocol.envelope import Record, read
from bridge.core.protocol.event import Dead, Event

if TYPE_CHECKING:
    from collections.abc import Sequence


class Batch(NamedTuple):
    """Consecutive records of one partition, and the offset that follows them.

    `next` may be more than the last record's offset and one: control records, aborted
    transactions and compaction leave holes.
    """

    topic: str
    partition: int
    records: Sequence[Record]
    next: int


class Casualty(NamedTuple):
    """A record that could not be used, and why."""

    topic: str
    partition: int
    record: Record
    dead: Dead


class Routed(NamedTuple):
    """A batch, understood. `nobody` counts the records that named no audience."""

    topic: str
    partition: int
    events: list[Event]
    next: int
    nobody: int
    casualties: list[Casualty]


class Router:
    """Reads the records of every topic in the native envelope or by its headers."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes

    def route(self, batch: Batch) -> Routed:
        """Return what `batch` says."""
        events: list[Event] = []
        casualties: list[Casualty] = []
        max_bytes = self._max_bytes
        for record in batch.records:
            try:
                event = read(record, max_bytes)
            except Dead as dead:
                casualties.append(Casualty(batch.topic, batch.partition, record, dead))
            else:
                if event is not None:
                    events.append(event)
        nobody = len(batch.records) - len(events) - len(casualties)
        return Routed(batch.topic, batch.partition, events, batch.next, nobody, casualties)
