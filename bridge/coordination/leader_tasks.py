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

from aiokafka import AIOKafkaProducer
from aiokafka import TopicPartition as AIOKafkaTopicPartition
from aiokafka.errors import MessageSizeTooLargeError, ProducerFenced

from bridge.core.coordination import state_records
from bridge.kafka.client.client import CLIENT_ERRORS, LATEST, TopicPartition
from bridge.kafka.producer import ignore_exception, stop_producer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from bridge.coordination.dead_letters import DeadLetter, DeadLetterQueue
    from bridge.coordination.topics import BridgeTopics
    from bridge.core.coordination.presence import PresenceChanges, PresenceTracker
    from bridge.kafka.client.client import KafkaAccess, KafkaClient

_log = logging.getLogger(__name__)

ROUND_INTERVAL_SECONDS: Final = 0.1
#: How often those who are not on duty look what was written.
COMMITTED_POLL_SECONDS: Final = 2.0
_RETRY_SECONDS: Final = 1.0
_TRANSACTION_TIMEOUT_SECONDS: Final = 20.0
_STOP_TIMEOUT_SECONDS: Final = 3.0
_MAX_REQUEST_BYTES: Final = 64 << 20


class StateUpdate(NamedTuple):
    """What a command leaves in the state topic; `offset` is the command's in the control topic."""

    offset: int
    value: bytes | None


class ConsumerPositions(Protocol):
    """What the feed knows of the partitions that it reads."""

    def leader_of(self, partition: TopicPartition) -> int:
        """The node that leads it, -1 where none does."""

    def position(self, partition: TopicPartition) -> int:
        """The next offset that is read of it, -1 where it is not read."""


