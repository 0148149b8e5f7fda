"""How far an instance has read, told to Kafka: what moved, and again where that failed."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING

import pytest

from bridge.kafka import consumer as committing
from bridge.kafka.client.client import Description, Partition
from bridge.kafka.consumer import Commits
from bridge.kafka.partitions import Partitions
from tests.kafka.memory import MemoryCluster

if TYPE_CHECKING:
    from collections.abc import Mapping

T = Partition("t", 0)


class Register(MemoryCluster):
    """Writes down what is committed; fails, or never answers, when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.heard_of: list[dict[Partition, int]] = []
        self.silent = False
        self.heard = asyncio.Event()

    async def commit(self, group: str, offsets: Mapping[Partition, int]) -> None:
        assert group == "group"
        self.heard.set()
        if self.silent:
            await asyncio.Event().wait()
        if self.down:
            raise TimeoutError("no broker answers")
        self.heard_of.append(dict(offsets))


@pytest.fixture
def partitions() -> Partitions:
    made = Partitions(["t"])
    made.follow({"t": Description(uuid.uuid4(), {0: 0})})
    made.begin(T, 5, 0)
    return made


async def test_what_could_not_be_committed_is_committed_later(partitions):
    register = Register()
    commits = Commits(register, "group", partitions)
    register.down = True
    await commits.last()
    assert partitions.uncommitted() == {T: 5}
    register.down = False
    partitions.readings[T].offset = 7
    await commits.last()
    await commits.last()
    assert register.heard_of == [{T: 7}], "once, and the newest"


async def test_a_broker_that_is_away_does_not_end_the_commits(partitions, monkeypatch):
    monkeypatch.setattr(committing, "COMMIT_SECONDS", 0.01)
    register = Register()
    register.down = True
    running = asyncio.create_task(Commits(register, "group", partitions).run())
    try:
        async with asyncio.timeout(20):
            await register.heard.wait()
            register.down = False
            while not register.heard_of:
                register.heard.clear()
                await register.heard.wait()
    finally:
        running.cancel()
    assert register.heard_of[0] == {T: 5}


async def test_the_last_commit_does_not_wait_for_ever(partitions, monkeypatch):
    monkeypatch.setattr(committing, "_LAST_COMMIT_SECONDS", 0.05)
    register = Register()
    register.silent = True
    async with asyncio.timeout(20):
        await Commits(register, "group", partitions).last()
    assert register.heard.is_set()
    assert register.heard_of == []
