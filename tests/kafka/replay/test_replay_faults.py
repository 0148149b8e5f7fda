"""Replays from a broker that rots, dies, comes back, or hands over: complete, or told."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness.admin import RecordToProduce, create_topic, fresh_name, produce
from tests.harness.kafka_cluster import KafkaCluster
from tests.kafka.brokers import HeldKafkaClient
from tests.kafka.disk_corruption import (
    LENGTH_AT,
    PAYLOAD_AT,
    RECORD_COUNT,
    fill_topic,
    flip_byte,
    read_batch_locations,
)
from tests.kafka.headless_instance import envelope, running_instance
from tests.kafka.held_replays import wait_until
from tests.kafka.recording_sink import plaintext_access

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.kafka.resuming_client import ResumingClient

pytestmark = pytest.mark.kafka

#: Of events that make two of them a batch.
LARGE = 8_000


@pytest.fixture(scope="module")
def own() -> Iterator[KafkaCluster]:
    with KafkaCluster() as cluster:
        yield cluster


def paced(bootstrap: str) -> Any:
    """A cluster of which a replay has one batch at a time."""
    cluster = HeldKafkaClient(plaintext_access(bootstrap))
    cluster.fetch_max_bytes = 1
    return cluster


def large(n: int) -> bytes:
    return envelope(n, size=LARGE)


async def test_what_is_damaged_is_told_to_those_who_need_it_and_keeps_nothing_from_others(
    own: KafkaCluster,
) -> None:
    """Damaged in what it holds, and in what says where it ends; a third topic is sound."""
    topics = [fresh_name(name) for name in ("payload", "length", "sound")]
    places = [(await fill_topic(own, topic, [30], value=large))[0] for topic in topics]
    await asyncio.to_thread(own.stop, 0)
    for (segment, (batch,)), at in zip(places, (PAYLOAD_AT, LENGTH_AT + 3), strict=False):
        flip_byte(segment, batch.byte_position + at)
    await asyncio.to_thread(own.start, 0)
    damaged = [batch for _, (batch,) in places]
    async with running_instance(HeldKafkaClient(plaintext_access(own.bootstrap)), *topics) as it:
        needs = it.resume(it.cursor_at({0: 0}, {0: 0}, {0: 0}))
        # Of what a damaged length hides, only the end of its segment is known to be sound.
        beyond = it.resume(
            it.cursor_at({0: damaged[0].next_offset}, {0: RECORD_COUNT - 1}, {0: 100})
        )
        for client in (needs, beyond):
            await client.wait_live()
        assert sorted(needs.gaps()) == sorted((topic, "corrupt") for topic in topics[:2])
        came = [each["at"] for each in needs.frames_of("event")]
        for topic, batch in zip(topics, damaged, strict=True):
            ats = [at for at in came if at.startswith(topic)]
            end = RECORD_COUNT if topic == topics[2] else batch.first_offset
            assert ats == [f"{topic}:0:{n}" for n in range(end)], "all before the gap, none behind"
        assert beyond.gaps() == []
        assert (
            len(beyond.frames_of("event"))
            == RECORD_COUNT - damaged[0].next_offset + 1 + RECORD_COUNT - 100
        )
        after = [RecordToProduce(envelope(n), partition=0) for n in range(3)]
        for topic in topics:
            await produce(own.bootstrap, topic, after)
        await needs.wait_until(lambda: len(needs.frames_of("event")) == len(came) + 9)


async def test_a_broker_that_dies_in_the_middle_of_a_pass(own: KafkaCluster) -> None:
    """Who is patient has all of it in the end; who is not is told, and has it the next time."""
    topic = fresh_name()
    await create_topic(own.bootstrap, topic, 2)
    records = [RecordToProduce(large(n), partition=n % 2) for n in range(400)]
    await produce(own.bootstrap, topic, records)
    whole = {p: [*range(200)] for p in range(2)}
    patient, hasty = paced(own.bootstrap), paced(own.bootstrap)
    async with (
        running_instance(patient, topic) as one,
        running_instance(hasty, topic, wait=1.0) as two,
    ):
        there = two.connect_new("eve")
        await produce(own.bootstrap, topic, [RecordToProduce(large(0), partition=0)])
        await there.wait_until(lambda: there.frames_of("event"))
        for cluster in (patient, hasty):
            cluster.hold_fetches(lambda wanted: max(wanted.values()) > 50)
        first, second = one.resume(one.cursor_at({})), two.resume(two.cursor_at({}))
        await patient.wait_until_held()
        await hasty.wait_until_held()
        await asyncio.to_thread(own.kill, 0)
        for cluster in (patient, hasty):
            cluster.release()
        assert await second.wait_closed() == 4006
        recent = two.resume(two.cursor_at({0: 200, 1: 200}))
        await recent.wait_live()  # the journal has it, whatever Kafka does
        assert recent.offsets() == {0: [200]}
        far, since = two.resume(two.cursor_at({})), await two.connect_since(0)
        assert (await far.wait_closed(), await since.wait_closed()) == (4006, 4006)
        assert (first.is_live, there.frames_of("closing")) == (False, [])

        await asyncio.to_thread(own.start, 0)
        await first.wait_live()
        assert first.offsets() == {0: [*range(201)], 1: whole[1]}
        again = two.resume(second.cursor())
        await again.wait_live()
        both = {p: second.offsets().get(p, []) + again.offsets().get(p, []) for p in whole}
        assert both == first.offsets()
        for client in (first, again):
            assert client.gaps() == []


async def test_a_log_that_was_cut_off_is_a_gap_to_those_who_have_seen_more(
    own: KafkaCluster,
) -> None:
    """After a crash, a broker cuts its log off before the first batch that it can not read."""
    topic = fresh_name()
    await create_topic(own.bootstrap, topic)
    await produce(
        own.bootstrap, topic, [RecordToProduce(large(n), partition=0) for n in range(100)]
    )
    cluster = paced(own.bootstrap)
    async with running_instance(cluster, topic) as it:
        cursors = [it.cursor_at({0: place}) for place in (100, 20)]
        there = it.connect_new("eve")
        cluster.hold_fetches(lambda wanted: max(wanted.values()) > 50)
        amid = it.resume(it.cursor_at({0: 0}))
        await cluster.wait_until_held()
        await asyncio.to_thread(own.kill, 0)
        (segment,) = own.segments(topic)
        cut = read_batch_locations(segment)[-10]
        flip_byte(segment, cut.byte_position + PAYLOAD_AT)
        await asyncio.to_thread(own.start, 0)
        cluster.release()
        await there.wait_until(there.gaps)
        beyond, below = (it.resume(cursor) for cursor in cursors)
        for client in (beyond, below, amid):
            await client.wait_live()
        assert beyond.gaps() == there.gaps() == [(topic, "truncated")]
        assert beyond.frames_of("event") == []
        # Who had not seen so much has lost nothing that there is.
        assert below.offsets() == {0: [*range(20, cut.first_offset)]}
        assert amid.offsets() == {0: [*range(cut.first_offset)]}
        assert below.gaps() == amid.gaps() == []
        await produce(own.bootstrap, topic, [RecordToProduce(envelope(0), partition=0)])
        for client in (beyond, below, amid, there):
            await came_to(client, cut.first_offset)


async def came_to(client: ResumingClient, offset: int) -> None:
    await client.wait_until(lambda: client.offsets().get(0, [-1])[-1] == offset)


async def test_leaders_that_move_in_the_middle_of_a_pass() -> None:
    """Three brokers, one of them killed and another stopped after it is back."""
    topic = fresh_name()
    with KafkaCluster(3) as three:
        changes: list[tuple[Callable[[int], None], int]] = [
            (three.kill, 1),
            (three.start, 1),
            (three.stop, 2),
        ]
        await create_topic(three.bootstrap, topic, 6, replication_factor=3)
        records = [RecordToProduce(large(n), partition=n % 6) for n in range(600)]
        await produce(three.bootstrap, topic, records)
        cluster = paced(three.bootstrap)
        async with running_instance(cluster, topic) as it:
            clients = []
            for step, (change, broker) in enumerate(changes):
                until_there = 20 * (step + 1)
                cluster.hold_fetches(lambda wanted, most=until_there: max(wanted.values()) > most)
                clients.append(it.resume(it.cursor_at(dict.fromkeys(range(6), step)), f"a{step}"))
                await cluster.wait_until_held()
                await asyncio.to_thread(change, broker)
            cluster.release()
            for step, client in enumerate(clients):
                await client.wait_live()
                assert client.offsets() == {p: [*range(step, 100)] for p in range(6)}
                assert client.gaps() == []
            await wait_until(lambda: not it.replayer._scans)
