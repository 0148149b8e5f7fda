"""A published change may be read back at any time, even before Kafka acknowledges it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

from bridge.coordination.dead_letters import DeadLetterQueue
from bridge.coordination.leader_tasks import LeaderTasks
from bridge.coordination.topics import BridgeTopics
from bridge.core.coordination import state_records
from bridge.core.coordination.presence import PresenceTracker
from bridge.core.protocol.topic_catalogue import NO_TOPICS
from bridge.kafka.client.client import KafkaAccess
from bridge.kafka.partitions import AssignedPartitions
from tests.core.state_record_factories import alive_record, gone_record, present_record
from tests.kafka.memory_kafka import MemoryKafkaClient
from tests.web.in_process_bridge import ConsumerRecord, wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest

OWN = BridgeTopics("push-bridge")


class PromptProducer:
    """A producer whose records are read back before they are acknowledged."""

    def __init__(self, tracker: PresenceTracker) -> None:
        self._tracker = tracker
        self._said: list[tuple[bytes, bytes | None]] = []
        self.lifecycle_values: list[bytes | None] = []

    async def start(self) -> None: ...
    async def flush(self) -> None: ...
    async def stop(self) -> None: ...

    async def send(
        self, topic: str, value: bytes | None, *, key: bytes, partition: int
    ) -> asyncio.Future[None]:
        assert partition == 0
        if topic == OWN.state:
            self._said.append((key, value))
        else:
            self.lifecycle_values.append(value)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        yield
        for key, value in self._said:
            record = ConsumerRecord(0, 0, key, value, ())
            self._tracker.apply(state_records.decode(record), time.monotonic())
        self._said.clear()


async def test_a_room_published_as_occupied_can_be_vacated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bridge.core.coordination.presence.VACATED_AFTER_SECONDS", 0.0)
    monkeypatch.setattr("bridge.coordination.leader_tasks.ROUND_INTERVAL_SECONDS", 0.001)
    tracker = PresenceTracker()
    producer = PromptProducer(tracker)
    leader_tasks = LeaderTasks(
        KafkaAccess("127.0.0.1:1", {}),
        MemoryKafkaClient(),
        OWN,
        tracker,
        DeadLetterQueue(NO_TOPICS),
        dead_letters_per_second=0,
        is_current=lambda: True,
        consumer_positions=AssignedPartitions([]),
    )
    monkeypatch.setattr(leader_tasks, "_create_producer", lambda: producer)
    monkeypatch.setattr(leader_tasks, "_catch_up", lambda: asyncio.sleep(0))
    working = asyncio.create_task(leader_tasks.run())
    try:
        for fact in alive_record(), present_record("c1", ("hall",)):
            tracker.apply(fact, time.monotonic())
        await wait_until(lambda: len(producer.lifecycle_values) == 1)
        tracker.apply(gone_record("c1"), time.monotonic())
        await wait_until(lambda: len(producer.lifecycle_values) == 2)
    finally:
        working.cancel()
        await asyncio.wait([working])
    assert producer.lifecycle_values == [
        b'{"type":"occupied","data":{"room":"hall"}}',
        b'{"type":"vacated","data":{"room":"hall"}}',
    ]
