"""Dead letters: counts and logs each `UnusableRecord`, and keeps it until the leader writes it.

Rule: every instance keeps the dead letters of all records that it reads, in bounded memory. Only
the leader writes them. Its committed offsets show the other instances what it has written.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from bridge.core.protocol.record import UndecodableRecord
from bridge.kafka.client.client import TopicPartition

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bridge.core.protocol.record import UnusableRecord
    from bridge.core.protocol.topic_catalogue import TopicCatalogue

_log = logging.getLogger(__name__)

LOG_INTERVAL_SECONDS: Final = 60.0
_REASON_HEADER: Final = "dead-reason"
#: Memory for dead letters that are not written yet. Above it the oldest are dropped.
MAX_BYTES: Final = 32 << 20
#: A larger one is kept without its value, or dropped if that is not what is large. A record of
#: 60 MiB, which a small batch may inflate to, would take the place of all others.
MAX_LETTER_BYTES: Final = 4 << 20


class DeadLetter(NamedTuple):
    """An unusable record as it is written to the dead-letters topic."""

    partition: TopicPartition
    offset: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]

    @property
    def size_bytes(self) -> int:
        """An estimate of the memory that it uses."""
        headers = sum(len(name) + len(value or b"") for name, value in self.headers)
        return 200 + len(self.key or b"") + len(self.value or b"") + headers


class DeadLetterQueue:
    """The dead letters that no written offset covers yet, the oldest first."""

    def __init__(self, catalogue: TopicCatalogue) -> None:
        self._catalogue = catalogue
        self._last_logged: dict[str, float] = {}
        self._pending: deque[DeadLetter] = deque()
        self._pending_bytes = 0
        self._written_offsets: dict[TopicPartition, int] = {}  # the next offset of each partition
        self._earlier_offsets: dict[TopicPartition, int] = {}  # those of before the start
        self.count_by_reason: Counter[str] = Counter()
        self.lost_count = 0  #: dropped for their size, or rejected by Kafka as too large

    def add(self, unusable_record: UnusableRecord) -> None:
        """Count it, log it once per reason and minute, and keep its dead letter.

        The record's topic is a public name. Counted alone is a record that was a dead letter
        before, and one of a topic with `dead: pass`. A record whose dead letter was written before
        the start is ignored: instances read it again at each start.
        """
        topic = unusable_record.topic
        kafka_topic = self._catalogue.kafka_names.get(topic, topic)
        partition = TopicPartition(kafka_topic, unusable_record.partition)
        is_old = unusable_record.record.offset < self._earlier_offsets.get(partition, 0)
        if not is_old:
            entry = self._catalogue.entries.get(topic)
            is_kept = entry is None or entry.dead == "letter"
            self._count(unusable_record, "kept as a dead letter" if is_kept else "not kept")
            if not is_kept:
                return
            if any(name == _REASON_HEADER for name, _ in unusable_record.record.headers):
                return  # it was one before: written back, it would become one for ever
            self.keep(_build_dead_letter(unusable_record, partition))

    def _count(self, unusable_record: UnusableRecord, outcome: str) -> None:
        topic, partition, record, error = unusable_record
        self.count_by_reason[error.reason] += 1
        now = time.monotonic()
        if now - self._last_logged.get(error.reason, float("-inf")) >= LOG_INTERVAL_SECONDS:
            self._last_logged[error.reason] = now
            _log.warning(  # without the payload, which may be confidential
                "unusable record, %s: %s; look at its producer"
                " (logged once per reason and minute) reason=%s topic=%s partition=%d offset=%d"
                " count=%d",
                outcome,
                error,
                error.reason,
                topic,
                partition,
                record.offset,
                self.count_by_reason[error.reason],
            )

    def keep(self, dead_letter: DeadLetter) -> None:
        """Append it, unless a written offset already covers it; without its value if too large."""
        if dead_letter.offset < self._written_offsets.get(dead_letter.partition, 0):
            return
        if dead_letter.value and dead_letter.size_bytes > MAX_LETTER_BYTES:
            dead_letter = _without_value(dead_letter)
        if dead_letter.size_bytes > MAX_LETTER_BYTES:
            self.lost_count += 1
            return
        self._pending.append(dead_letter)
        self._pending_bytes += dead_letter.size_bytes
        while self._pending_bytes > MAX_BYTES:
            self._pending_bytes -= self._pending.popleft().size_bytes
            self.lost_count += 1

    def peek(self, count: int) -> list[DeadLetter]:
        """Return the next dead letters to write, at most `count`."""
        return list(islice(self._pending, max(0, count)))

    def mark_written(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Drop the dead letters below these offsets. Other partitions do not change."""
        for partition, offset in offsets.items():
            self._written_offsets[partition] = max(offset, self._written_offsets.get(partition, 0))
        self._remove_written()

    def set_earlier_offsets(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Set the written offsets at the start of this instance."""
        self._earlier_offsets = dict(offsets)
        self.set_written_offsets(offsets)

    def set_written_offsets(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Replace the written offsets of all partitions.

        Offsets may decrease: a recreated topic starts at offset 0 again.
        """
        self._written_offsets = dict(offsets)
        self._earlier_offsets = {
            partition: min(offset, offsets.get(partition, 0))
            for partition, offset in self._earlier_offsets.items()
        }
        self._remove_written()

    def _remove_written(self) -> None:
        remaining = [
            dead_letter
            for dead_letter in self._pending
            if dead_letter.offset >= self._written_offsets.get(dead_letter.partition, 0)
        ]
        if len(remaining) < len(self._pending):
            self._pending = deque(remaining)
            self._pending_bytes = sum(dead_letter.size_bytes for dead_letter in remaining)

    def truncate_largest(self, dead_letters: Sequence[DeadLetter]) -> None:
        """Remove the value of the largest of these dead letters: Kafka rejects it as too large.

        A dead letter that already has no value is dropped.
        """
        largest = max(dead_letters, key=lambda dead_letter: dead_letter.size_bytes)
        for index, dead_letter in enumerate(self._pending):
            if dead_letter is largest:
                self._pending_bytes -= dead_letter.size_bytes
                if dead_letter.value:
                    self._pending[index] = _without_value(dead_letter)
                    self._pending_bytes += self._pending[index].size_bytes
                else:
                    del self._pending[index]
                    self.lost_count += 1
                return


def _without_value(dead_letter: DeadLetter) -> DeadLetter:
    size = b"%d" % len(dead_letter.value or b"")
    headers = [*dead_letter.headers, ("dead-value-bytes", size)]
    return dead_letter._replace(value=None, headers=headers)


def _build_dead_letter(unusable_record: UnusableRecord, partition: TopicPartition) -> DeadLetter:
    record = unusable_record.record
    origin = {
        _REASON_HEADER: unusable_record.error.reason,
        "dead-topic": partition.topic,
        "dead-partition": str(partition.number),
        "dead-offset": str(record.offset),
    }
    headers = [*record.headers, *((name, text.encode()) for name, text in origin.items())]
    value = record.raw if isinstance(record, UndecodableRecord) else record.value
    return DeadLetter(partition, record.offset, record.key, value, headers)
