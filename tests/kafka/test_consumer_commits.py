"""How far an instance has read, told to Kafka: what moved, and again where that failed."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING

import pytest
from aiokafka import errors

from bridge.kafka import consumer as committing
from bridge.kafka.client.client import TopicDescription, TopicPartition
from bridge.kafka.consumer import Consumer, OffsetCommitter
from bridge.kafka.partitions import AssignedPartitions
from tests.kafka.memory_kafka import MemoryKafkaClient
from tests.kafka.recording_sink import RecordingSink

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TopicPartition("t", 0)


class Register(MemoryKafkaClient):
    """Writes down what is committed; fails, or never answers, when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.heard_of: list[dict[TopicPartition, int]] = []
        self.silent = False
        self.deleted: list[str] = []
        self.deletion_error: Exception | None = None
        self.heard = asyncio.Event()

    async def delete_group(self, group: str) -> None:
        self.deleted.append(group)
        if self.silent:
            await asyncio.Event().wait()
        if self.deletion_error is not None:
            raise self.deletion_error

    async def commit(self, group: str, offsets: Mapping[TopicPartition, int]) -> None:
        assert group == "group"
        self.heard.set()
        if self.silent:
            await asyncio.Event().wait()
        if self.is_down:
            raise TimeoutError("no broker answers")
        self.heard_of.append(dict(offsets))


@pytest.fixture
def partitions() -> AssignedPartitions:
    made = AssignedPartitions(["t"])
    made.update_metadata({"t": TopicDescription(uuid.uuid4(), {0: 0})})
    made.start(T, 5, 0)
    return made


async def test_what_could_not_be_committed_is_committed_later(partitions):
    register = Register()
    commits = OffsetCommitter(register, "group", partitions)
    register.is_down = True
    await commits.commit()
    assert partitions.uncommitted_offsets() == {T: 5}
    register.is_down = False
    partitions.states[T].offset = 7
    await commits.commit()
    await commits.commit()
    assert register.heard_of == [{T: 7}], "once, and the newest"


async def test_a_broker_that_is_away_does_not_end_the_commits(partitions, monkeypatch):
    monkeypatch.setattr(committing, "COMMIT_INTERVAL_SECONDS", 0.01)
    register = Register()
    register.is_down = True
    running = asyncio.create_task(OffsetCommitter(register, "group", partitions).run())
    try:
        async with asyncio.timeout(20):
            await register.heard.wait()
            register.is_down = False
            while not register.heard_of:
                register.heard.clear()
                await register.heard.wait()
    finally:
        running.cancel()
    assert register.heard_of[0] == {T: 5}


@pytest.mark.parametrize(
    ("error", "logged"),
    [
        (None, ""),
        (errors.GroupAuthorizationFailedError(), "Delete on Group group"),
        (errors.NonEmptyGroup(), ""),
        (TimeoutError(), ""),
    ],
)
async def test_the_group_is_deleted_at_the_end(partitions, caplog, error, logged):
    register = Register()
    register.deletion_error = error
    await OffsetCommitter(register, "group", partitions).delete_group()
    assert register.deleted == ["group"]
    assert logged in caplog.text
    assert len(caplog.records) == bool(logged)


async def test_deleting_the_group_does_not_wait_for_ever(partitions, monkeypatch):
    monkeypatch.setattr(committing, "_DELETE_GROUP_SECONDS", 0.05)
    register = Register()
    register.silent = True
    async with asyncio.timeout(20):
        await OffsetCommitter(register, "group", partitions).delete_group()
    assert register.deleted == ["group"]


@pytest.mark.parametrize("group", ["group", None])
async def test_without_a_group_nothing_is_committed_or_deleted(group, monkeypatch):
    monkeypatch.setattr(committing, "COMMIT_INTERVAL_SECONDS", 0.01)
    register = Register()
    register.create("t")
    consumer = Consumer(register, group, {"t": "t"}, RecordingSink())
    running = asyncio.create_task(consumer.run())
    async with asyncio.timeout(20):
        await consumer.ready.wait()
        if group is not None:
            await register.heard.wait()
    await asyncio.sleep(0.05)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert bool(register.heard_of) == bool(register.deleted) == (group is not None)
