"""What the steward has told may be read back at any time, even before Kafka has answered it."""

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


class Prompt:
    """A producer whose records are read by everybody before it has heard that they are written."""

    def __init__(self, census: PresenceTracker) -> None:
        self._census = census
        self._said: list[tuple[bytes, bytes | None]] = []
        self.notices: list[bytes | None] = []

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
            self.notices.append(value)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        yield
        for key, value in self._said:
            record = ConsumerRecord(0, 0, key, value, ())
            self._census.apply(state_records.decode(record), time.monotonic())
        self._said.clear()


async def test_a_room_published_as_occupied_can_be_vacated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bridge.core.coordination.presence.VACATED_AFTER_SECONDS", 0.0)
    monkeypatch.setattr("bridge.coordination.leader_tasks.ROUND_INTERVAL_SECONDS", 0.001)
    census = PresenceTracker()
    producer = Prompt(census)
    steward = LeaderTasks(
        KafkaAccess("127.0.0.1:1", {}),
        MemoryKafkaClient(),
        OWN,
        census,
        DeadLetterQueue(NO_TOPICS),
        dead_letters_per_second=0,
        is_current=lambda: True,
        consumer_positions=AssignedPartitions([]),
    )
    monkeypatch.setattr(steward, "_create_producer", lambda: producer)
    monkeypatch.setattr(steward, "_catch_up", lambda: asyncio.sleep(0))
    working = asyncio.create_task(steward.run())
    try:
        for fact in alive_record(), present_record("c1", ("hall",)):
            census.apply(fact, time.monotonic())
        await wait_until(lambda: len(producer.notices) == 1)
        census.apply(gone_record("c1"), time.monotonic())
        await wait_until(lambda: len(producer.notices) == 2)
    finally:
        working.cancel()
        await asyncio.wait([working])
    assert producer.notices == [
        b'{"type":"occupied","data":{"room":"hall"}}',
        b'{"type":"vacated","data":{"room":"hall"}}',
    ]
