"""A pass over Kafka while what is in memory begins ever later: nothing may be lost in between.

Where memory begins is seldom where one of Kafka's batches does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.kafka.client.client import Partition
from bridge.kafka.client.record_batches import CHUNK_RECORDS
from tests.kafka import memory
from tests.kafka.memory import PER_BATCH, MemoryCluster
from tests.kafka.pacing import Paced
from tests.kafka.returning import envelopes, running

if TYPE_CHECKING:
    from tests.kafka.replay_client import Client
    from tests.kafka.returning import Instance

TOPIC = "orders"
EVENTS = 60  # in a batch; the rest of it is for nobody
FAT = 2_000  # bytes: memory holds a thousand of such events, or fewer
ROUNDS = 10


class PacedMemory(Paced, MemoryCluster):
    """A broker in memory whose answers to replays a test holds up."""


def put_in(cluster: MemoryCluster) -> None:
    batch = [*envelopes(EVENTS, size=FAT), *[b'{"data": 1}'] * (PER_BATCH - EVENTS)]
    for number in (0, 1):
        cluster.put(TOPIC, number, batch * ROUNDS)


async def has_read(it: Instance, watcher: Client, *ends: int) -> None:
    await watcher.until(lambda: it.hub.logs[TOPIC].next == dict(enumerate(ends)))


async def test_a_pass_goes_on_within_a_batch_when_memory_begins_later_than_it_did():
    cluster = PacedMemory()
    cluster.create(TOPIC, partitions=2)
    async with running(cluster, TOPIC, journal=0) as it:
        watcher, end = it.meet(), ROUNDS * PER_BATCH
        put_in(cluster)
        await has_read(it, watcher, end, end)
        floor = it.hub.journal.floor(TOPIC, 0)
        assert floor % PER_BATCH == EVENTS, "memory begins within a batch"

        cluster.most_bytes = 1  # one batch at a time
        cluster.hold(lambda wanted: Partition(TOPIC, 0) not in wanted)
        client = it.resume(it.at({0: 0, 1: 0}))
        await cluster.until_held()
        put_in(cluster)
        await has_read(it, watcher, 2 * end, 2 * end)
        assert it.hub.journal.floor(TOPIC, 0) > floor

        cluster.let_go()
        live = await client.live()
        assert client.gaps() == []
        assert live["replayed"] == 2 * 2 * ROUNDS * EVENTS
        whole = [n for n in range(2 * end) if n % PER_BATCH < EVENTS]
        assert client.offsets() == {0: whole, 1: whole}


async def test_what_was_left_to_memory_is_read_when_memory_has_lost_it_meanwhile(monkeypatch):
    """Between two portions of one answer of the broker, everything else has its turn."""
    # Every other event is for the client: so it takes all of a portion at once.
    batch = [*envelopes(1, to="bob", size=2 * FAT), *envelopes(1)] * 400
    size = len(batch)
    assert CHUNK_RECORDS < size < 2 * CHUNK_RECORDS, "it is handed on in two portions"
    monkeypatch.setattr(memory, "PER_BATCH", size)
    cluster = PacedMemory()
    cluster.create(TOPIC)
    async with running(cluster, TOPIC, journal=0) as it:
        watcher = it.meet()
        cluster.put(TOPIC, 0, batch)
        await has_read(it, watcher, size)
        assert it.hub.journal.floor(TOPIC, 0) == CHUNK_RECORDS
        flush = it.replayer._flush

        async def overtake() -> None:
            await flush()
            if (
                client.offsets() == {0: [*range(101, CHUNK_RECORDS, 2)]}
                and cluster.logs[Partition(TOPIC, 0)].end == size
            ):
                cluster.put(TOPIC, 0, batch)
                await has_read(it, watcher, 2 * size)

        monkeypatch.setattr(it.replayer, "_flush", overtake)
        client = it.resume(it.at({0: 100}))  # so the portions are others than in memory
        await client.live()
        assert client.offsets() == {0: [*range(101, 2 * size, 2)]}
