"""What is done by one instance for all: dead letters, lost instances, rooms, what lasts.

Rules: everybody keeps what might have to be written, and who is on duty writes it; what was written
is known from Kafka, so a successor goes on where the last one ended. All of one round is one
transaction, with the offsets up to which it is done: it is written once or not at all.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import MessageSizeTooLargeError, ProducerFenced

from bridge.core.coordination import state_records
from bridge.kafka.client.client import CUT_OFF, LATEST, Partition
from bridge.kafka.producer import put_away, seen

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from bridge.coordination.dead_letters import Letter, Letters
    from bridge.coordination.topics import Own
    from bridge.core.coordination.presence import Census, Findings
    from bridge.kafka.client.client import Access, Cluster

_log = logging.getLogger(__name__)

TICK_SECONDS: Final = 0.1
#: How often those who are not on duty look what was written.
LOOK_SECONDS: Final = 2.0
_PAUSE: Final = 1.0
_ROUND_SECONDS: Final = 20.0
_END_SECONDS: Final = 3.0
_MOST_REQUEST_BYTES: Final = 64 << 20


class Kept(NamedTuple):
    """What a command leaves in the state topic; `offset` is the command's in the control topic."""

    offset: int
    value: bytes | None


class Readings(Protocol):
    """What the feed knows of the partitions that it reads."""

    def leader(self, partition: Partition) -> int:
        """The node that leads it, -1 where none does."""

    def position(self, partition: Partition) -> int:
        """The next offset that is read of it, -1 where it is not read."""


