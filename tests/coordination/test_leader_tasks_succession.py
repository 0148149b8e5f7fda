"""One instance after another on duty: what one has begun or written, the next neither misses."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from aiokafka import AIOKafkaProducer

from bridge.coordination import leader_tasks as stewarding
from bridge.coordination.topics import BridgeTopics
from bridge.core.coordination import state_records
from bridge.core.coordination.state_records import ConnectionPresence, InstanceHeartbeat, Occupancy
from tests.coordination.leader_instance import (
    LeaderInstance,
    leading,
    make_dead_letter,
    read_dead_letters,
    read_lifecycle_notices,
    running_instance,
    wait_until_idle,
    write_state_records,
)
from tests.core.state_record_factories import SINCE
from tests.harness.admin import create_topic, delete_topic, fresh_name
from tests.harness.kafka_cluster import KafkaCluster
from tests.kafka.held_replays import wait_until
from tests.kafka.topic_reader import read_records

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.kafka.client.client import TopicPartition

pytestmark = pytest.mark.kafka

TITLE = state_records.RoomTitle("hall", "Hall")


@pytest.fixture
def own() -> BridgeTopics:
    return BridgeTopics(fresh_name("prefix"))


@pytest.fixture(autouse=True)
def nobody_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.core.coordination.presence.INSTANCE_TIMEOUT_SECONDS", 1000.0)


class Gate:
    """Holds up whoever is about to commit what it has written."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.held = 0
        self.shut = True
        self._free = asyncio.Event()
        commit = AIOKafkaProducer.send_offsets_to_transaction

        async def held_up(producer: AIOKafkaProducer, *arguments: object) -> None:
            if self.shut:
                self.held += 1
                await self._free.wait()
            await commit(producer, *arguments)

        monkeypatch.setattr(AIOKafkaProducer, "send_offsets_to_transaction", held_up)

    def let_go(self) -> None:
        self._free.set()


async def lose(bootstrap: str, own: BridgeTopics, *ids: str) -> None:
    """Let these be lost: they were connected to an earlier boot of an instance."""
    clients = [ConnectionPresence(id, "i1", "b1", "ann", "", SINCE) for id in ids]
    await write_state_records(bootstrap, own, *clients, InstanceHeartbeat("i1", "b2", SINCE, SINCE))


def work(it: LeaderInstance, topic: str) -> None:
    """Give it one of each."""
    it.dead_letters.keep(make_dead_letter(topic, 0))
    it.leader_tasks.queue_state_update(
        0, state_records.record_key(TITLE), state_records.encode(TITLE)
    )


async def written(bootstrap: str, own: BridgeTopics) -> tuple[list[str], int, list[bytes]]:
    """What a reader sees: what was told, how many letters, and the keys of facts."""
    facts = [it.key for it in await read_records(bootstrap, own.state)]
    ours = [key for key in facts if key in {b"folded", state_records.record_key(TITLE)}]
    return (
        await read_lifecycle_notices(bootstrap, own),
        len(await read_dead_letters(bootstrap, own)),
        ours,
    )


WHOLE = (["disconnected c1"], 1, [state_records.record_key(TITLE), b"folded"])


