"""The leader's writes: dead letters, dead instances, occupancy, effects of commands.

Rule: every instance queues them, the leader writes them. Each round is one transaction that also
commits how far it got, so it is written once and the next leader continues there.
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
#: Seconds between two reads of what the leader has committed.
COMMITTED_POLL_SECONDS: Final = 2.0
_RETRY_SECONDS: Final = 1.0
_TRANSACTION_TIMEOUT_SECONDS: Final = 20.0
_STOP_TIMEOUT_SECONDS: Final = 3.0
_MAX_REQUEST_BYTES: Final = 64 << 20


class StateUpdate(NamedTuple):
    """A state record that a command causes. `offset` is the command's, in the control topic."""

    offset: int
    value: bytes | None


class ConsumerPositions(Protocol):
    """What the consumer knows about the partitions that it reads."""

    def leader_of(self, partition: TopicPartition) -> int:
        """The node id of its leader, -1 if there is none."""

    def position(self, partition: TopicPartition) -> int:
        """The next offset to read, -1 if the partition is not read."""


class LeaderTasks:
    """Queues writes on every instance. `run` writes them, on the leader only."""

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
        """`is_current`: whether this instance reads the state topic without delay."""
        self._access = access
        self._client = client
        self._topics = topics
        self._presence_tracker = presence_tracker
        self._dead_letters_per_second = dead_letters_per_second
        self._is_current = is_current
        self._consumer_positions = consumer_positions
        # The embedded broker has no transactions, and serves one instance only.
        self._is_transactional = not access.may_create_topics
        self.dead_letters = dead_letters
        self._pending_updates: dict[bytes, StateUpdate] = {}
        self._checkpoint_offset = 0
        self._dead_letter_budget = 0.0
        self.dead_letters_written = 0

    # -- on every instance -----------------------------------------------------------------------

    def queue_state_update(self, offset: int, key: bytes, value: bytes | None) -> None:
        """Queue the effect of the command at `offset` until it is known to be written."""
        self._pending_updates.pop(key, None)
        if offset >= self._checkpoint_offset:
            self._pending_updates[key] = StateUpdate(offset, value)

    def replace_state_update(self, key: bytes, value: bytes | None) -> None:
        """Replace the value of a queued update, if `key` is queued."""
        if (update := self._pending_updates.get(key)) is not None:
            self._pending_updates[key] = update._replace(value=value)

    def apply_checkpoint(self, offset: int) -> None:
        """Drop the updates of commands below `offset`: they are written."""
        self._checkpoint_offset = offset
        self._pending_updates = {
            key: update for key, update in self._pending_updates.items() if update.offset >= offset
        }

    def reset_checkpoint(self) -> None:
        """Restart at offset 0, because the control topic was recreated. Queued updates stay."""
        self._checkpoint_offset = 0
        self._pending_updates = {
            key: update._replace(offset=-1) for key, update in self._pending_updates.items()
        }

    async def poll_committed(self) -> None:
        """Drop dead letters that the leader has committed. Run until cancelled."""
        while True:
            await asyncio.sleep(COMMITTED_POLL_SECONDS)
            try:
                await self._refresh_committed()
            except CLIENT_ERRORS as error:
                _log.debug("cannot read committed offsets, retrying error=%r", error)

    async def _refresh_committed(self) -> None:
        self.dead_letters.set_written_offsets(
            await self._client.committed(self._topics.dead_letters)
        )

    # -- on the leader ---------------------------------------------------------------------------

    async def run(self) -> None:
        """Write until cancelled, or until Kafka fences this producer for another leader.

        Cancellation: the current round is written as a whole or not at all.
        """
        while True:
            producer = self._create_producer()
            try:
                await producer.start()
                await self._catch_up()
                await self._run_rounds(producer)
            except ProducerFenced:
                _log.info("another instance is the leader now")
                return
            except CLIENT_ERRORS as error:
                _log.debug("cannot write as the leader, retrying error=%r", error)
                await asyncio.sleep(_RETRY_SECONDS)
            finally:
                await stop_producer(producer, _STOP_TIMEOUT_SECONDS)

    async def _catch_up(self) -> None:
        """Read what earlier leaders committed. Our first transactional call has fenced them."""
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
            # Before the write: it may be read back before Kafka acknowledges it.
            self._presence_tracker.mark_published(changes)
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
        """Run the block in a transaction, with a time limit."""
        now = asyncio.get_running_loop().time
        transaction = producer.transaction() if self._is_transactional else nullcontext()
        async with asyncio.timeout(None) as deadline, transaction:
            try:
                async with asyncio.timeout(_TRANSACTION_TIMEOUT_SECONDS):
                    yield
            finally:  # if commit or abort times out, the next leader's first call aborts it
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
            # aiokafka refuses a record without key and value. Kafka has such records.
            value = (
                b"" if dead_letter.key is None and dead_letter.value is None else dead_letter.value
            )
            record = {"value": value, "key": dead_letter.key, "headers": dead_letter.headers}
            futures.append(ignore_exception(await producer.send(**destination, **record)))
        await asyncio.gather(*futures)
        # aiokafka would retry for ever to commit an offset of a deleted partition.
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
        """Topic, key and value of the lifecycle and state records that publish `changes`."""
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
