"""Writes state and lifecycle records in order, in the background, through any outage of Kafka.

Rule: of state records only the newest of each key is written, of lifecycle records every one. A
record that Kafka refuses is dropped, so that it does not block the next ones.
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
#: Lifecycle records in memory while Kafka is out of reach. Above it new ones are lost.
MAX_LIFECYCLE_RECORDS: Final = 200_000


class QueueEntry(NamedTuple):
    """A record for partition 0 of a topic."""

    topic: str
    key: bytes | None
    value: bytes | None


#: The topic, and the key of a state record or the sequence number of a lifecycle record.
QueueKey: TypeAlias = tuple[str, object]


class WriteBatch(NamedTuple):
    """Entries of one topic in one produce request."""

    topic: str
    builder: BatchBuilder
    entries: list[tuple[QueueKey, QueueEntry]]


class StateWriter:
    """A queue of records that are not acknowledged yet, and the task that writes it."""

    def __init__(self, access: KafkaAccess) -> None:
        self._access = access
        self._queue: dict[QueueKey, QueueEntry] = {}
        self._sequence_number = 0
        self._max_batch_bytes = _MAX_BATCH_BYTES
        self._lifecycle_count = 0
        self._wake_event = asyncio.Event()
        self._is_failing = False
        self._is_stopping = False
        self.lost_count = 0  #: dropped at `MAX_LIFECYCLE_RECORDS`, or too large for Kafka

    def __len__(self) -> int:
        return len(self._queue)

    def queue_state_record(self, topic: str, key: bytes, value: bytes | None) -> None:
        """Queue a state record. It replaces a queued record with the same key."""
        self._queue[topic, key] = QueueEntry(topic, key, value)
        self._wake_event.set()

    def queue_lifecycle_record(self, topic: str, key: bytes | None, value: bytes) -> None:
        """Queue a lifecycle record. It is dropped and counted if too many are queued."""
        if self._lifecycle_count >= MAX_LIFECYCLE_RECORDS:
            self.lost_count += 1
            return
        self._lifecycle_count += 1
        self._sequence_number += 1
        self._queue[topic, self._sequence_number] = QueueEntry(topic, key, value)
        self._wake_event.set()

    async def run(self) -> None:
        """Write until cancelled.

        Cancellation: queued records have some seconds to be written.
        """
        write_task = asyncio.create_task(self._write_until_stopped(), name="state writer: write")
        try:
            await asyncio.shield(write_task)
        finally:
            self._is_stopping = True
            self._wake_event.set()
            await asyncio.wait([write_task], timeout=_STOP_TIMEOUT_SECONDS)
            write_task.cancel()
            await asyncio.wait([write_task])
            if self._lifecycle_count:
                self.lost_count += self._lifecycle_count
                _log.warning(
                    "backends are not told all of this instance's clients by itself: Kafka did not"
                    " answer before it ended lifecycle_records=%d",
                    self._lifecycle_count,
                )

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
                    _log.warning(
                        "cannot write state records, retrying: other instances do not see changes"
                        " here; look at Kafka error=%r",
                        error,
                    )
                self._is_failing = True
                await asyncio.sleep(_RETRY_SECONDS)
            finally:
                await stop_producer(producer, _STOP_TIMEOUT_SECONDS)

    async def _write_queue(self, producer: AIOKafkaProducer) -> None:
        """Write the queue until stopped. A failed record is written again before any later one.

        A sent batch is awaited, because the producer retries it and writes it once. After 10 s it
        is given up if other records wait: by then it may be outdated.
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
                _log.warning("state records are written again")

    async def _write_batch(self, producer: AIOKafkaProducer, batch: WriteBatch) -> None:
        try:
            future = await producer.send_batch(batch.builder, batch.topic, partition=0)
            while not (
                await asyncio.wait([ignore_exception(future)], timeout=_REQUEST_TIMEOUT_MS / 1000)
            )[0]:
                if len(self._queue) > len(batch.entries):
                    raise KafkaTimeoutError("no acknowledgement in time, and other records wait")
            future.result()
        except MessageSizeTooLargeError as error:
            if len(batch.entries) > 1:
                self._max_batch_bytes //= 2  # the topic allows smaller batches than ours
                raise
            self.lost_count += 1
            _log.error(
                "a record is too large for Kafka and is lost: raise max.message.bytes of the topic"
                " topic=%s error=%s",
                batch.topic,
                error,
            )
        for queue_key, entry in batch.entries:
            if self._queue.get(queue_key) is entry:
                del self._queue[queue_key]
                self._lifecycle_count -= isinstance(queue_key[1], int)


def _build_batches(
    producer: AIOKafkaProducer, entries: Iterable[tuple[QueueKey, QueueEntry]]
) -> list[WriteBatch]:
    """Pack entries into batches, in order for each topic.

    aiokafka's `send` makes a future per record, which was most of the cost of a client.
    """
    batches: list[WriteBatch] = []
    open_batches: dict[str, WriteBatch] = {}
    for queue_key, entry in entries:
        record = {"key": entry.key, "value": entry.value, "timestamp": None}
        batch = open_batches.get(entry.topic)
        if batch is None or batch.builder.append(**record) is None:
            batch = open_batches[entry.topic] = WriteBatch(entry.topic, producer.create_batch(), [])
            batch.builder.append(**record)  # an empty batch accepts any size
            batches.append(batch)
        batch.entries.append((queue_key, entry))
    return batches
