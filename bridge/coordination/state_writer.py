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

from bridge.kafka.client.client import CUT_OFF
from bridge.kafka.producer import put_away, seen

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiokafka.producer.message_accumulator import BatchBuilder

    from bridge.kafka.client.client import Access

_log = logging.getLogger(__name__)

_RETRY_SECONDS: Final = 0.5
_ROUND: Final = 2_000
_LAST_SECONDS: Final = 3.0
_REQUEST_MS: Final = 10_000
_PARCEL_BYTES: Final = 32 * 1024
#: Notices that are kept while Kafka is away.
MOST_NOTICES: Final = 200_000


class Entry(NamedTuple):
    """A record to be written to the first partition of a topic."""

    topic: str
    key: bytes | None
    value: bytes | None


#: Where an entry waits: its topic, and its key or its number.
At: TypeAlias = tuple[str, object]


class Parcel(NamedTuple):
    """Entries of one topic that are written together."""

    topic: str
    batch: BatchBuilder
    entries: list[tuple[At, Entry]]


class Scribe:
    """Writes facts and notices in the order in which they were said, as far as they still hold."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._waiting: dict[At, Entry] = {}
        self._number = 0
        self._parcel_bytes = _PARCEL_BYTES
        self._notices = 0
        self._wake = asyncio.Event()
        self._failing = False
        self._ending = False
        self.lost = 0  #: notices for which there was no room, and what is too large for Kafka

    def __len__(self) -> int:
        return len(self._waiting)

    def fact(self, topic: str, key: bytes, value: bytes | None) -> None:
        """Write this in place, and in the place, of what was said of `key` and is not written."""
        self._waiting[topic, key] = Entry(topic, key, value)
        self._wake.set()

    def notice(self, topic: str, key: bytes | None, value: bytes) -> None:
        """Write this too."""
        if self._notices >= MOST_NOTICES:
            self.lost += 1
            return
        self._notices += 1
        self._number += 1
        self._waiting[topic, self._number] = Entry(topic, key, value)
        self._wake.set()

    async def run(self) -> None:
        """Write until cancelled.

        Cancellation: what is waiting has some seconds to be written.
        """
        writing = asyncio.create_task(self._write_on(), name="scribe: write")
        try:
            await asyncio.shield(writing)
        finally:
            self._ending = True
            self._wake.set()
            await asyncio.wait([writing], timeout=_LAST_SECONDS)
            writing.cancel()
            await asyncio.wait([writing])

    async def _write_on(self) -> None:
        while self._waiting or not self._ending:
            if not self._waiting:
                await self._wake.wait()
            producer = AIOKafkaProducer(
                bootstrap_servers=self._access.bootstrap_servers,
                enable_idempotence=True,
                request_timeout_ms=_REQUEST_MS,
                max_batch_size=self._parcel_bytes,
                **self._access.options,
            )
            try:
                await producer.start()
                await self._write_with(producer)
            except CUT_OFF as error:
                if not self._failing:
                    _log.warning("Kafka does not take what this instance says of itself: %r", error)
                self._failing = True
                await asyncio.sleep(_RETRY_SECONDS)
            finally:
                await put_away(producer, _LAST_SECONDS)

    async def _write_with(self, producer: AIOKafkaProducer) -> None:
        """Write whatever comes; a record that fails is written again before any later one.

        What is on its way is waited for, for the producer tries again and writes it once. It is
        given up where others wait behind it, for by then it may not hold any more.
        """
        while self._waiting or not self._ending:
            self._wake.clear()
            some = list(islice(self._waiting.items(), _ROUND))
            if not some:
                await self._wake.wait()
            for parcel in _parcels(producer, some):
                await self._write(producer, parcel)
            if self._failing:
                self._failing = False
                _log.warning("Kafka takes what this instance says of itself again")

    async def _write(self, producer: AIOKafkaProducer, parcel: Parcel) -> None:
        try:
            future = await producer.send_batch(parcel.batch, parcel.topic, partition=0)
            while not (await asyncio.wait([seen(future)], timeout=_REQUEST_MS / 1000))[0]:
                if len(self._waiting) > len(parcel.entries):
                    raise KafkaTimeoutError("what is to be said waits for too long")
            future.result()
        except MessageSizeTooLargeError as error:
            if len(parcel.entries) > 1:
                self._parcel_bytes //= 2  # the topic takes less at a time than we gather
                raise
            self.lost += 1
            _log.error("%s: too large to be said: %s", parcel.topic, error)
        for at, entry in parcel.entries:
            if self._waiting.get(at) is entry:
                del self._waiting[at]
                self._notices -= isinstance(at[1], int)


def _parcels(producer: AIOKafkaProducer, some: Iterable[tuple[At, Entry]]) -> list[Parcel]:
    """Return these entries as they are sent: many at a time, in order for each topic.

    A future for each record, as aiokafka's `send` has it, was the larger part of a client's cost.
    """
    done: list[Parcel] = []
    open_: dict[str, Parcel] = {}
    for at, entry in some:
        record = {"key": entry.key, "value": entry.value, "timestamp": None}
        parcel = open_.get(entry.topic)
        if parcel is None or parcel.batch.append(**record) is None:
            parcel = open_[entry.topic] = Parcel(entry.topic, producer.create_batch(), [])
            parcel.batch.append(**record)  # the first is taken, however large
            done.append(parcel)
        parcel.entries.append((at, entry))
    return done