class LeaderTasks:
    """Keeps what might have to be written, and writes it while on duty."""

    def __init__(
        self,
        access: KafkaAccess,
        client: KafkaClient,
        topics: BridgeTopics,
        presence_tracker: PresenceTracker,
        dead_letters: DeadLetterQueue,
        *,
        dead_letters_per_second: int,
        is_current: Callable[[], bool],
        consumer_positions: ConsumerPositions,
    ) -> None:
        """`is_current` says whether this instance hears what the others say without delay."""
        self._access = access
        self._client = client
        self._topics = topics
        self._presence_tracker = presence_tracker
        self._dead_letters_per_second = dead_letters_per_second
        self._is_current = is_current
        self._consumer_positions = consumer_positions
        # The embedded broker has no transactions, and no second instance that could interfere.
        self._is_transactional = not access.may_create_topics
        self.dead_letters = dead_letters
        self._pending_updates: dict[bytes, StateUpdate] = {}
        self._checkpoint_offset = 0
        self._dead_letter_budget = 0.0
        self.dead_letters_written = 0

    # -- what everybody keeps --------------------------------------------------------------------

    def queue_state_update(self, offset: int, key: bytes, value: bytes | None) -> None:
        """Keep what the command at `offset` leaves, until it is known to be written."""
        self._pending_updates.pop(key, None)
        if offset >= self._checkpoint_offset:
            self._pending_updates[key] = StateUpdate(offset, value)

    def replace_state_update(self, key: bytes, value: bytes | None) -> None:
        """Let what is kept of a command say this instead."""
        if (update := self._pending_updates.get(key)) is not None:
            self._pending_updates[key] = update._replace(value=value)

    def apply_checkpoint(self, offset: int) -> None:
        """Say that what lasts of the commands below `offset` was written."""
        self._checkpoint_offset = offset
        self._pending_updates = {
            key: update for key, update in self._pending_updates.items() if update.offset >= offset
        }

    def reset_checkpoint(self) -> None:
        """Say that the control topic is another one: its offsets begin at 0 again."""
        self._checkpoint_offset = 0
        self._pending_updates = {
            key: update._replace(offset=-1) for key, update in self._pending_updates.items()
        }

    async def poll_committed(self) -> None:
        """Forget what somebody has written, again and again, until cancelled."""
        while True:
            await asyncio.sleep(COMMITTED_POLL_SECONDS)
            try:
                await self._refresh_committed()
            except CLIENT_ERRORS as error:
                _log.debug("duties: %r", error)

    async def _refresh_committed(self) -> None:
        self.dead_letters.set_written_offsets(
            await self._client.committed(self._topics.dead_letters)
        )

    # -- on duty ---------------------------------------------------------------------------------

    async def run(self) -> None:
        """Write until cancelled, or until somebody else is on duty.

        Cancellation: a round that was begun is written as a whole or not at all.
        """
        while True:
            producer = self._create_producer()
            try:
                await producer.start()
                await self._catch_up()
                await self._run_rounds(producer)
            except ProducerFenced:
                _log.info("somebody else is on duty")
                return
            except CLIENT_ERRORS as error:
                _log.debug("on duty: %r", error)
                await asyncio.sleep(_RETRY_SECONDS)
            finally:
                await stop_producer(producer, _STOP_TIMEOUT_SECONDS)

    async def _catch_up(self) -> None:
        """Learn what others have written; whatever they had begun has ended with our first call."""
        await self._refresh_committed()
        state_partition = TopicPartition(self._topics.state, 0)
        end_offset: int | None = None
        while end_offset is None or self._consumer_positions.position(state_partition) < end_offset:
            if end_offset is None:
                leaders = {state_partition: self._consumer_positions.leader_of(state_partition)}
                end_offset = (
                    await self._client.list_offsets({state_partition: LATEST}, leaders)
                ).get(state_partition)
            await asyncio.sleep(ROUND_INTERVAL_SECONDS)

    async def _run_rounds(self, producer: AIOKafkaProducer) -> None:
        now = time.monotonic
        last_round_at = now()
        while True:
            await asyncio.sleep(ROUND_INTERVAL_SECONDS)
            is_late, last_round_at = now() - last_round_at > COMMITTED_POLL_SECONDS, now()
            if is_late or not self._is_current():
                self._presence_tracker.reset_timeouts(now())
            self._dead_letter_budget = min(
                self._dead_letter_budget + self._dead_letters_per_second * ROUND_INTERVAL_SECONDS,
                max(1.0, float(self._dead_letters_per_second)),
            )
            changes = self._presence_tracker.due_changes(now())
            updates = dict(self._pending_updates)
            dead_letters = self.dead_letters.peek(int(self._dead_letter_budget))
            if not (any(changes) or updates or dead_letters):
                continue
            self._presence_tracker.mark_published(
                changes
            )  # it may be read back before Kafka has answered
            try:
                async with self._transaction(producer):
                    await self._write_round(producer, changes, updates, dead_letters)
            except BaseException as error:
                self._presence_tracker.mark_failed(changes)
                if not isinstance(error, MessageSizeTooLargeError):
                    raise
                self.dead_letters.truncate_largest(dead_letters)
            else:
                self._mark_written(updates, dead_letters)

    @asynccontextmanager
    async def _transaction(self, producer: AIOKafkaProducer) -> AsyncIterator[None]:
        """What is written within is written once or not at all, and that is not waited for long."""
        now = asyncio.get_running_loop().time
        transaction = producer.transaction() if self._is_transactional else nullcontext()
        async with asyncio.timeout(None) as deadline, transaction:
            try:
                async with asyncio.timeout(_TRANSACTION_TIMEOUT_SECONDS):
                    yield
            finally:  # where Kafka does not hear of the end, the next one's first call is one
                deadline.reschedule(now() + _STOP_TIMEOUT_SECONDS)

    async def _write_round(
        self,
        producer: AIOKafkaProducer,
        changes: PresenceChanges,
        updates: dict[bytes, StateUpdate],
        dead_letters: Sequence[DeadLetter],
    ) -> None:
        futures = []
        for topic, key, value in self._presence_records(changes):
            futures.append(
                ignore_exception(await producer.send(topic, value, key=key, partition=0))
            )
        for key, update in updates.items():
            future = await producer.send(self._topics.state, update.value, key=key, partition=0)
            futures.append(ignore_exception(future))
        if updates:
            checkpoint = state_records.Checkpoint(
                max(update.offset for update in updates.values()) + 1
            )
            key, value = state_records.record_key(checkpoint), state_records.encode(checkpoint)
            futures.append(
                ignore_exception(
                    await producer.send(self._topics.state, value, key=key, partition=0)
                )
            )
        destination = {"topic": self._topics.dead_letters, "partition": 0}
        for dead_letter in dead_letters:
            # aiokafka writes no record that has neither key nor value, though Kafka has such.
            value = (
                b"" if dead_letter.key is None and dead_letter.value is None else dead_letter.value
            )
            record = {"value": value, "key": dead_letter.key, "headers": dead_letter.headers}
            futures.append(ignore_exception(await producer.send(**destination, **record)))
        await asyncio.gather(*futures)
        # aiokafka would try for ever to commit an offset of a partition that is gone.
        source_offsets = {
            AIOKafkaTopicPartition(*dead_letter.partition): dead_letter.offset + 1
            for dead_letter in dead_letters
            if self._consumer_positions.leader_of(dead_letter.partition) >= 0
        }
        if source_offsets and self._is_transactional:
            await producer.send_offsets_to_transaction(source_offsets, self._topics.dead_letters)

    def _presence_records(
        self, changes: PresenceChanges
    ) -> list[tuple[str, bytes | None, bytes | None]]:
        """The records that tell `changes`."""
        records: list[tuple[str, bytes | None, bytes | None]] = []
        for connection in changes.lost_connections:
            lifecycle_record = state_records.disconnected_record(
                connection, state_records.ABNORMAL_CLOSURE, "its instance is gone"
            )
            records.append((self._topics.lifecycle, *lifecycle_record))
            records.append((self._topics.state, state_records.record_key(connection), None))
        records += [
            (self._topics.state, f"instance,{name}".encode(), None)
            for name in changes.dead_instances
        ]
        for room_or_topic in changes.occupied:
            occupancy = state_records.Occupancy(*room_or_topic)
            records.append((self._topics.lifecycle, *state_records.occupied_record(*room_or_topic)))
            records.append(
                (
                    self._topics.state,
                    state_records.record_key(occupancy),
                    state_records.encode(occupancy),
                )
            )
        for room_or_topic in changes.vacated:
            records.append((self._topics.lifecycle, *state_records.vacated_record(*room_or_topic)))
            records.append(
                (
                    self._topics.state,
                    state_records.record_key(state_records.Occupancy(*room_or_topic)),
                    None,
                )
            )
        return records

    def _mark_written(
        self, updates: dict[bytes, StateUpdate], dead_letters: Sequence[DeadLetter]
    ) -> None:
        for key, update in updates.items():
            if self._pending_updates.get(key) is update:
                del self._pending_updates[key]
        self.dead_letters.mark_written(
            {dead_letter.partition: dead_letter.offset + 1 for dead_letter in dead_letters}
        )
        self._dead_letter_budget -= len(dead_letters)
        self.dead_letters_written += len(dead_letters)

    def _create_producer(self) -> AIOKafkaProducer:
        transaction_options = (
            {"transactional_id": self._topics.duties} if self._is_transactional else {}
        )
        return AIOKafkaProducer(
            bootstrap_servers=self._access.bootstrap_servers,
            enable_idempotence=True,
            request_timeout_ms=10_000,
            max_request_size=_MAX_REQUEST_BYTES,
            **transaction_options,
            **self._access.options,
        )
