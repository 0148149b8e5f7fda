"""One instance's part on duty, on a real Kafka: its feed of the state topic, and its steward.

The rule kept here: what it knows of others is what its own feed has read.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import TYPE_CHECKING, Any

from bridge.coordination.dead_letters import DeadLetter, DeadLetterQueue
from bridge.coordination.leader_tasks import LeaderTasks
from bridge.coordination.topics import BridgeTopics, create_topics
from bridge.core.coordination import presence, state_records
from bridge.core.coordination.presence import PresenceTracker
from bridge.core.protocol.topic_catalogue import NO_TOPICS
from bridge.kafka.client.client import REQUEST_ERRORS, BrokerConnection, KafkaClient, TopicPartition
from bridge.kafka.consumer import Consumer
from tests.harness.admin import RecordToProduce, fresh_name, produce
from tests.kafka.held_replays import wait_until
from tests.kafka.recording_sink import plaintext_access
from tests.kafka.topic_reader import read_records

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from bridge.core.coordination.state_records import StateRecord
    from bridge.core.protocol.record import Batch
    from bridge.kafka.client.client import KafkaAccess


class HeldConsumerClient(KafkaClient):
    """A client whose fetches do not return while `may_return` is cleared."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.may_return = asyncio.Event()
        self.may_return.set()

    async def fetch(
        self, *arguments: Any, connection: BrokerConnection = BrokerConnection.CONSUMER, **more: Any
    ) -> Any:
        answer = await super().fetch(*arguments, connection=connection, **more)
        await self.may_return.wait()
        return answer


class LeaderInstance:
    """An instance with a consumer of the state topic, and leader tasks."""

    def __init__(
        self, access: KafkaAccess, own_topics: BridgeTopics, *topics: str, letters_per_second: int
    ) -> None:
        self.topics = own_topics
        self.cluster = HeldConsumerClient(access)
        self.presence = PresenceTracker(presence.INSTANCE_TIMEOUT_SECONDS)
        self.dead_letters = DeadLetterQueue(NO_TOPICS)
        self.position_request_count = 0  #: how often it was asked how far the state was read
        self.is_current = True
        names = {topic: topic for topic in (own_topics.state, *topics)}
        group = fresh_name("group")
        self.consumer = Consumer(
            self.cluster, group, names, self, from_beginning=(own_topics.state,)
        )
        self.leader_tasks = LeaderTasks(
            access,
            self.cluster,
            own_topics,
            self.presence,
            self.dead_letters,
            dead_letters_per_second=letters_per_second,
            is_current=lambda: self.is_current,
            consumer_positions=self,
        )

    # -- ConsumerPositions ----------------------------------------------------------------------

    def leader_of(self, partition: TopicPartition) -> int:
        return self.consumer.partitions.leader_of(partition)

    def position(self, partition: TopicPartition) -> int:
        self.position_request_count += 1
        return self.consumer.partitions.position(partition)

    # -- RecordSink -----------------------------------------------------------------------------

    def start_reading(self, topic: str, topic_id: bytes, offsets: Mapping[int, int]) -> None:
        pass

    def report_gap(self, topic: str, reason: str, offsets: Mapping[int, int]) -> None:
        raise AssertionError((topic, reason, offsets))

    def set_waiting(
        self, topic: str, topic_id: bytes, since: Mapping[int, float], unread: Mapping[int, int]
    ) -> None:
        pass

    def deactivate(self, topic: str, topic_id: bytes) -> None:
        raise AssertionError((topic, topic_id))

    async def deliver(self, batches: Sequence[Batch]) -> None:
        for batch in batches:
            for record in batch.records if batch.topic == self.topics.state else ():
                fact = state_records.decode(record)
                if isinstance(fact, state_records.Checkpoint):
                    self.leader_tasks.apply_checkpoint(fact.offset)
                self.presence.apply(fact, time.monotonic())


@contextlib.asynccontextmanager
async def running_instance(
    bootstrap: str | KafkaAccess,
    own_topics: BridgeTopics,
    *topics: str,
    letters_per_second: int = 1000,
) -> AsyncIterator[LeaderInstance]:
    """An instance that consumes and does not lead. The bridge's own topics exist."""
    access = plaintext_access(bootstrap) if isinstance(bootstrap, str) else bootstrap
    instance = LeaderInstance(access, own_topics, *topics, letters_per_second=letters_per_second)
    await instance.cluster.connect()
    await create_topics(instance.cluster, access, own_topics)
    task = asyncio.create_task(instance.consumer.run())
    try:
        async with asyncio.timeout(60):
            await instance.consumer.ready.wait()
        yield instance
    finally:
        instance.cluster.may_return.set()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, *REQUEST_ERRORS):
            await task
        await instance.cluster.close()


@contextlib.asynccontextmanager
async def leading(instance: LeaderInstance) -> AsyncIterator[asyncio.Task[None]]:
    """Run its leader tasks."""
    task = asyncio.create_task(instance.leader_tasks.run())
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def make_dead_letter(
    topic: str, offset: int, value: bytes | None = b"?", key: bytes | None = b"key"
) -> DeadLetter:
    headers: list[tuple[str, bytes | None]] = [("x", None), ("dead-reason", b"bad_id")]
    return DeadLetter(TopicPartition(topic, 0), offset, key, value, headers)


async def write_state_records(
    bootstrap: str, own_topics: BridgeTopics, *facts: StateRecord
) -> None:
    """Write state records, as instances do."""
    messages = [
        RecordToProduce(state_records.encode(fact), state_records.record_key(fact), partition=0)
        for fact in facts
    ]
    await produce(bootstrap, own_topics.state, messages)


async def read_lifecycle_notices(bootstrap: str, own_topics: BridgeTopics) -> list[str]:
    """Return the lifecycle records in short: `disconnected c1`, `occupied hall`."""
    notices = [json.loads(it.value) for it in await read_records(bootstrap, own_topics.lifecycle)]
    place_names = ("connection", "room", "topic")
    return [
        f"{it['type']} {next(it['data'][word] for word in place_names if word in it['data'])}"
        for it in notices
    ]


async def read_dead_letters(bootstrap: str, own_topics: BridgeTopics) -> list[bytes | None]:
    """Return the values of the dead letters."""
    return [it.value for it in await read_records(bootstrap, own_topics.dead_letters)]


async def wait_until_idle(instance: LeaderInstance) -> None:
    """Wait until everything is written and read back."""
    idle_rounds = 0
    original_due = instance.presence.due_changes

    def counting_due(now: float) -> Any:
        nonlocal idle_rounds
        findings = original_due(now)
        has_work = (
            any(findings)
            or instance.leader_tasks._pending_updates
            or instance.dead_letters.peek(1)
            or instance.presence._pending_since
        )
        idle_rounds = 0 if has_work else idle_rounds + 1
        return findings

    instance.presence.due_changes = counting_due  # type: ignore[method-assign]
    try:
        await wait_until(lambda: idle_rounds >= 3)
    finally:
        instance.presence.due_changes = original_due  # type: ignore[method-assign]
