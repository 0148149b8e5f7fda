"""What is done by one instance for all: dead letters, lost instances, rooms, what lasts.

Rules: everybody keeps what might have to be written, and who is on duty writes it; what was written
is known from Kafka, so a successor goes on where the last one ended. All of one round is one
transaction, with the offsets up to which it is done: it is written once or not at all.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from contextlib import nullcontext
from typing import TYPE_CHECKING, Final, NamedTuple

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import MessageSizeTooLargeError, ProducerFenced

from bridge.core import ledger, lifecycle
from bridge.kafka.cluster import OUT_OF_REACH, Partition

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bridge.core.census import Census, Findings
    from bridge.kafka.cluster import Access, Cluster
    from bridge.kafka.own import Own

_log = logging.getLogger(__name__)

TICK_SECONDS: Final = 0.1
#: How often those who are not on duty look what was written.
LOOK_SECONDS: Final = 2.0
#: Dead records that are kept until they are known to be written, in bytes.
MOST_BYTES: Final = 32 << 20
_PAUSE: Final = 1.0
_ROUND_SECONDS: Final = 20.0
_MOST_REQUEST_BYTES: Final = 64 << 20


class Letter(NamedTuple):
    """A record that could not be used, as it is written to the dead letters."""

    partition: Partition
    offset: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]

    @property
    def size(self) -> int:
        """Its bytes, about."""
        return 200 + len(self.key or b"") + len(self.value or b"")


class Kept(NamedTuple):
    """What a command leaves in the state topic; `offset` is the command's in the control topic."""

    offset: int
    value: bytes | None


