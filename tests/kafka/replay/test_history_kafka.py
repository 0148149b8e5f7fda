"""The past as a real broker keeps it: holes, transactions, lost records, other lives of a topic."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest
from aiokafka import AIOKafkaProducer

from bridge.core.protocol.cursor import decode_cursor
from bridge.core.replay.retention import ReplayLimits
from bridge.kafka.client.client import BrokerConnection
from tests.core.factories import offsets_by_topic
from tests.harness.admin import (
    RecordToProduce,
    add_partitions,
    create_topic,
    delete_records,
    delete_topic,
    fresh_name,
    produce,
    wait_transactions_ended,
)
from tests.kafka.headless_instance import envelope, envelopes
from tests.kafka.history_instance import (
    HeldFetchClient,
    data,
    gaps,
    offsets_by_partition,
    running_history,
)
from tests.kafka.recording_sink import plaintext_access

if TYPE_CHECKING:
    from tests.harness.kafka_cluster import KafkaCluster

pytestmark = pytest.mark.kafka

THEN = 1_700_000_000_000


async def test_every_partition_is_told_whole_and_merged_by_time(
    kafka: KafkaCluster, topic_name: str
) -> None:
    await create_topic(kafka.bootstrap, topic_name, 4)
    records = [
        RecordToProduce(envelope(n), partition=n * n % 4, timestamp_ms=THEN + n)
        for n in range(3000)
    ]
    await produce(kafka.bootstrap, topic_name, records, compression_type="gzip")
    async with running_history(
        HeldFetchClient(plaintext_access(kafka.bootstrap)), topic_name
    ) as it:
        turned = await it.pages(limit=130)
    assert data(turned) == [str(n) for n in range(3000)]
    assert [len(page.events) for page in turned] == [130] * 23 + [10]


async def test_timestamps_out_of_order_lose_nothing(kafka: KafkaCluster, topic_name: str) -> None:
    await create_topic(kafka.bootstrap, topic_name, 3)
    chance = random.Random(3)
    records = [
        RecordToProduce(envelope(n), partition=n % 3, timestamp_ms=THEN + chance.randrange(10**6))
        for n in range(3000)
    ]
    await produce(kafka.bootstrap, topic_name, records)
    async with running_history(
        HeldFetchClient(plaintext_access(kafka.bootstrap)), topic_name
    ) as it:
        assert offsets_by_partition(await it.pages(limit=97)) == {
            p: [*range(1000)] for p in range(3)
        }


async def test_from_kafka_and_from_the_journal_it_is_one_history(
    kafka: KafkaCluster, topic_name: str
) -> None:
    await create_topic(kafka.bootstrap, topic_name, 3)
    records = [
        RecordToProduce(envelope(n), partition=n % 3, timestamp_ms=THEN + n) for n in range(900)
    ]
    await produce(kafka.bootstrap, topic_name, records[:500])
    async with running_history(
        HeldFetchClient(plaintext_access(kafka.bootstrap)), topic_name
    ) as it:
        await produce(kafka.bootstrap, topic_name, records[500:])
        turned = await it.pages(limit=70)
        assert data(turned) == [str(n) for n in range(900)]
        client = it.instance.resume(turned[4].cursor)
        await client.wait_live()
        assert sorted(n for each in client.offsets().values() for n in each) == sorted(
            n for each in offsets_by_partition(turned[5:]).values() for n in each
        )


async def test_what_was_aborted_is_no_part_of_it(kafka: KafkaCluster, topic_name: str) -> None:
    await create_topic(kafka.bootstrap, topic_name)
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka.bootstrap, transactional_id=fresh_name("tx")
    )
    await producer.start()
    try:
        for n, ends in enumerate([producer.commit_transaction, producer.abort_transaction] * 3):
            await producer.begin_transaction()
            for part in range(3):
                await producer.send_and_wait(topic_name, envelope(10 * n + part), partition=0)
            await ends()
    finally:
        await producer.stop()
    await wait_transactions_ended(kafka.bootstrap, topic_name)
    async with running_history(
        HeldFetchClient(plaintext_access(kafka.bootstrap)), topic_name
    ) as it:
        turned = await it.pages(limit=4)
        end = offsets_by_topic(decode_cursor(turned[-1].cursor))
    assert data(turned) == [str(10 * n + part) for n in (0, 2, 4) for part in range(3)]
    assert end == {topic_name: {0: 6 * 4}}, "behind the last marker"
    assert gaps(turned) == []


async def test_the_past_ends_before_a_transaction_that_is_open(
    kafka: KafkaCluster, topic_name: str
) -> None:
    await create_topic(kafka.bootstrap, topic_name)
    await produce(kafka.bootstrap, topic_name, [RecordToProduce(envelope(0), partition=0)])
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka.bootstrap, transactional_id=fresh_name("tx")
    )
    await producer.start()
    try:
        await producer.begin_transaction()
        await producer.send_and_wait(topic_name, envelope(1), partition=0)
        await produce(kafka.bootstrap, topic_name, [RecordToProduce(envelope(2), partition=0)])
        async with running_history(
            HeldFetchClient(plaintext_access(kafka.bootstrap)), topic_name
        ) as it:
            page = await it.page()
            assert (data([page]), page.more) == (["0"], False)
            await producer.commit_transaction()
            await wait_transactions_ended(kafka.bootstrap, topic_name)
            assert data(await it.pages(page.cursor)) == ["1", "2"]
    finally:
        await producer.stop()


async def test_holes_of_compaction_are_no_losses(kafka: KafkaCluster, topic_name: str) -> None:
    eager = {
        "cleanup.policy": "compact",
        "segment.bytes": str(1 << 20),
        "min.cleanable.dirty.ratio": "0.001",
        "max.compaction.lag.ms": "100",
    }
    await create_topic(kafka.bootstrap, topic_name, configs=eager)
    records = [
        RecordToProduce(
            envelope(n, size=8_000), key=b"%d" % (n if n % 100 == 0 else 1), partition=0
        )
        for n in range(600)
    ]
    await produce(kafka.bootstrap, topic_name, records)
    first, *_ = kafka.segments(topic_name)
    async with asyncio.timeout(90):
        while first.exists() and first.stat().st_size > 500_000:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    async with running_history(
        HeldFetchClient(plaintext_access(kafka.bootstrap)), topic_name
    ) as it:
        turned = await it.pages(limit=50)
    (came,) = offsets_by_partition(turned).values()
    assert came == sorted(set(came))
    assert len(came) < 500, "nothing was compacted"
    assert {*range(0, 600, 100), 599} <= {*came}
    assert (gaps(turned), turned[-1].more) == ([], False)


async def test_deleted_records_are_a_gap_to_who_has_a_cursor_there(
    kafka: KafkaCluster, topic_name: str
) -> None:
    await create_topic(kafka.bootstrap, topic_name, 2)
    records = [
        RecordToProduce(envelope(n), partition=n % 2, timestamp_ms=THEN + n) for n in range(100)
    ]
    await produce(kafka.bootstrap, topic_name, records)
    async with running_history(
        HeldFetchClient(plaintext_access(kafka.bootstrap)), topic_name
    ) as it:
        first = await it.page(limit=20)
        await delete_records(kafka.bootstrap, topic_name, 0, before=30)
        rest = await it.pages(first.cursor)
        assert gaps(rest) == [(topic_name, "expired")]
        assert offsets_by_partition([first, *rest]) == {
            0: [*range(10), *range(30, 50)],
            1: [*range(50)],
        }
        assert gaps(await it.pages()) == []


async def test_a_topic_that_was_created_again_begins_anew(
    kafka: KafkaCluster, topic_name: str
) -> None:
    await create_topic(kafka.bootstrap, topic_name)
    await produce(
        kafka.bootstrap, topic_name, [RecordToProduce(v, partition=0) for v in envelopes(50)]
    )
    async with running_history(
        HeldFetchClient(plaintext_access(kafka.bootstrap)), topic_name
    ) as it:
        first = await it.page(limit=20)
        await delete_topic(kafka.bootstrap, topic_name)
        await create_topic(kafka.bootstrap, topic_name, 2)
        later = [RecordToProduce(v, partition=1) for v in envelopes(30, 1000)]
        await produce(kafka.bootstrap, topic_name, later)
        turned = await it.pages(first.cursor)
    assert gaps(turned) == [(topic_name, "recreated")]
    assert data(turned) == [str(n) for n in range(1000, 1030)]


async def test_a_topic_that_grows_meanwhile_is_told_up_to_where_it_was(
    kafka: KafkaCluster, topic_name: str
) -> None:
    await create_topic(kafka.bootstrap, topic_name)
    await produce(
        kafka.bootstrap, topic_name, [RecordToProduce(v, partition=0) for v in envelopes(50)]
    )
    cluster = HeldFetchClient(plaintext_access(kafka.bootstrap))
    async with running_history(cluster, topic_name) as it:
        cluster.hold(BrokerConnection.HISTORY)
        asking = asyncio.create_task(it.page())
        await cluster.wait_until_held()
        later = [RecordToProduce(v, partition=0) for v in envelopes(50, 50)]
        await produce(kafka.bootstrap, topic_name, later)
        await add_partitions(kafka.bootstrap, topic_name, 2)
        await produce(kafka.bootstrap, topic_name, [RecordToProduce(envelope(100), partition=1)])
        cluster.release()
        first = await asking
        assert (offsets_by_partition([first]), first.more) == ({0: [*range(50)]}, False)
        assert offsets_by_partition(await it.pages(first.cursor)) == {0: [*range(50, 100)], 1: [0]}


async def test_pages_of_few_records_come_to_the_end_too(
    kafka: KafkaCluster, topic_name: str
) -> None:
    await create_topic(kafka.bootstrap, topic_name, 2)
    records = [
        RecordToProduce(envelope(n, to=None if n % 400 == 0 else "bob"), partition=n % 2)
        for n in range(4000)
    ]
    await produce(kafka.bootstrap, topic_name, records)
    async with running_history(
        HeldFetchClient(plaintext_access(kafka.bootstrap)),
        topic_name,
        limits=ReplayLimits(700, 1 << 30),
    ) as it:
        turned = await it.pages()
        assert data(turned) == [str(n) for n in range(0, 4000, 400)]
        assert len(turned) >= 4000 // 700
        assert it.instance.source.records_read <= 700 * len(turned)
