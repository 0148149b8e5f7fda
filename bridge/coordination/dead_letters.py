"""Dead letters: records that could not be used, kept until they are known to be written.

Rule: every instance that reads a dead record keeps its letter, in bounded memory; the one on duty
writes it, and the offsets that it commits tell all others that it has.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from bridge.kafka.client.client import TopicPartition

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bridge.core.protocol.envelope import UnusableRecord

_log = logging.getLogger(__name__)

LOG_INTERVAL_SECONDS = 60.0


class DeadLetterStats:
    """Records that could not be used: counted by reason, logged once per reason and minute."""

    def __init__(self) -> None:
        self.by_reason: Counter[str] = Counter()
        self._last_logged: dict[str, float] = {}

    def count(self, unusable_record: UnusableRecord) -> None:
        """Count one; payloads are never logged."""
        topic, partition, record, error = unusable_record
        self.by_reason[error.reason] += 1
        now = time.monotonic()
        if now - self._last_logged.get(error.reason, float("-inf")) >= LOG_INTERVAL_SECONDS:
            self._last_logged[error.reason] = now
            _log.warning(
                "%s: %s:%d:%d can not be used: %s (%d so far; said once a minute)",
                error.reason,
                topic,
                partition,
                record.offset,
                error,
                self.by_reason[error.reason],
            )


#: What is kept at most, in bytes.
MAX_BYTES: Final = 32 << 20


class DeadLetter(NamedTuple):
    """A record that could not be used, as it is written to the dead letters."""

    partition: TopicPartition
    offset: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]

    @property
    def size_bytes(self) -> int:
        """Its bytes, about."""
        headers = sum(len(name) + len(value or b"") for name, value in self.headers)
        return 200 + len(self.key or b"") + len(self.value or b"") + headers


def build_dead_letter(unusable_record: UnusableRecord, kafka_topic: str) -> DeadLetter:
    """Return the letter about a record of `kafka_topic`, as Kafka calls it."""
    record = unusable_record.record
    origin = {
        "dead-reason": unusable_record.error.reason,
        "dead-topic": kafka_topic,
        "dead-partition": str(unusable_record.partition),
        "dead-offset": str(record.offset),
    }
    headers = [*record.headers, *((name, text.encode()) for name, text in origin.items())]
    partition = TopicPartition(kafka_topic, unusable_record.partition)
    return DeadLetter(partition, record.offset, record.key, record.value, headers)


class DeadLetterQueue:
    """Those that are not known to be written, the oldest first."""

    def __init__(self) -> None:
        self._pending: deque[DeadLetter] = deque()
        self._pending_bytes = 0
        self._written_offsets: dict[TopicPartition, int] = {}  # the next offset of each
        self.lost_count = 0  #: for which there was no room

    def add(self, dead_letter: DeadLetter) -> None:
        """Keep a letter until it is known to be written."""
        if dead_letter.offset < self._written_offsets.get(dead_letter.partition, 0):
            return
        self._pending.append(dead_letter)
        self._pending_bytes += dead_letter.size_bytes
        while self._pending_bytes > MAX_BYTES:
            self._pending_bytes -= self._pending.popleft().size_bytes
            self.lost_count += 1

    def peek(self, count: int) -> list[DeadLetter]:
        """Return the next letters to be written, no more than `count`."""
        return list(islice(self._pending, max(0, count)))

    def mark_written(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Say that what is below these offsets was written."""
        for partition, offset in offsets.items():
            self._written_offsets[partition] = max(offset, self._written_offsets.get(partition, 0))
        self._remove_written()

    def set_written_offsets(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Say up to where letters of all partitions were written; of any other none was."""
        self._written_offsets = dict(
            offsets
        )  # a topic that is created anew begins at its beginning
        self._remove_written()

    def _remove_written(self) -> None:
        remaining = [
            x for x in self._pending if x.offset >= self._written_offsets.get(x.partition, 0)
        ]
        if len(remaining) < len(self._pending):
            self._pending = deque(remaining)
            self._pending_bytes = sum(dead_letter.size_bytes for dead_letter in remaining)

    def truncate_largest(self, dead_letters: Sequence[DeadLetter]) -> None:
        """Let the largest of these be written without its value: Kafka does not take it whole.

        One that has none any more is lost.
        """
        largest = max(dead_letters, key=lambda dead_letter: dead_letter.size_bytes)
        for index, dead_letter in enumerate(self._pending):
            if dead_letter is largest:
                self._pending_bytes -= dead_letter.size_bytes
                if dead_letter.value:
                    headers = [
                        *dead_letter.headers,
                        ("dead-value-bytes", b"%d" % len(dead_letter.value)),
                    ]
                    self._pending[index] = dead_letter._replace(value=None, headers=headers)
                    self._pending_bytes += self._pending[index].size_bytes
                else:
                    del self._pending[index]
                    self.lost_count += 1
                return


class DeadLetterSink:
    """Takes the dead of `sources`: Kafka's topics, mapped to the public names."""

    def __init__(
        self,
        stats: DeadLetterStats,
        queue: DeadLetterQueue,
        public_names: Mapping[str, Sequence[str]],
    ) -> None:
        self.stats = stats
        self.queue = queue
        self._kafka_topics = {names[0]: kafka_topic for kafka_topic, names in public_names.items()}
        self._aliases = {name for names in public_names.values() for name in names[1:]}

    def add(self, unusable_record: UnusableRecord) -> None:
        """Count it, and keep a letter about it."""
        if unusable_record.topic not in self._aliases:
            self.stats.count(unusable_record)
            self.queue.add(
                build_dead_letter(
                    unusable_record,
                    self._kafka_topics.get(unusable_record.topic, unusable_record.topic),
                )
            )