class Steward:
    """Keeps what might have to be written, and writes it while on duty."""

    def __init__(
        self,
        access: Access,
        cluster: Cluster,
        own: Own,
        census: Census,
        *,
        letters_per_second: int,
        current: Callable[[], bool],
        exists: Callable[[Partition], bool],
        transactions: bool = True,
    ) -> None:
        """`current` says whether this instance hears what the others say without delay.

        `exists` says whether Kafka has a partition, as far as is known.
        """
        self._access = access
        self._cluster = cluster
        self._own = own
        self._census = census
        self._letters_per_second = letters_per_second
        self._current = current
        self._exists = exists
        self._transactions = transactions
        self._letters: deque[Letter] = deque()
        self._bytes = 0
        self._lasting: dict[bytes, Kept] = {}
        self._folded = 0
        self._written: dict[Partition, int] = {}
        self._allowance = 0.0
        self.lost_letters = 0
        self.written_letters = 0

    # -- what everybody keeps --------------------------------------------------------------------

    def keep_letter(self, letter: Letter) -> None:
        """Keep a record that could not be used, until it is known to be written."""
        if letter.offset < self._written.get(letter.partition, 0):
            return
        self._letters.append(letter)
        self._bytes += letter.size
        while self._bytes > MOST_BYTES:
            self._bytes -= self._letters.popleft().size
            self.lost_letters += 1

    def keep_lasting(self, offset: int, key: bytes, value: bytes | None) -> None:
        """Keep what the command at `offset` leaves, until it is known to be written."""
        self._lasting.pop(key, None)
        if offset >= self._folded:
            self._lasting[key] = Kept(offset, value)

    def folded(self, offset: int) -> None:
        """Say that what lasts of the commands below `offset` was written."""
        self._folded = max(offset, self._folded)
        self._lasting = {k: kept for k, kept in self._lasting.items() if kept.offset >= offset}

    async def look(self) -> None:
        """Forget what somebody has written, again and again, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self._learn()
            except OUT_OF_REACH as error:
                _log.debug("duties: %r", error)

    async def _learn(self) -> None:
        written = await self._cluster.committed(self._own.dead_letters)
        for partition, offset in written.items():
            self._written[partition] = max(offset, self._written.get(partition, 0))
        self._forget()

    def _forget(self) -> None:
        left = [
            letter
            for letter in self._letters
            if letter.offset >= self._written.get(letter.partition, 0)
        ]
        self._letters = deque(left)
        self._bytes = sum(letter.size for letter in left)

    # -- on duty ---------------------------------------------------------------------------------

    async def run(self) -> None:
        """Write until cancelled, or until somebody else is on duty.

        Cancellation: a round that was begun is written as a whole or not at all.
        """
        while True:
            producer = self._producer()
            try:
                await producer.start()
                await self._learn()
                await self._rounds(producer)
            except ProducerFenced:
                _log.info("somebody else is on duty")
                return
            except OUT_OF_REACH as error:
                _log.debug("on duty: %r", error)
                await asyncio.sleep(_PAUSE)
            finally:
                await _stop(producer)

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
            letters = [
                self._letters[n] for n in range(min(int(self._allowance), len(self._letters)))
            ]
            if not (any(findings) or lasting or letters):
                continue
            try:
                async with (
                    asyncio.timeout(_ROUND_SECONDS),
                    producer.transaction() if self._transactions else nullcontext(),
                ):
                    await self._round(producer, findings, lasting, letters)
            except MessageSizeTooLargeError:
                self._cut(letters)
            else:
                self._did(findings, lasting, letters)

    async def _round(
        self,
        producer: AIOKafkaProducer,
        findings: Findings,
        lasting: dict[bytes, Kept],
        letters: Sequence[Letter],
    ) -> None:
        sent = []
        for topic, key, value in self._told(findings):
            sent.append(await producer.send(topic, value, key=key, partition=0))
        for key, kept in lasting.items():
            sent.append(await producer.send(self._own.state, kept.value, key=key, partition=0))
        if lasting:
            folded = ledger.Folded(max(kept.offset for kept in lasting.values()) + 1)
            key, value = ledger.key(folded), ledger.write(folded)
            sent.append(await producer.send(self._own.state, value, key=key, partition=0))
        where = {"topic": self._own.dead_letters, "partition": 0}
        for letter in letters:
            said = {"value": letter.value, "key": letter.key, "headers": letter.headers}
            sent.append(await producer.send(**where, **said))
        for future in sent:
            await future
        # aiokafka would try for ever to commit an offset of a partition that is gone.
        done = {
            TopicPartition(*letter.partition): letter.offset + 1
            for letter in letters
            if self._exists(letter.partition)
        }
        if done and self._transactions:
            await producer.send_offsets_to_transaction(done, self._own.dead_letters)

    def _told(self, findings: Findings) -> list[tuple[str, bytes | None, bytes | None]]:
        """The records that tell `findings`."""
        told: list[tuple[str, bytes | None, bytes | None]] = []
        for present in findings.lost:
            notice = lifecycle.disconnected(present, lifecycle.LOST, "its instance is gone")
            told.append((self._own.lifecycle, *notice))
            told.append((self._own.state, ledger.key(present), None))
        told += [(self._own.state, f"instance,{name}".encode(), None) for name in findings.dead]
        for place in findings.occupied:
            fact = ledger.Occupied(*place)
            told.append((self._own.lifecycle, *lifecycle.occupied(*place)))
            told.append((self._own.state, ledger.key(fact), ledger.write(fact)))
        for place in findings.vacated:
            told.append((self._own.lifecycle, *lifecycle.vacated(*place)))
            told.append((self._own.state, ledger.key(ledger.Occupied(*place)), None))
        return told

    def _did(
        self, findings: Findings, lasting: dict[bytes, Kept], letters: Sequence[Letter]
    ) -> None:
        self._census.tell(findings)
        for key, kept in lasting.items():
            if self._lasting.get(key) is kept:
                del self._lasting[key]
        for letter in letters:
            self._written[letter.partition] = letter.offset + 1
        if letters:
            self._forget()
        self._allowance -= len(letters)
        self.written_letters += len(letters)

    def _cut(self, letters: Sequence[Letter]) -> None:
        """Let the largest of these be written without its value: Kafka does not take it whole."""
        largest = max(letters, key=lambda letter: letter.size)
        cut = [*largest.headers, ("dead-value-bytes", b"%d" % len(largest.value or b""))]
        for place, letter in enumerate(self._letters):
            if letter is largest:
                self._letters[place] = letter._replace(value=None, headers=cut)
                self._bytes += self._letters[place].size - letter.size
                return

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


async def _stop(producer: AIOKafkaProducer) -> None:
    try:
        async with asyncio.timeout(_PAUSE * 3):
            await producer.stop()
    except (TimeoutError, *OUT_OF_REACH) as error:
        _log.debug("on duty: %r", error)
