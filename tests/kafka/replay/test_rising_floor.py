"""A pass over Kafka while what is in memory begins ever later: nothing may be lost in between.

Where memory begins is seldom where one of Kafka's batches does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.kafka import fetcher
from bridge.kafka.client.client import TopicPartition
from bridge.kafka.client.records import record_batches
from bridge.kafka.client.records.record_batches import MAX_CHUNK_RECORDS
from tests.kafka import memory_kafka
from tests.kafka.headless_instance import envelopes, running_instance
from tests.kafka.held_replays import HeldReplayClient
from tests.kafka.memory_kafka import BATCH_RECORDS, MemoryKafkaClient

if TYPE_CHECKING:
    from tests.kafka.headless_instance import HeadlessInstance
    from tests.kafka.resuming_client import ResumingClient

TOPIC = "orders"
EVENTS = 60  # in a batch; the rest of it is for nobody
FAT = 2_000  # bytes: memory holds a thousand of such events, or fewer
ROUNDS = 10


class PacedMemory(HeldReplayClient, MemoryKafkaClient):
    """A broker in memory whose answers to replays a test holds up."""


def put_in(cluster: MemoryKafkaClient) -> None:
    batch = [*envelopes(EVENTS, size=FAT), *[b'{"data": 1}'] * (BATCH_RECORDS - EVENTS)]
    for number in (0, 1):
        cluster.append(TOPIC, number, batch * ROUNDS)


async def has_read(it: HeadlessInstance, watcher: ResumingClient, *ends: int) -> None:
    await watcher.wait_until(
        lambda: it.hub.topic_positions[TOPIC].next_offsets == dict(enumerate(ends))
    )


async def test_a_pass_goes_on_within_a_batch_when_memory_begins_later_than_it_did():
    cluster = PacedMemory()
    cluster.create(TOPIC, partitions=2)
    async with running_instance(cluster, TOPIC, journal=0) as it:
        watcher, end = it.connect_new(), ROUNDS * BATCH_RECORDS
        put_in(cluster)
        await has_read(it, watcher, end, end)
        floor = it.hub.journal.start_offset(TOPIC, 0)
        assert floor % BATCH_RECORDS == EVENTS, "memory begins within a batch"

        cluster.fetch_max_bytes = 1  # one batch at a time
        cluster.hold_fetches(lambda wanted: TopicPartition(TOPIC, 0) not in wanted)
        client = it.resume(it.cursor_at({0: 0, 1: 0}))
        await cluster.wait_until_held()
        put_in(cluster)
        await has_read(it, watcher, 2 * end, 2 * end)
        assert it.hub.journal.start_offset(TOPIC, 0) > floor

        cluster.release()
        live = await client.wait_live()
        assert client.gaps() == []
        assert live["replayed"] == 2 * 2 * ROUNDS * EVENTS
        whole = [n for n in range(2 * end) if n % BATCH_RECORDS < EVENTS]
        assert client.offsets() == {0: whole, 1: whole}


async def test_what_was_left_to_memory_is_read_when_memory_has_lost_it_meanwhile(monkeypatch):
    """Between two portions of one answer of the broker, everything else has its turn."""
    # Every other event is for the client: so it takes all of a portion at once.
    batch = [*envelopes(1, to="bob", size=2 * FAT), *envelopes(1)] * 400
    size = len(batch)
    assert MAX_CHUNK_RECORDS < size < 2 * MAX_CHUNK_RECORDS, "it is handed on in two portions"
    monkeypatch.setattr(memory_kafka, "BATCH_RECORDS", size)
    monkeypatch.setattr(record_batches, "MAX_CHUNK_BYTES", 1 << 30)
    monkeypatch.setattr(fetcher, "MAX_CHUNK_BYTES", 1 << 30)
    cluster = PacedMemory()
    cluster.create(TOPIC)
    async with running_instance(cluster, TOPIC, journal=0) as it:
        watcher = it.connect_new()
        cluster.append(TOPIC, 0, batch)
        await has_read(it, watcher, size)
        assert it.hub.journal.start_offset(TOPIC, 0) == MAX_CHUNK_RECORDS
        flush = it.replayer._flush

        async def overtake() -> None:
            await flush()
            if (
                client.offsets() == {0: [*range(101, MAX_CHUNK_RECORDS, 2)]}
                and cluster.logs[TopicPartition(TOPIC, 0)].end == size
            ):
                cluster.append(TOPIC, 0, batch)
                await has_read(it, watcher, 2 * size)

        monkeypatch.setattr(it.replayer, "_flush", overtake)
        client = it.resume(it.cursor_at({0: 100}))  # so the portions are others than in memory
        await client.wait_live()
        assert client.offsets() == {0: [*range(101, 2 * size, 2)]}
