"""Writes records to Kafka with an idempotent producer, and publishes to the public topics.

Rule: a write returns once all in-sync replicas have acknowledged it. It never creates a topic.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from typing import TYPE_CHECKING, Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka import errors as kafka_errors

from bridge.core.ports import NotAcknowledged, RecordRefused, RecordTooLarge, UnknownTopic
from bridge.core.protocol.cursor import Position
from bridge.kafka.client.aiokafka_internals import (
    close_connections,
    mark_closed,
    pending_futures,
    sender_task,
)
from bridge.kafka.client.client import CLIENT_ERRORS, KafkaClient

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bridge.kafka.client.client import KafkaAccess


class InvalidRecordError(kafka_errors.BrokerResponseError):  # type: ignore[misc]
    """The broker's validation refuses the record. aiokafka does not know this code."""

    errno = 87
    message = "INVALID_RECORD"
    description = "the broker refuses the record"


kafka_errors.kafka_errors.setdefault(InvalidRecordError.errno, InvalidRecordError)
#: Errors with which a broker says for certain that it did not write the record, and the remedy.
_REFUSALS: Final[dict[type[Exception], str]] = {
    kafka_errors.InvalidTimestampError: (
        "the clock of this instance differs from Kafka's by more than the topic allows"
        " (message.timestamp.after.max.ms, message.timestamp.before.max.ms): set the clock"
    ),
    InvalidRecordError: (
        "the broker calls the record invalid: a compacted topic needs a key in every record"
    ),
    kafka_errors.PolicyViolationError: "a policy of the broker forbids the record",
    kafka_errors.UnsupportedForMessageFormatError: (
        "the topic's message format is too old for this record: upgrade it"
    ),
    kafka_errors.TopicAuthorizationFailedError: (
        "this instance may not write to the topic: give it the right Write on the topic"
    ),
    kafka_errors.ClusterAuthorizationFailedError: (
        "this instance may not write to Kafka: give it the right Write on the topic"
    ),
}
_CANCEL_WAIT_SECONDS: Final = 0.1
#: A topic that existed this recently is written to without a new metadata request.
TOPIC_MAX_AGE_SECONDS: Final = 5.0


