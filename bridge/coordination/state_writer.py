"""Writes what this instance says of itself, for as long as it runs.

Rules: nobody waits for it, and no outage loses anything that still holds. Of facts only the newest
of each key is written; of notices each one, in order. What Kafka never takes stops nothing.
"""

from __future__ import annotations

import asyncio
import logging
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaTimeoutError, MessageSizeTooLargeError

from bridge.kafka.client.client import CLIENT_ERRORS
from bridge.kafka.producer import ignore_exception, stop_producer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiokafka.producer.message_accumulator import BatchBuilder

    from bridge.kafka.client.client import KafkaAccess

_log = logging.getLogger(__name__)

_RETRY_SECONDS: Final = 0.5
_MAX_ROUND_RECORDS: Final = 2_000
_STOP_TIMEOUT_SECONDS: Final = 3.0
_REQUEST_TIMEOUT_MS: Final = 10_000
_MAX_BATCH_BYTES: Final = 32 * 1024
#: Notices that are kept while Kafka is away.
MAX_LIFECYCLE_RECORDS: Final = 200_000


class QueueEntry(NamedTuple):
    """A record to be written to the first partition of a topic."""

    topic: str
    key: bytes | None
    value: bytes | None


#: Where an entry waits: its topic, and its key or its number.
QueueKey: TypeAlias = tuple[str, object]


class WriteBatch(NamedTuple):
    """Entries of one topic that are written together."""

    topic: str
    builder: BatchBuilder
    entries: list[tuple[QueueKey, QueueEntry]]


class StateWriter:
    """Writes facts and notices in the order in which they were said, as far as they still hold."""

    def __init__(self, access: KafkaAccess) -> None:
        self._access = access
        self._queue: dict[QueueKey, QueueEntry] = {}
        self._sequence_number = 0
        self._max_batch_bytes = _MAX_BATCH_BYTES
        self._lifecycle_count = 0
        self._wake_event = asyncio.Event()
        self._is_failing = False
        self._is_stopping = False
        self.lost_count = 0  #: notices for which there was no room, and what is too large for Kafka

    def __len__(self) -> int:
        return len(self._queue)

    def queue_state_record(self, topic: str, key: bytes, value: bytes | None) -> None:
        """Write this in place, and in the place, of what was said of `key` and is not written."""
        self._queue[topic, key] = QueueEntry(topic, key, value)
        self._wake_event.set()

    def queue_lifecycle_record(self, topic: str, key: bytes | None, value: bytes) -> None:
        """Write this too."""
        if self._lifecycle_count >= MAX_LIFECYCLE_RECORDS:
            self.lost_count += 1
            return
        self._lifecycle_count += 1
        self._sequence_number += 1
        self._queue[topic, self._sequence_number] = QueueEntry(topic, key, value)
        self._wake_event.set()

    async def run(self) -> None:
        """Write until cancelled.

        Cancellation: what is waiting has some seconds to be written.
        """
        write_task = asyncio.create_task(self._write_until_stopped(), name="scribe: write")
        try:
            await asyncio.shield(write_task)
        finally:
            self._is_stopping = True
            self._wake_event.set()
            await asyncio.wait([write_task], timeout=_STOP_TIMEOUT_SECONDS)
            write_task.cancel()
            await asyncio.wait([write_task])

    async def _write_until_stopped(self) -> None:
        while self._queue or not self._is_stopping:
            if not self._queue:
                await self._wake_event.wait()
            producer = AIOKafkaProducer(
                bootstrap_servers=self._access.bootstrap_servers,
                enable_idempotence=True,
                request_timeout_ms=_REQUEST_TIMEOUT_MS,
                max_batch_size=self._max_batch_bytes,
                **self._access.options,
            )
            try:
                await producer.start()
                await self._write_queue(producer)
            except CLIENT_ERRORS as error:
                if not self._is_failing:
                    _log.warning("Kafka does not take what this instance says of itself: %r", error)
                self._is_failing = True
                await asyncio.sleep(_RETRY_SECONDS)
            finally:
                await stop_producer(producer, _STOP_TIMEOUT_SECONDS)

    async def _write_queue(self, producer: AIOKafkaProducer) -> None:
        """Write whatever comes; a record that fails is written again before any later one.

        What is on its way is waited for, for the producer tries again and writes it once. It is
        given up where others wait behind it, for by then it may not hold any more.
        """
        while self._queue or not self._is_stopping:
            self._wake_event.clear()
            entries = list(islice(self._queue.items(), _MAX_ROUND_RECORDS))
            if not entries:
                await self._wake_event.wait()
            for batch in _build_batches(producer, entries):
                await self._write_batch(producer, batch)
            if self._is_failing:
                self._is_failing = False
                _log.warning("Kafka takes what this instance says of itself again")

    async def _write_batch(self, producer: AIOKafkaProducer, batch: WriteBatch) -> None:
        try:
            future = await producer.send_batch(batch.builder, batch.topic, partition=0)
            while not (
                await asyncio.wait([ignore_exception(future)], timeout=_REQUEST_TIMEOUT_MS / 1000)
            )[0]:
                if len(self._queue) > len(batch.entries):
                    raise KafkaTimeoutError("what is to be said waits for too long")
            future.result()
        except MessageSizeTooLargeError as error:
            if len(batch.entries) > 1:
                self._max_batch_bytes //= 2  # the topic takes less at a time than we gather
                raise
            self.lost_count += 1
            _log.error("%s: too large to be said: %s", batch.topic, error)
        for queue_key, entry in batch.entries:
            if self._queue.get(queue_key) is entry:
                del self._queue[queue_key]
                self._lifecycle_count -= isinstance(queue_key[1], int)


def _build_batches(
    producer: AIOKafkaProducer, entries: Iterable[tuple[QueueKey, QueueEntry]]
) -> list[WriteBatch]:
    """Return these entries as they are sent: many at a time, in order for each topic.

    A future for each record, as aiokafka's `send` has it, was the larger part of a client's cost.
    """
    batches: list[WriteBatch] = []
    open_batches: dict[str, WriteBatch] = {}
    for queue_key, entry in entries:
        record = {"key": entry.key, "value": entry.value, "timestamp": None}
        batch = open_batches.get(entry.topic)
        if batch is None or batch.builder.append(**record) is None:
            batch = open_batches[entry.topic] = WriteBatch(entry.topic, producer.create_batch(), [])
            batch.builder.append(**record)  # the first is taken, however large
            batches.append(batch)
        batch.entries.append((queue_key, entry))
    return batches
