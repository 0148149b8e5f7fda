"""What the steward has told may be read back at any time, even before Kafka has answered it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

from bridge.coordination.dead_letters import Letters
from bridge.coordination.leader_tasks import Steward
from bridge.coordination.topics import Own
from bridge.core.coordination import state_records
from bridge.core.coordination.presence import Census
from bridge.kafka.client.client import Access
from bridge.kafka.partitions import Partitions
from tests.core.facts import alive, gone, present
from tests.kafka.memory import MemoryCluster
from tests.web.rig import Record, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest

OWN = Own("push-bridge")


class Prompt:
    """A producer whose records are read by everybody before it has heard that they are written."""

    def __init__(self, census: Census) -> None:
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
            record = Record(0, 0, key, value, ())
            self._census.load(state_records.read(record), time.monotonic())
        self._said.clear()


async def test_a_room_that_was_told_occupied_can_be_vacated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bridge.core.coordination.presence.EMPTY_SECONDS", 0.0)
    monkeypatch.setattr("bridge.coordination.leader_tasks.TICK_SECONDS", 0.001)
    census = Census()
    producer = Prompt(census)
    steward = Steward(
        Access("127.0.0.1:1", {}),
        MemoryCluster(),
        OWN,
        census,
        Letters(),
        letters_per_second=0,
        current=lambda: True,
        feed=Partitions([]),
    )
    monkeypatch.setattr(steward, "_producer", lambda: producer)
    monkeypatch.setattr(steward, "_catch_up", lambda: asyncio.sleep(0))
    working = asyncio.create_task(steward.run())
    try:
        for fact in alive(), present("c1", ("hall",)):
            census.load(fact, time.monotonic())
        await until(lambda: len(producer.notices) == 1)
        census.load(gone("c1"), time.monotonic())
        await until(lambda: len(producer.notices) == 2)
    finally:
        working.cancel()
        await asyncio.wait([working])
    assert producer.notices == [
        b'{"type":"occupied","data":{"room":"hall"}}',
        b'{"type":"vacated","data":{"room":"hall"}}',
    ]
