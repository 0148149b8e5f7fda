"""Writes records: idempotent, and acknowledged by all in-sync replicas before it says so."""

from __future__ import annotations

import asyncio
import contextlib
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError

from bridge.core.ports import NoTopic, TooLarge
from bridge.core.protocol.cursor import Position
from bridge.kafka.client.client import CUT_OFF, Cluster

if TYPE_CHECKING:
    from collections.abc import Sequence

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