class KafkaProducer:
    """Writes to any existing topic, by its Kafka name."""

    def __init__(self, access: KafkaAccess) -> None:
        self._client = KafkaClient(access)
        self._producer = AIOKafkaProducer(
            bootstrap_servers=access.bootstrap_servers,
            enable_idempotence=True,
            request_timeout_ms=10_000,
            **access.options,
        )
        self._described_at: dict[str, float] = {}  # on the loop's clock; only topics that exist

    async def start(self) -> None:
        """Connect to the brokers.

        Raises:
            One of `CLIENT_ERRORS`.
        """
        await self._client.connect()
        await self._producer.start()

    async def wait_until_failed(self) -> None:
        """Return once this producer cannot write any more.

        aiokafka retries what brokers answer. An error that it does not know ends its sender.
        """
        if (task := sender_task(self._producer)) is not None:
            await asyncio.wait([task])

    async def stop(self) -> None:
        """Wait for the records in flight, then close the connections."""
        await self._producer.stop()
        await self._client.close()

    async def send(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> Position:
        """Write one record; return its position once Kafka has acknowledged it.

        Raises:
            UnknownTopic: If the topic does not exist. It is not created.
            RecordTooLarge: If the record is larger than Kafka accepts.
            RecordRefused: If Kafka refuses the record for another reason.
            One of `CLIENT_ERRORS`: The record may or may not have been written.

        Cancellation: the record may or may not have been written.
        """
        await self._require_topic(topic)
        try:
            metadata = await self._producer.send_and_wait(
                topic, value, key=key, headers=list(headers)
            )
        except kafka_errors.MessageSizeTooLargeError as error:
            raise RecordTooLarge(str(error)) from None
        except tuple(_REFUSALS) as error:
            raise RecordRefused(_REFUSALS[type(error)]) from None
        except CLIENT_ERRORS:
            # The topic may have been deleted since it was described.
            self._described_at.pop(topic, None)
            await self._require_topic(topic)
            raise
        return Position(topic, metadata.partition, metadata.offset)

    async def _require_topic(self, topic: str) -> None:
        """Raise `UnknownTopic` if Kafka does not have `topic`. A recent check counts.

        aiokafka's own metadata request would create it on brokers that create topics.
        """
        now = asyncio.get_running_loop().time()
        if now - self._described_at.get(topic, -math.inf) < TOPIC_MAX_AGE_SECONDS:
            return
        if topic not in await self._client.describe_topics([topic]):
            self._described_at.pop(topic, None)
            raise UnknownTopic(topic)
        self._described_at[topic] = now


def ignore_exception(future: asyncio.Future[Any]) -> asyncio.Future[Any]:
    """Return `future`, and keep asyncio from logging its exception as never retrieved.

    If many records are in flight to a lost broker, only the first error matters.
    """
    future.add_done_callback(_retrieve_exception)
    return future


def _retrieve_exception(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()


def _ignore_all_exceptions(producer: AIOKafkaProducer) -> None:
    """Keep asyncio from logging errors that aiokafka leaves in its own futures.

    A fenced producer stores its error in futures that it never awaits.
    """
    for future in pending_futures(producer):
        ignore_exception(future)


async def stop_producer(producer: AIOKafkaProducer, timeout_seconds: float) -> None:
    """Stop `producer`: its pending records are written within `timeout_seconds`, or never.

    aiokafka's own `stop` waits as long as Kafka is away. A producer that is not stopped would
    write its records when Kafka is back, after the records that others wrote meanwhile.

    Cancellation: its connections are closed at once.
    """
    try:
        async with asyncio.timeout(timeout_seconds):
            await producer.flush()
            await producer.stop()
    except CLIENT_ERRORS:
        mark_closed(producer)
        task = sender_task(producer)
        close_connections(producer)
        while task is not None and not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=_CANCEL_WAIT_SECONDS)
        with contextlib.suppress(*CLIENT_ERRORS):
            await producer.client.close()
    except asyncio.CancelledError:
        mark_closed(producer)
        close_connections(producer)
        raise
    finally:
        _ignore_all_exceptions(producer)


_log = logging.getLogger(__name__)

#: Seconds within which Kafka must acknowledge one record.
ACKNOWLEDGEMENT_TIMEOUT_SECONDS: Final = 15.0
_RETRY_SECONDS: Final = 1.0
_STOP_TIMEOUT_SECONDS: Final = 3.0
_ACKNOWLEDGED: Final = "acknowledged"
_OUTCOMES: Final[dict[type[Exception], str]] = {
    NotAcknowledged: "not_acknowledged",
    UnknownTopic: "no_topic",
    RecordTooLarge: "too_large",
    RecordRefused: "refused",
}


class KafkaPublisher:
    """Writes to the public topics. `kafka_names` maps their names to Kafka's."""

    def __init__(self, access: KafkaAccess, kafka_names: Mapping[str, str]) -> None:
        self._access = access
        self._kafka_names = kafka_names
        self._producer: KafkaProducer | None = None  # set once it is connected
        self._is_failing = False
        #: The number of records by outcome.
        self.outcomes = dict.fromkeys([_ACKNOWLEDGED, *_OUTCOMES.values()], 0)

    async def run(self) -> None:
        """Keep a connected producer until cancelled. One that failed is replaced.

        Cancellation: records in flight have three seconds to be acknowledged.
        """
        while True:
            producer = KafkaProducer(self._access)
            try:
                await producer.start()
                self._producer = producer
                await producer.wait_until_failed()
            except CLIENT_ERRORS as error:
                self._mark_failing(error)
            finally:
                self._producer = None
                with contextlib.suppress(*CLIENT_ERRORS):
                    async with asyncio.timeout(_STOP_TIMEOUT_SECONDS):
                        await producer.stop()
            await asyncio.sleep(_RETRY_SECONDS)

    async def publish(
        self,
        topic: str,
        value: bytes,
        *,
        key: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> Position:
        """Write one record to a public topic; return its position in that topic.

        Raises:
            UnknownTopic: If the topic does not exist.
            RecordTooLarge: If the record is larger than Kafka accepts.
            RecordRefused: If Kafka refuses the record for another reason.
            NotAcknowledged: If Kafka does not answer in time, or was never connected.

        Cancellation: the record may or may not have been written.
        """
        try:
            position = await self._publish(topic, value, key, headers)
        except tuple(_OUTCOMES) as error:
            self.outcomes[_OUTCOMES[type(error)]] += 1
            raise
        self.outcomes[_ACKNOWLEDGED] += 1
        return position

    async def _publish(
        self, topic: str, value: bytes, key: bytes | None, headers: Sequence[tuple[str, bytes]]
    ) -> Position:
        kafka_name = self._kafka_names.get(topic)
        if kafka_name is None:
            raise UnknownTopic(topic)
        if self._producer is None:
            raise NotAcknowledged
        try:
            async with asyncio.timeout(ACKNOWLEDGEMENT_TIMEOUT_SECONDS):
                position = await self._producer.send(kafka_name, value, key=key, headers=headers)
        except RecordRefused as error:
            self._mark_failing(error)
            raise
        except CLIENT_ERRORS as error:
            self._mark_failing(error)
            raise NotAcknowledged from None
        if self._is_failing:
            self._is_failing = False
            _log.warning("Kafka accepts records again")
        return position._replace(topic=topic)

    def _mark_failing(self, error: BaseException) -> None:
        if not self._is_failing:
            _log.warning("Kafka does not accept records: %r", error)
        self._is_failing = True
