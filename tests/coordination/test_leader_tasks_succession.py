"""One instance after another on duty: what one has begun or written, the next neither misses."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from aiokafka import AIOKafkaProducer

from bridge.coordination import leader_tasks as stewarding
from bridge.coordination.topics import Own
from bridge.core.coordination import state_records
from bridge.core.coordination.state_records import Alive, Occupied, Present
from tests.core.facts import SINCE
from tests.harness.admin import create_topic, delete_topic, fresh_name
from tests.harness.kafka_cluster import KafkaCluster
from tests.kafka.deputy import Deputy, buried, dead, idle, listening, on_duty, say, told
from tests.kafka.pacing import until
from tests.kafka.reading import records

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.kafka.client.client import Partition

pytestmark = pytest.mark.kafka

TITLE = state_records.Title("hall", "Hall")


@pytest.fixture
def own() -> Own:
    return Own(fresh_name("prefix"))


@pytest.fixture(autouse=True)
def nobody_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.core.coordination.presence.SILENT_SECONDS", 1000.0)


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


async def lose(bootstrap: str, own: Own, *ids: str) -> None:
    """Let these be lost: they were connected to an earlier boot of an instance."""
    clients = [Present(id, "i1", "b1", "ann", "", SINCE) for id in ids]
    await say(bootstrap, own, *clients, Alive("i1", "b2", SINCE, SINCE))


def work(it: Deputy, topic: str) -> None:
    """Give it one of each."""
    it.letters.keep(dead(topic, 0))
    it.steward.keep_lasting(0, state_records.key(TITLE), state_records.write(TITLE))


async def written(bootstrap: str, own: Own) -> tuple[list[str], int, list[bytes]]:
    """What a reader sees: what was told, how many letters, and the keys of facts."""
    facts = [it.key for it in await records(bootstrap, own.state)]
    ours = [key for key in facts if key in {b"folded", state_records.key(TITLE)}]
    return await told(bootstrap, own), len(await buried(bootstrap, own)), ours


WHOLE = (["disconnected c1"], 1, [state_records.key(TITLE), b"folded"])


async def test_a_round_that_is_cut_off_was_never_written(
    kafka: KafkaCluster, own: Own, topic_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await create_topic(kafka.bootstrap, topic_name)
    gate = Gate(monkeypatch)
    async with listening(kafka.bootstrap, own, topic_name) as it:
        await lose(kafka.bootstrap, own, "c1")
        await until(lambda: it.census.roster.connections)
        work(it, topic_name)
        async with on_duty(it):
            await until(lambda: gate.held)
            assert await written(kafka.bootstrap, own) == ([], 0, [])
            assert await it.cluster.committed(own.dead_letters) == {}
        assert await written(kafka.bootstrap, own) == ([], 0, [])
        gate.shut = False
        async with on_duty(it):
            await idle(it)
        assert await written(kafka.bootstrap, own) == WHOLE


async def test_a_successor_ends_what_was_begun_and_who_was_paused_writes_nothing_more(
    kafka: KafkaCluster, own: Own, topic_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await create_topic(kafka.bootstrap, topic_name)
    gate = Gate(monkeypatch)
    async with (
        listening(kafka.bootstrap, own, topic_name) as it,
        listening(kafka.bootstrap, own, topic_name) as other,
    ):
        await lose(kafka.bootstrap, own, "c1")
        for each in (it, other):
            await until(lambda each=each: each.census.roster.connections)  # type: ignore[misc]
            work(each, topic_name)
        async with on_duty(it) as first:
            await until(lambda: gate.held)
            gate.shut = False
            async with on_duty(other):
                await idle(other)
                assert await written(kafka.bootstrap, own) == WHOLE
                gate.let_go()
                async with asyncio.timeout(60):
                    await first  # it has learnt that somebody else is on duty
        assert it.steward.written_letters == 0
    assert await written(kafka.bootstrap, own) == WHOLE


async def test_a_successor_reads_what_was_told_before_it_tells(
    kafka: KafkaCluster, own: Own, topic_name: str
) -> None:
    await create_topic(kafka.bootstrap, topic_name)
    async with (
        listening(kafka.bootstrap, own, topic_name) as it,
        listening(kafka.bootstrap, own, topic_name) as other,
    ):
        await say(kafka.bootstrap, own, Occupied("room", "hall"))
        await lose(kafka.bootstrap, own, "c1", "c2")
        for each in (it, other):
            await until(lambda each=each: len(each.census.roster.connections) == 2)  # type: ignore[misc]
        other.cluster.free.clear()  # it reads nothing of what the first tells
        async with on_duty(it):
            await until(lambda: not it.census.told)
            await idle(it)
        expected = ["disconnected c1", "disconnected c2", "vacated hall"]
        assert await told(kafka.bootstrap, own) == expected
        other.letters.keep(dead(topic_name, 0))
        async with on_duty(other):
            await until(lambda: other.asked > 3 or other.steward.written_letters)
            other.cluster.free.set()
            await idle(other)
        assert await told(kafka.bootstrap, own) == expected
        assert len(await buried(kafka.bootstrap, own)) == 1


async def test_a_successor_waits_until_it_knows_how_far_it_has_to_read(
    kafka: KafkaCluster, own: Own, topic_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await create_topic(kafka.bootstrap, topic_name)
    async with listening(kafka.bootstrap, own, topic_name) as it:
        asked, known, leader = 0, False, it.leader

        def led(partition: Partition) -> int:
            nonlocal asked
            asked += partition.topic == own.state
            return leader(partition) if known else -1

        monkeypatch.setattr(it, "leader", led)
        await lose(kafka.bootstrap, own, "c1")
        await until(lambda: it.census.roster.connections)
        async with on_duty(it) as duty:
            await until(lambda: asked > 3 or it.census._awaited)
            assert (await told(kafka.bootstrap, own), duty.done()) == ([], False)
            known = True
            await idle(it)
        assert await told(kafka.bootstrap, own) == ["disconnected c1"]


async def test_a_topic_that_was_deleted_a_moment_ago_blocks_nothing_for_long(
    kafka: KafkaCluster, own: Own, topic_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stewarding, "_ROUND_SECONDS", 1.0)
    await create_topic(kafka.bootstrap, topic_name)
    async with listening(kafka.bootstrap, own, topic_name) as it:
        asked, known, leader = 0, False, it.leader

        def led(partition: Partition) -> int:
            nonlocal asked
            if partition.topic == topic_name:
                asked += 1
                return -1 if known else 0
            return leader(partition)

        monkeypatch.setattr(it, "leader", led)
        await delete_topic(kafka.bootstrap, topic_name)
        async with on_duty(it):
            it.letters.keep(dead(topic_name, 0))
            await until(lambda: asked > 1)  # it has tried again
            assert await buried(kafka.bootstrap, own) == []
            known = True
            await idle(it)
        assert len(await buried(kafka.bootstrap, own)) == 1


@pytest.fixture(scope="module")
def broker() -> Iterator[KafkaCluster]:
    """One that tests stop and start."""
    with KafkaCluster() as cluster:
        yield cluster


async def test_an_outage_in_the_middle_loses_nothing_and_does_not_hold_up_the_end(
    broker: KafkaCluster, own: Own, topic_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await create_topic(broker.bootstrap, topic_name)
    gate = Gate(monkeypatch)
    async with listening(broker.bootstrap, own, topic_name) as it:
        await lose(broker.bootstrap, own, "c1")
        await until(lambda: it.census.roster.connections)
        work(it, topic_name)
        async with on_duty(it) as duty:
            await until(lambda: gate.held)
            await asyncio.to_thread(broker.kill, 0)
            duty.cancel()
            async with asyncio.timeout(60):
                await asyncio.wait([duty])
        left = [task.get_coro().__qualname__ for task in asyncio.all_tasks()]  # type: ignore[union-attr]
        assert not [name for name in left if "Sender" in name or "Accumulator" in name], left
        gate.shut = False
        async with on_duty(it):
            await asyncio.to_thread(broker.start, 0)
            await idle(it)
        assert await written(broker.bootstrap, own) == WHOLE