async def test_an_aborted_round_is_not_written(
    kafka: KafkaCluster, own: BridgeTopics, topic_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await create_topic(kafka.bootstrap, topic_name)
    gate = Gate(monkeypatch)
    async with running_instance(kafka.bootstrap, own, topic_name) as it:
        await lose(kafka.bootstrap, own, "c1")
        await wait_until(lambda: it.presence.index.connections)
        work(it, topic_name)
        async with leading(it):
            await wait_until(lambda: gate.held)
            assert await written(kafka.bootstrap, own) == ([], 0, [])
            assert await it.cluster.committed(own.dead_letters) == {}
        assert await written(kafka.bootstrap, own) == ([], 0, [])
        gate.shut = False
        async with leading(it):
            await wait_until_idle(it)
        assert await written(kafka.bootstrap, own) == WHOLE


async def test_a_new_leader_aborts_the_open_transaction_and_fences_the_paused_one(
    kafka: KafkaCluster, own: BridgeTopics, topic_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await create_topic(kafka.bootstrap, topic_name)
    gate = Gate(monkeypatch)
    async with (
        running_instance(kafka.bootstrap, own, topic_name) as it,
        running_instance(kafka.bootstrap, own, topic_name) as other,
    ):
        await lose(kafka.bootstrap, own, "c1")
        for each in (it, other):
            await wait_until(lambda each=each: each.presence.index.connections)  # type: ignore[misc]
            work(each, topic_name)
        async with leading(it) as first:
            await wait_until(lambda: gate.held)
            gate.shut = False
            async with leading(other):
                await wait_until_idle(other)
                assert await written(kafka.bootstrap, own) == WHOLE
                gate.let_go()
                async with asyncio.timeout(60):
                    await first  # it has learnt that somebody else is on duty
        assert it.leader_tasks.dead_letters_written == 0
    assert await written(kafka.bootstrap, own) == WHOLE


async def test_a_new_leader_reads_what_was_published_before_it_publishes(
    kafka: KafkaCluster, own: BridgeTopics, topic_name: str
) -> None:
    await create_topic(kafka.bootstrap, topic_name)
    async with (
        running_instance(kafka.bootstrap, own, topic_name) as it,
        running_instance(kafka.bootstrap, own, topic_name) as other,
    ):
        await write_state_records(kafka.bootstrap, own, Occupancy("room", "hall"))
        await lose(kafka.bootstrap, own, "c1", "c2")
        for each in (it, other):
            await wait_until(lambda each=each: len(each.presence.index.connections) == 2)  # type: ignore[misc]
        other.cluster.may_return.clear()  # it reads nothing of what the first tells
        async with leading(it):
            await wait_until(lambda: not it.presence.published_occupied)
            await wait_until_idle(it)
        expected = ["disconnected c1", "disconnected c2", "vacated hall"]
        assert await read_lifecycle_notices(kafka.bootstrap, own) == expected
        other.dead_letters.keep(make_dead_letter(topic_name, 0))
        async with leading(other):
            await wait_until(
                lambda: other.position_request_count > 3 or other.leader_tasks.dead_letters_written
            )
            other.cluster.may_return.set()
            await wait_until_idle(other)
        assert await read_lifecycle_notices(kafka.bootstrap, own) == expected
        assert len(await read_dead_letters(kafka.bootstrap, own)) == 1


async def test_a_new_leader_waits_until_it_knows_the_end_of_the_state_topic(
    kafka: KafkaCluster, own: BridgeTopics, topic_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await create_topic(kafka.bootstrap, topic_name)
    async with running_instance(kafka.bootstrap, own, topic_name) as it:
        asked, known, leader = 0, False, it.leader_of

        def led(partition: TopicPartition) -> int:
            nonlocal asked
            asked += partition.topic == own.state
            return leader(partition) if known else -1

        monkeypatch.setattr(it, "leader_of", led)
        await lose(kafka.bootstrap, own, "c1")
        await wait_until(lambda: it.presence.index.connections)
        async with leading(it) as duty:
            await wait_until(lambda: asked > 3 or it.presence._pending_since)
            assert (await read_lifecycle_notices(kafka.bootstrap, own), duty.done()) == ([], False)
            known = True
            await wait_until_idle(it)
        assert await read_lifecycle_notices(kafka.bootstrap, own) == ["disconnected c1"]


async def test_a_topic_deleted_a_moment_ago_does_not_block_for_long(
    kafka: KafkaCluster, own: BridgeTopics, topic_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stewarding, "_TRANSACTION_TIMEOUT_SECONDS", 1.0)
    await create_topic(kafka.bootstrap, topic_name)
    async with running_instance(kafka.bootstrap, own, topic_name) as it:
        asked, known, leader = 0, False, it.leader_of

        def led(partition: TopicPartition) -> int:
            nonlocal asked
            if partition.topic == topic_name:
                asked += 1
                return -1 if known else 0
            return leader(partition)

        monkeypatch.setattr(it, "leader_of", led)
        await delete_topic(kafka.bootstrap, topic_name)
        async with leading(it):
            it.dead_letters.keep(make_dead_letter(topic_name, 0))
            await wait_until(lambda: asked > 1)  # it has tried again
            assert await read_dead_letters(kafka.bootstrap, own) == []
            known = True
            await wait_until_idle(it)
        assert len(await read_dead_letters(kafka.bootstrap, own)) == 1


@pytest.fixture(scope="module")
def broker() -> Iterator[KafkaCluster]:
    """One that tests stop and start."""
    with KafkaCluster() as cluster:
        yield cluster


async def test_an_outage_during_a_round_loses_nothing_and_does_not_delay_the_stop(
    broker: KafkaCluster, own: BridgeTopics, topic_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await create_topic(broker.bootstrap, topic_name)
    gate = Gate(monkeypatch)
    async with running_instance(broker.bootstrap, own, topic_name) as it:
        await lose(broker.bootstrap, own, "c1")
        await wait_until(lambda: it.presence.index.connections)
        work(it, topic_name)
        async with leading(it) as duty:
            await wait_until(lambda: gate.held)
            await asyncio.to_thread(broker.kill, 0)
            duty.cancel()
            async with asyncio.timeout(60):
                await asyncio.wait([duty])
        left = [task.get_coro().__qualname__ for task in asyncio.all_tasks()]  # type: ignore[union-attr]
        assert not [name for name in left if "Sender" in name or "Accumulator" in name], left
        gate.shut = False
        async with leading(it):
            await asyncio.to_thread(broker.start, 0)
            await wait_until_idle(it)
        assert await written(broker.bootstrap, own) == WHOLE
