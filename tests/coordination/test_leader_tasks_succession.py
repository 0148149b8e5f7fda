"""One leader after another: the next continues where the last one ended."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from aiokafka import AIOKafkaProducer

from bridge.coordination import leader_tasks as leader_tasks_module
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


class CommitGate:
    """Blocks the commit of a transaction."""

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

    def open(self) -> None:
        self._free.set()


async def lose_connections(bootstrap: str, own: BridgeTopics, *ids: str) -> None:
    """Write connections of an earlier boot, which are lost."""
    clients = [ConnectionPresence(id, "i1", "b1", "ann", "", SINCE) for id in ids]
    await write_state_records(bootstrap, own, *clients, InstanceHeartbeat("i1", "b2", SINCE, SINCE))


def queue_work(it: LeaderInstance, topic: str) -> None:
    """Queue a dead letter and a state update."""
    it.dead_letters.keep(make_dead_letter(topic, 0))
    it.leader_tasks.queue_state_update(
        0, state_records.record_key(TITLE), state_records.encode(TITLE)
    )


async def written(bootstrap: str, own: BridgeTopics) -> tuple[list[str], int, list[bytes]]:
    """Return the committed lifecycle records, the number of dead letters and the state keys."""
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
    gate = CommitGate(monkeypatch)
    async with running_instance(kafka.bootstrap, own, topic_name) as it:
        await lose_connections(kafka.bootstrap, own, "c1")
        await wait_until(lambda: it.presence.index.connections)
        queue_work(it, topic_name)
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
    gate = CommitGate(monkeypatch)
    async with (
        running_instance(kafka.bootstrap, own, topic_name) as it,
        running_instance(kafka.bootstrap, own, topic_name) as other,
    ):
        await lose_connections(kafka.bootstrap, own, "c1")
        for each in (it, other):
            await wait_until(lambda each=each: each.presence.index.connections)  # type: ignore[misc]
            queue_work(each, topic_name)
        async with leading(it) as first:
            await wait_until(lambda: gate.held)
            gate.shut = False
            async with leading(other):
                await wait_until_idle(other)
                assert await written(kafka.bootstrap, own) == WHOLE
                gate.open()
                async with asyncio.timeout(60):
                    await first  # it was fenced
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
        await lose_connections(kafka.bootstrap, own, "c1", "c2")
        for each in (it, other):
            await wait_until(lambda each=each: len(each.presence.index.connections) == 2)  # type: ignore[misc]
        other.cluster.may_return.clear()  # it does not read what the first publishes
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
        asked, known, leader_of = 0, False, it.leader_of

        def recorded_leader_of(partition: TopicPartition) -> int:
            nonlocal asked
            asked += partition.topic == own.state
            return leader_of(partition) if known else -1

        monkeypatch.setattr(it, "leader_of", recorded_leader_of)
        await lose_connections(kafka.bootstrap, own, "c1")
        await wait_until(lambda: it.presence.index.connections)
        async with leading(it) as leader:
            await wait_until(lambda: asked > 3 or it.presence._pending_since)
            assert (await read_lifecycle_notices(kafka.bootstrap, own), leader.done()) == (
                [],
                False,
            )
            known = True
            await wait_until_idle(it)
        assert await read_lifecycle_notices(kafka.bootstrap, own) == ["disconnected c1"]


async def test_a_topic_deleted_a_moment_ago_does_not_block_for_long(
    kafka: KafkaCluster, own: BridgeTopics, topic_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leader_tasks_module, "_TRANSACTION_TIMEOUT_SECONDS", 1.0)
    await create_topic(kafka.bootstrap, topic_name)
    async with running_instance(kafka.bootstrap, own, topic_name) as it:
        asked, known, leader_of = 0, False, it.leader_of

        def recorded_leader_of(partition: TopicPartition) -> int:
            nonlocal asked
            if partition.topic == topic_name:
                asked += 1
                return -1 if known else 0
            return leader_of(partition)

        monkeypatch.setattr(it, "leader_of", recorded_leader_of)
        await delete_topic(kafka.bootstrap, topic_name)
        async with leading(it):
            it.dead_letters.keep(make_dead_letter(topic_name, 0))
            await wait_until(lambda: asked > 1)  # it has retried
            assert await read_dead_letters(kafka.bootstrap, own) == []
            known = True
            await wait_until_idle(it)
        assert len(await read_dead_letters(kafka.bootstrap, own)) == 1


@pytest.fixture(scope="module")
def broker() -> Iterator[KafkaCluster]:
    """A broker that tests stop and start."""
    with KafkaCluster() as cluster:
        yield cluster


async def test_an_outage_during_a_round_loses_nothing_and_does_not_delay_the_stop(
    broker: KafkaCluster, own: BridgeTopics, topic_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await create_topic(broker.bootstrap, topic_name)
    gate = CommitGate(monkeypatch)
    async with running_instance(broker.bootstrap, own, topic_name) as it:
        await lose_connections(broker.bootstrap, own, "c1")
        await wait_until(lambda: it.presence.index.connections)
        queue_work(it, topic_name)
        async with leading(it) as leader:
            await wait_until(lambda: gate.held)
            await asyncio.to_thread(broker.kill, 0)
            leader.cancel()
            async with asyncio.timeout(60):
                await asyncio.wait([leader])
        left = [task.get_coro().__qualname__ for task in asyncio.all_tasks()]  # type: ignore[union-attr]
        assert not [name for name in left if "Sender" in name or "Accumulator" in name], left
        gate.shut = False
        async with leading(it):
            await asyncio.to_thread(broker.start, 0)
            await wait_until_idle(it)
        assert await written(broker.bootstrap, own) == WHOLE