class Steward:
    """Keeps what might have to be written, and writes it while on duty."""

    def __init__(
        self,
        access: Access,
        cluster: Cluster,
        own: Own,
        census: Census,
        letters: Letters,
        *,
        letters_per_second: int,
        current: Callable[[], bool],
        feed: Readings,
    ) -> None:
        """`current` says whether this instance hears what the others say without delay."""
        self._access = access
        self._cluster = cluster
        self._own = own
        self._census = census
        self._letters_per_second = letters_per_second
        self._current = current
        self._feed = feed
        # The embedded broker has no transactions, and no second instance that could interfere.
        self._transactions = not access.may_create_topics
        self.letters = letters
        self._lasting: dict[bytes, Kept] = {}
        self._folded = 0
        self._allowance = 0.0
        self.written_letters = 0

    # -- what everybody keeps --------------------------------------------------------------------

    def keep_lasting(self, offset: int, key: bytes, value: bytes | None) -> None:
        """Keep what the command at `offset` leaves, until it is known to be written."""
        self._lasting.pop(key, None)
        if offset >= self._folded:
            self._lasting[key] = Kept(offset, value)

    def amend(self, key: bytes, value: bytes | None) -> None:
        """Let what is kept of a command say this instead."""
        if (kept := self._lasting.get(key)) is not None:
            self._lasting[key] = kept._replace(value=value)

    def folded(self, offset: int) -> None:
        """Say that what lasts of the commands below `offset` was written."""
        self._folded = offset
        self._lasting = {k: kept for k, kept in self._lasting.items() if kept.offset >= offset}

    def begin_anew(self) -> None:
        """Say that the control topic is another one: its offsets begin at 0 again."""
        self._folded = 0
        self._lasting = {k: kept._replace(offset=-1) for k, kept in self._lasting.items()}

    async def look(self) -> None:
        """Forget what somebody has written, again and again, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self._learn()
            except CUT_OFF as error:
                _log.debug("duties: %r", error)

    async def _learn(self) -> None:
        self.letters.known(await self._cluster.committed(self._own.dead_letters))

    # -- on duty ---------------------------------------------------------------------------------

    async def run(self) -> None:
        """Write until cancelled, or until somebody else is on duty.

        Cancellation: a round that was begun is written as a whole or not at all.
        """
        while True:
            producer = self._producer()
            try:
                await producer.start()
                await self._catch_up()
                await self._rounds(producer)
            except ProducerFenced:
                _log.info("somebody else is on duty")
                return
            except CUT_OFF as error:
                _log.debug("on duty: %r", error)
                await asyncio.sleep(_PAUSE)
            finally:
                await put_away(producer, _END_SECONDS)

    async def _catch_up(self) -> None:
        """Learn what others have written; whatever they had begun has ended with our first call."""
        await self._learn()
        state = Partition(self._own.state, 0)
        end: int | None = None
        while end is None or self._feed.position(state) < end:
            if end is None:
                leaders = {state: self._feed.leader(state)}
                end = (await self._cluster.offsets({state: LATEST}, leaders)).get(state)
            await asyncio.sleep(TICK_SECONDS)

    async def _rounds(self, producer: AIOKafkaProducer) -> None:
        now = time.monotonic
        last = now()
        while True:
            await asyncio.sleep(TICK_SECONDS)
            late, last = now() - last > LOOK_SECONDS, now()
            if late or not self._current():
                self._census.resume(now())
            self._allowance = min(
                self._allowance + self._letters_per_second * TICK_SECONDS,
                max(1.0, float(self._letters_per_second)),
            )
            findings = self._census.due(now())
            lasting = dict(self._lasting)
            letters = self.letters.next(int(self._allowance))
            if not (any(findings) or lasting or letters):
                continue
            self._census.tell(findings)  # it may be read back before Kafka has answered
            try:
                async with self._whole(producer):
                    await self._round(producer, findings, lasting, letters)
            except BaseException as error:
                self._census.take_back(findings)
                if not isinstance(error, MessageSizeTooLargeError):
                    raise
                self.letters.cut(letters)
            else:
                self._did(lasting, letters)

    @asynccontextmanager
    async def _whole(self, producer: AIOKafkaProducer) -> AsyncIterator[None]:
        """What is written within is written once or not at all, and that is not waited for long."""
        now = asyncio.get_running_loop().time
        transaction = producer.transaction() if self._transactions else nullcontext()
        async with asyncio.timeout(None) as end, transaction:
            try:
                async with asyncio.timeout(_ROUND_SECONDS):
                    yield
            finally:  # where Kafka does not hear of the end, the next one's first call is one
                end.reschedule(now() + _END_SECONDS)

    async def _round(
        self,
        producer: AIOKafkaProducer,
        findings: Findings,
        lasting: dict[bytes, Kept],
        letters: Sequence[Letter],
    ) -> None:
        sent = []
        for topic, key, value in self._told(findings):
            sent.append(seen(await producer.send(topic, value, key=key, partition=0)))
        for key, kept in lasting.items():
            said = await producer.send(self._own.state, kept.value, key=key, partition=0)
            sent.append(seen(said))
        if lasting:
            folded = state_records.Folded(max(kept.offset for kept in lasting.values()) + 1)
            key, value = state_records.key(folded), state_records.write(folded)
            sent.append(seen(await producer.send(self._own.state, value, key=key, partition=0)))
        where = {"topic": self._own.dead_letters, "partition": 0}
        for letter in letters:
            # aiokafka writes no record that has neither key nor value, though Kafka has such.
            value = b"" if letter.key is None and letter.value is None else letter.value
            record = {"value": value, "key": letter.key, "headers": letter.headers}
            sent.append(seen(await producer.send(**where, **record)))
        await asyncio.gather(*sent)
        # aiokafka would try for ever to commit an offset of a partition that is gone.
        done = {
            TopicPartition(*letter.partition): letter.offset + 1
            for letter in letters
            if self._feed.leader(letter.partition) >= 0
        }
        if done and self._transactions:
            await producer.send_offsets_to_transaction(done, self._own.dead_letters)

    def _told(self, findings: Findings) -> list[tuple[str, bytes | None, bytes | None]]:
        """The records that tell `findings`."""
        told: list[tuple[str, bytes | None, bytes | None]] = []
        for present in findings.lost:
            notice = state_records.disconnected(present, state_records.LOST, "its instance is gone")
            told.append((self._own.lifecycle, *notice))
            told.append((self._own.state, state_records.key(present), None))
        told += [(self._own.state, f"instance,{name}".encode(), None) for name in findings.dead]
        for place in findings.occupied:
            fact = state_records.Occupied(*place)
            told.append((self._own.lifecycle, *state_records.occupied(*place)))
            told.append((self._own.state, state_records.key(fact), state_records.write(fact)))
        for place in findings.vacated:
            told.append((self._own.lifecycle, *state_records.vacated(*place)))
            told.append((self._own.state, state_records.key(state_records.Occupied(*place)), None))
        return told

    def _did(self, lasting: dict[bytes, Kept], letters: Sequence[Letter]) -> None:
        for key, kept in lasting.items():
            if self._lasting.get(key) is kept:
                del self._lasting[key]
        self.letters.written({letter.partition: letter.offset + 1 for letter in letters})
        self._allowance -= len(letters)
        self.written_letters += len(letters)

    def _producer(self) -> AIOKafkaProducer:
        name = {"transactional_id": self._own.duties} if self._transactions else {}
        return AIOKafkaProducer(
            bootstrap_servers=self._access.bootstrap_servers,
            enable_idempotence=True,
            request_timeout_ms=10_000,
            max_request_size=_MOST_REQUEST_BYTES,
            **name,
            **self._access.options,
        )
