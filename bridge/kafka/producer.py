"""Writes records: idempotent, and acknowledged by all in-sync replicas before it says so."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError

from bridge.core.ports import NotAcknowledged, NoTopic, TooLarge
from bridge.core.protocol.cursor import Position
from bridge.kafka.client.client import CUT_OFF, Cluster

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bridge.kafka.client.client import Access

_MOMENT: Final = 0.1


class Producer:
    """Writes to any topic that exists."""

    def __init__(self, access: Access) -> None:
        self._cluster = Cluster(access)
        self._producer = AIOKafkaProducer(
            bootstrap_servers=access.bootstrap_servers,
            enable_idempotence=True,
            request_timeout_ms=10_000,
            **access.options,
        )

    async def start(self) -> None:
        """Connect.

        Raises:
            One of `cluster.OUT_OF_REACH`.
        """
        await self._cluster.connect()
        await self._producer.start()

    async def stop(self) -> None:
        """Wait for what is on its way, then let go."""
        await self._producer.stop()
        await self._cluster.close()

    async def write(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> Position:
        """Write one record; return where it stands, once Kafka has acknowledged it.

        Raises:
            NoTopic: If there is no such topic; asking creates none.
            TooLarge: If Kafka does not take so much at a time.
            One of `cluster.OUT_OF_REACH`: The record may or may not have been written.

        Cancellation: the record may or may not have been written.
        """
        if topic not in await self._cluster.describe([topic]):
            raise NoTopic(topic)
        try:
            done = await self._producer.send_and_wait(topic, value, key=key, headers=list(headers))
        except MessageSizeTooLargeError as error:
            raise TooLarge(str(error)) from None
        return Position(topic, done.partition, done.offset)


def seen(future: asyncio.Future[Any]) -> asyncio.Future[Any]:
    """Return `future`, of which asyncio does not say that nobody has looked how it ended.

    Of many records on their way to a broker that is gone, only the first error is of interest.
    """
    future.add_done_callback(_look)
    return future


def _look(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()


def _look_at_all(producer: AIOKafkaProducer) -> None:
    """Let asyncio know that what aiokafka keeps of its errors is not for anybody to look at.

    A producer that was fenced leaves its error in futures of its own that it never looks at.
    """
    accumulator, transactions = producer._message_accumulator, producer._txn_manager  # noqa: SLF001
    for batch in chain(*accumulator._batches.values(), accumulator._pending_batches):  # noqa: SLF001
        seen(batch._drain_waiter)  # noqa: SLF001
    if transactions is not None and transactions._transaction_waiter is not None:  # noqa: SLF001
        seen(transactions._transaction_waiter)  # noqa: SLF001


async def put_away(producer: AIOKafkaProducer, seconds: float) -> None:
    """Stop `producer`: what it holds is written within `seconds`, or never.

    aiokafka's own `stop` waits for as long as Kafka is away; one that was only left alone would
    write what it holds when Kafka is back, after what others have written by then.
    """
    try:
        async with asyncio.timeout(seconds):
            await producer.flush()
            await producer.stop()
    except CUT_OFF:
        producer._closed = True  # noqa: SLF001 - there is no public way to give up
        sending = producer._sender.sender_task  # noqa: SLF001
        for connection in [*producer.client._conns.values()]:  # noqa: SLF001
            connection.close()
        while sending is not None and not sending.done():
            sending.cancel()
            await asyncio.wait([sending], timeout=_MOMENT)
        with contextlib.suppress(*CUT_OFF):
            await producer.client.close()
    finally:
        _look_at_all(producer)


_log = logging.getLogger(__name__)

#: How long one record may take, in seconds.
PATIENCE: Final = 15.0
_RETRY_SECONDS: Final = 1.0
_LAST_SECONDS: Final = 3.0
_ACKNOWLEDGED: Final = "acknowledged"
_OUTCOMES: Final[dict[type[Exception], str]] = {
    NotAcknowledged: "not_acknowledged",
    NoTopic: "no_topic",
    TooLarge: "too_large",
}


class Writer:
    """Writes to `topics`: the public names, mapped to Kafka's."""

    def __init__(self, access: Access, topics: Mapping[str, str]) -> None:
        self._access = access
        self._topics = topics
        self._producer: Producer | None = None  # once it is connected
        self._failing = False
        #: How often what was to be written ended how.
        self.outcomes = dict.fromkeys([_ACKNOWLEDGED, *_OUTCOMES.values()], 0)

    async def run(self) -> None:
        """Connect, however long that takes, and stay so until cancelled.

        Cancellation: what is on its way has some seconds to be acknowledged.
        """
        producer = Producer(self._access)
        try:
            while self._producer is None:
                try:
                    await producer.start()
                    self._producer = producer
                except CUT_OFF as error:
                    self._failed(error)
                    await asyncio.sleep(_RETRY_SECONDS)
            await asyncio.get_running_loop().create_future()
        finally:
            with contextlib.suppress(*CUT_OFF):
                async with asyncio.timeout(_LAST_SECONDS):
                    await producer.stop()

    async def write(
        self,
        topic: str,
        value: bytes,
        *,
        key: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> Position:
        """Write one record to a public topic; return where it stands there.

        Raises:
            NoTopic: If there is no such topic.
            TooLarge: If Kafka does not take so much at a time.
            NotAcknowledged: If Kafka has not answered in time, or not at all yet.

        Cancellation: the record may or may not have been written.
        """
        try:
            at = await self._write(topic, value, key, headers)
        except tuple(_OUTCOMES) as error:
            self.outcomes[_OUTCOMES[type(error)]] += 1
            raise
        self.outcomes[_ACKNOWLEDGED] += 1
        return at

    async def _write(
        self, topic: str, value: bytes, key: bytes | None, headers: Sequence[tuple[str, bytes]]
    ) -> Position:
        name = self._topics.get(topic)
        if name is None:
            raise NoTopic(topic)
        if self._producer is None:
            raise NotAcknowledged
        try:
            async with asyncio.timeout(PATIENCE):
                at = await self._producer.write(name, value, key=key, headers=headers)
        except CUT_OFF as error:
            self._failed(error)
            raise NotAcknowledged from None
        if self._failing:
            self._failing = False
            _log.warning("Kafka takes records again")
        return at._replace(topic=topic)

    def _failed(self, error: BaseException) -> None:
        if not self._failing:
            _log.warning("Kafka does not take records: %r", error)
        self._failing = True
