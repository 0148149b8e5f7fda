"""What the feed makes of what is in the log: compressed, aborted, expired; and what it commits."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from aiokafka import AIOKafkaProducer

from bridge.kafka.client.client import KafkaClient, TopicPartition
from tests.harness.admin import RecordToProduce, create_topic, delete_records, fresh_name, produce
from tests.kafka.recording_sink import SkipCall, plaintext_access, running_consumer

if TYPE_CHECKING:
    from tests.harness.kafka_cluster import KafkaCluster

pytestmark = pytest.mark.kafka


@pytest.mark.parametrize("compression", ["gzip", "snappy", "lz4", "zstd"])
async def test_compressed_batches_are_read(
    kafka: KafkaCluster, topic_name: str, compression: str
) -> None:
    await create_topic(kafka.bootstrap, topic_name)
    values = [b"%d " % n * 200 for n in range(700)]
    async with running_consumer(plaintext_access(kafka.bootstrap), topic_name) as it:
        records = [RecordToProduce(value, partition=0) for value in values]
        await produce(kafka.bootstrap, topic_name, records, compression_type=compression)
        await it.sink.wait_for_records(700)
    (segment,) = kafka.segments(topic_name)
    assert segment.stat().st_size < sum(map(len, values)) / 4, "they were not compressed"
    assert it.sink.values() == values
    assert it.sink.offsets_by_partition() == {0: [*range(700)]}


async def test_a_record_larger_than_a_fetch_arrives(kafka: KafkaCluster, topic_name: str) -> None:
    large = {"max.message.bytes": str(12 << 20)}
    await create_topic(kafka.bootstrap, topic_name, configs=large)
    values = [b"small", b"x" * (10 << 20), b"after"]
    async with running_consumer(plaintext_access(kafka.bootstrap), topic_name) as it:
        records = [RecordToProduce(value, partition=0) for value in values]
        await produce(kafka.bootstrap, topic_name, records, max_request_size=12 << 20)
        await it.sink.wait_for_records(3)
    assert it.sink.values() == values


async def test_aborted_transactions_and_markers_leave_holes_and_no_events(
    kafka: KafkaCluster, topic_name: str
) -> None:
    await create_topic(kafka.bootstrap, topic_name)
    async with running_consumer(plaintext_access(kafka.bootstrap), topic_name) as it:
        producer = AIOKafkaProducer(
            bootstrap_servers=kafka.bootstrap, transactional_id=fresh_name("tx")
        )
        await producer.start()
        try:
            for n, ends in enumerate([producer.commit_transaction, producer.abort_transaction] * 2):
                await producer.begin_transaction()
                for part in range(3):
                    value = f"{ends.__name__}-{n}-{part}".encode()
                    await producer.send_and_wait(topic_name, value, partition=0)
                if n == 1:
                    # From another producer, amid a transaction that will be aborted.
                    await produce(
                        kafka.bootstrap, topic_name, [RecordToProduce(b"plain", partition=0)]
                    )
                await ends()
        finally:
            await producer.stop()
        # Three records and a marker each, and the plain one: of those 17 the last ones are a hole.
        await it.sink.wait_until(lambda: it.sink.next_offsets.get((topic_name, 0)) == 17)
        assert it.consumer.lag() == {topic_name: 0}
    assert it.sink.values() == [
        *(b"commit_transaction-0-%d" % part for part in range(3)),
        b"plain",
        *(b"commit_transaction-2-%d" % part for part in range(3)),
    ]
    assert it.sink.offsets_by_partition() == {0: [0, 1, 2, 7, 9, 10, 11]}
    assert it.sink.skip_calls() == []


async def test_an_open_transaction_is_waited_for_and_lost_to_nobody(
    kafka: KafkaCluster, topic_name: str
) -> None:
    """An instance that starts amid a transaction reads all of it that it has not passed."""
    await create_topic(kafka.bootstrap, topic_name)
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka.bootstrap, transactional_id=fresh_name("tx")
    )
    await producer.start()
    try:
        await producer.begin_transaction()
        await producer.send_and_wait(topic_name, b"open", partition=0)
        async with running_consumer(plaintext_access(kafka.bootstrap), topic_name) as it:
            assert it.sink.begin_calls()[0].offsets == {0: 0}
            await produce(kafka.bootstrap, topic_name, [RecordToProduce(b"behind", partition=0)])
            await producer.commit_transaction()
            await it.sink.wait_for_records(2)
        assert it.sink.values() == [b"open", b"behind"]
    finally:
        await producer.stop()


async def test_holes_of_compaction_are_no_losses(kafka: KafkaCluster, topic_name: str) -> None:
    """Most keys were written again, so most batches of the closed segments are gone."""
    eager = {
        "cleanup.policy": "compact",
        "segment.bytes": str(1 << 20),
        "min.cleanable.dirty.ratio": "0.001",
        "max.compaction.lag.ms": "100",
    }
    async with running_consumer(plaintext_access(kafka.bootstrap), topic_name) as it:
        await it.client.hold_metadata()
        await create_topic(kafka.bootstrap, topic_name, configs=eager)
        records = [
            RecordToProduce(
                b"%d" % n + b"x" * 8_000, key=b"%d" % (n if n % 100 == 0 else 1), partition=0
            )
            for n in range(600)
        ]
        await produce(kafka.bootstrap, topic_name, records)
        first, *_ = kafka.segments(topic_name)
        async with asyncio.timeout(90):
            while first.exists() and first.stat().st_size > 500_000:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        it.client.release_metadata()
        await it.sink.wait_until(lambda: it.sink.next_offsets.get((topic_name, 0)) == 600)
    came = it.sink.offsets_by_partition()[0]
    assert len(came) < 500, "nothing was compacted"
    assert {*range(0, 600, 100), 599} <= {*came}
    assert it.sink.skip_calls() == []


async def test_what_expires_under_a_slow_reader_is_told(
    kafka: KafkaCluster, topic_name: str
) -> None:
    await create_topic(kafka.bootstrap, topic_name)
    async with running_consumer(plaintext_access(kafka.bootstrap), topic_name) as it:
        it.sink.hold_delivery()
        await produce(kafka.bootstrap, topic_name, [RecordToProduce(b"first", partition=0)])
        await it.sink.wait_for_records(1)
        later = [RecordToProduce(b"%d" % n, partition=0) for n in range(1, 100)]
        await produce(kafka.bootstrap, topic_name, later)
        assert await delete_records(kafka.bootstrap, topic_name, 0, before=50) == 50
        it.sink.release_delivery()
        await it.sink.wait_for_records(51)
    assert it.sink.offsets_by_partition() == {0: [0, *range(50, 100)]}
    assert it.sink.skip_calls() == [SkipCall(topic_name, "expired", {0: 50})]
    assert it.sink.calls.index(it.sink.skip_calls()[0]) == 2, "after what was read, before the rest"


async def test_commits_show_in_kafkas_own_tool(kafka: KafkaCluster, topic_name: str) -> None:
    """One group per instance, each at the end of every partition."""
    await create_topic(kafka.bootstrap, topic_name, 2)
    stem = fresh_name("push-bridge")
    blue, green = f"{stem}.blue", f"{stem}.green"
    access = plaintext_access(kafka.bootstrap)
    async with (
        running_consumer(access, topic_name, group=blue) as first,
        running_consumer(access, topic_name, group=green) as second,
    ):
        records = [RecordToProduce(b"%d" % n, partition=n % 2) for n in range(10)]
        await produce(kafka.bootstrap, topic_name, records)
        for it in (first, second):
            await it.sink.wait_for_records(10)
        end = {(topic_name, "0", "5", "5", "0"), (topic_name, "1", "5", "5", "0")}
        async with asyncio.timeout(60):
            while await shown(kafka, blue) != end or await shown(kafka, green) != end:
                pass
        assert await groups(kafka, stem) == {blue, green}
    assert await groups(kafka, stem) == set(), "they end with their instances"


async def groups(kafka: KafkaCluster, stem: str) -> set[str]:
    """The groups whose name begins with `stem`, as `kafka-consumer-groups` lists them."""
    told = await asyncio.to_thread(
        kafka.tool, kafka.CONSUMER_GROUPS, f"--bootstrap-server={kafka.bootstrap}", "--list"
    )
    return {line for line in told.split() if line.startswith(stem)}


async def shown(kafka: KafkaCluster, group: str) -> set[tuple[str, ...]]:
    """Topic, partition, committed, end and lag, as `kafka-consumer-groups` prints them."""
    told = await asyncio.to_thread(
        kafka.tool,
        kafka.CONSUMER_GROUPS,
        f"--bootstrap-server={kafka.bootstrap}",
        *("--describe", "--group", group),
    )
    rows = [line.split() for line in told.splitlines() if line.startswith(group)]
    return {tuple(row[1:6]) for row in rows}


async def test_what_is_committed_is_never_read_back(kafka: KafkaCluster, topic_name: str) -> None:
    await create_topic(kafka.bootstrap, topic_name)
    group = fresh_name("group")
    access = plaintext_access(kafka.bootstrap)
    async with running_consumer(access, topic_name, group=group) as it:
        await produce(kafka.bootstrap, topic_name, [RecordToProduce(b"1", partition=0)])
        await it.sink.wait_for_records(1)
    await produce(kafka.bootstrap, topic_name, [RecordToProduce(b"nobody runs", partition=0)])
    client = KafkaClient(access)
    await client.connect()
    await client.commit(group, {TopicPartition(topic_name, 0): 1})  # as one that was killed did
    await client.close()
    async with running_consumer(access, topic_name, group=group) as it:
        assert it.sink.begin_calls()[0].offsets == {0: 2}
