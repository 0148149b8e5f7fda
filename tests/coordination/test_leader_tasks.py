"""The writes of the leader to a real Kafka: each round as a whole, each record once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from bridge.coordination.topics import BridgeTopics
from bridge.core.coordination import state_records
from bridge.core.coordination.state_records import (
    Checkpoint,
    ConnectionPresence,
    InstanceHeartbeat,
    Membership,
)
from bridge.kafka.client.client import TopicPartition
from tests.coordination.leader_instance import (
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
from tests.kafka.held_replays import wait_until
from tests.kafka.topic_reader import read_records

if TYPE_CHECKING:
    from bridge.coordination.dead_letters import DeadLetter
    from tests.harness.kafka_cluster import KafkaCluster

pytestmark = pytest.mark.kafka


@pytest.fixture
def own() -> BridgeTopics:
    return BridgeTopics(fresh_name("prefix"))


def alive(boot: str = "b2", instance: str = "i1") -> InstanceHeartbeat:
    return InstanceHeartbeat(instance, boot, SINCE, SINCE)


def client(id: str, *rooms: str, boot: str = "b1") -> ConnectionPresence:
    """A client of an earlier boot. It is lost once a later boot is alive."""
    return ConnectionPresence(id, "i1", boot, "ann", "", SINCE, [*rooms])


# -- dead letters ----------------------------------------------------------------------------------


async def test_dead_letters_are_written_whole_and_their_offsets_committed(
    kafka: KafkaCluster, own: BridgeTopics, topic_name: str
) -> None:
    await create_topic(kafka.bootstrap, topic_name)
    async with running_instance(kafka.bootstrap, own, topic_name) as it, leading(it):
        kept = [
            make_dead_letter(topic_name, 3, b"value"),
            make_dead_letter(topic_name, 4, None),
            make_dead_letter(topic_name, 7, b"", None),
            make_dead_letter(topic_name, 9, None, None),  # aiokafka refuses it
        ]
        for letter in kept:
            it.dead_letters.keep(letter)
        await wait_until_idle(it)
        assert it.leader_tasks.dead_letters_written == 4
        committed = await it.cluster.committed(own.dead_letters)
        assert committed == {TopicPartition(topic_name, 0): 10}
    found = await read_records(kafka.bootstrap, own.dead_letters)
    assert [(each.key, each.value) for each in found] == [
        (b"key", b"value"),
        (b"key", None),
        (None, b""),
        (None, b""),
    ]
    assert [list(each.headers) for each in found] == [letter.headers for letter in kept]


async def test_other_instances_drop_what_the_leader_has_written(
    kafka: KafkaCluster, own: BridgeTopics, topic_name: str
) -> None:
    await create_topic(kafka.bootstrap, topic_name)
    async with (
        running_instance(kafka.bootstrap, own, topic_name) as it,
        running_instance(kafka.bootstrap, own, topic_name) as other,
    ):
        for offset in range(3):
            it.dead_letters.keep(make_dead_letter(topic_name, offset))
            other.dead_letters.keep(make_dead_letter(topic_name, offset))
        async with leading(it):
            await wait_until_idle(it)
        other.dead_letters.keep(make_dead_letter(topic_name, 3, b"new"))
        async with leading(other):
            await wait_until_idle(other)
        assert other.leader_tasks.dead_letters_written == 1
    assert await read_dead_letters(kafka.bootstrap, own) == [b"?", b"?", b"?", b"new"]


async def test_an_instance_that_does_not_lead_polls_what_is_written(
    kafka: KafkaCluster, own: BridgeTopics, topic_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.coordination.leader_tasks.COMMITTED_POLL_SECONDS", 0.05)
    await create_topic(kafka.bootstrap, topic_name)
    async with running_instance(kafka.bootstrap, own, topic_name) as it:
        it.dead_letters.keep(make_dead_letter(topic_name, 0))
        it.dead_letters.keep(make_dead_letter(topic_name, 1))
        await it.cluster.commit(own.dead_letters, {TopicPartition(topic_name, 0): 1})
        looking = asyncio.create_task(it.leader_tasks.poll_committed())
        await wait_until(lambda: len(it.dead_letters.peek(9)) == 1)
        looking.cancel()


async def test_a_too_large_dead_letter_is_written_without_its_value(
    kafka: KafkaCluster, own: BridgeTopics, topic_name: str
) -> None:
    await create_topic(kafka.bootstrap, topic_name)
    async with running_instance(kafka.bootstrap, own, topic_name) as it, leading(it):
        sizes = (10, 2 << 20, 20, 1_048_500, 3 << 20)
        for offset, size in enumerate(sizes):
            it.dead_letters.keep(
                make_dead_letter(topic_name, offset, b"v" * size, None if size < 20 else b"k")
            )
        it.dead_letters.keep(make_dead_letter(topic_name, 5, b"v" * (2 << 20), None))
        await wait_until_idle(it)
    found = await read_records(kafka.bootstrap, own.dead_letters)
    assert [len(each.value or b"") for each in found] == [10, 0, 20, 0, 0, 0]
    said = [dict(each.headers).get("dead-value-bytes") for each in found]
    assert said == [None, b"2097152", None, b"1048500", b"3145728", b"2097152"]


async def test_a_dead_letter_too_large_without_its_value_is_lost_and_does_not_block(
    kafka: KafkaCluster, own: BridgeTopics, topic_name: str
) -> None:
    await create_topic(kafka.bootstrap, topic_name)
    async with running_instance(kafka.bootstrap, own, topic_name) as it, leading(it):
        letter = make_dead_letter(topic_name, 0, b"v")
        it.dead_letters.keep(letter._replace(headers=[("h", b"h" * (2 << 20))]))
        it.dead_letters.keep(make_dead_letter(topic_name, 1, b"next"))
        await wait_until_idle(it)
        assert it.dead_letters.lost_count == 1
    assert await read_dead_letters(kafka.bootstrap, own) == [b"next"]


async def test_dead_letters_of_a_deleted_topic_are_written_and_do_not_block(
    kafka: KafkaCluster, own: BridgeTopics, topic_name: str
) -> None:
    await create_topic(kafka.bootstrap, topic_name)
    async with running_instance(kafka.bootstrap, own, topic_name) as it:
        await delete_topic(kafka.bootstrap, topic_name)
        it.consumer.request_refresh()
        await wait_until(lambda: it.leader_of(TopicPartition(topic_name, 0)) < 0)
        async with leading(it):
            it.dead_letters.keep(make_dead_letter(topic_name, 0, b"of what is gone"))
            it.dead_letters.keep(make_dead_letter(own.state, 5, b"of what is there"))
            await wait_until_idle(it)
            committed = await it.cluster.committed(own.dead_letters)
        assert committed == {TopicPartition(own.state, 0): 6}
    assert await read_dead_letters(kafka.bootstrap, own) == [
        b"of what is gone",
        b"of what is there",
    ]


async def test_dead_letters_are_rate_limited(
    kafka: KafkaCluster, own: BridgeTopics, topic_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await create_topic(kafka.bootstrap, topic_name)
    async with running_instance(kafka.bootstrap, own, topic_name, letters_per_second=20) as it:
        ticks, asked = 0, it.dead_letters.peek
        portions: list[int] = []

        def counted(count: int) -> list[DeadLetter]:
            nonlocal ticks
            ticks += 1
            some = asked(count)
            portions.append(len(some))
            assert sum(portions) <= 20 * 0.1 * ticks + 1e-6
            return some

        for offset in range(30):
            it.dead_letters.keep(make_dead_letter(topic_name, offset))
        monkeypatch.setattr(it.dead_letters, "peek", counted)
        async with leading(it):
            await wait_until(lambda: it.leader_tasks.dead_letters_written == 30)
        assert max(portions) <= 20
        assert len([some for some in portions if some]) >= 10


async def test_dead_letters_of_a_recreated_topic_are_written(
    kafka: KafkaCluster, own: BridgeTopics, topic_name: str
) -> None:
    place = TopicPartition(topic_name, 0)
    await create_topic(kafka.bootstrap, topic_name)
    async with running_instance(kafka.bootstrap, own, topic_name) as it:
        it.dead_letters.keep(make_dead_letter(topic_name, 5, b"before"))
        async with leading(it):
            await wait_until_idle(it)
        assert await it.cluster.committed(own.dead_letters) == {place: 6}
        await delete_topic(kafka.bootstrap, topic_name)
        await create_topic(kafka.bootstrap, topic_name)
        async with asyncio.timeout(60):
            while await it.cluster.committed(own.dead_letters):
                pass  # Kafka deletes them with the topic
        async with leading(it):
            await wait_until(lambda: place not in it.dead_letters._written_offsets)
            it.dead_letters.keep(make_dead_letter(topic_name, 0, b"after"))
            await wait_until_idle(it)
    assert await read_dead_letters(kafka.bootstrap, own) == [b"before", b"after"]


# -- state updates ---------------------------------------------------------------------------------


async def test_state_updates_are_written_once_with_a_checkpoint(
    kafka: KafkaCluster, own: BridgeTopics
) -> None:
    async with running_instance(kafka.bootstrap, own) as it, leading(it):
        member = Membership("ann", "hall")
        key, value = state_records.record_key(member), state_records.encode(member)
        it.leader_tasks.queue_state_update(3, key, value)
        it.leader_tasks.queue_state_update(
            4, b"title,hall", state_records.encode(state_records.RoomTitle("hall", "H"))
        )
        it.leader_tasks.queue_state_update(5, key, None)
        it.leader_tasks.replace_state_update(
            b"title,hall", state_records.encode(state_records.RoomTitle("hall", "Hall"))
        )
        it.leader_tasks.replace_state_update(b"title,yard", b"never kept")
        await wait_until_idle(it)
        await wait_until(lambda: it.leader_tasks._checkpoint_offset == 6)
        it.leader_tasks.queue_state_update(5, b"title,hall", b"written before")
        it.leader_tasks.queue_state_update(6, b"title,yard", None)
        await wait_until_idle(it)
    found = await read_records(kafka.bootstrap, own.state)
    assert [(each.key, each.value) for each in found] == [
        (b"title,hall", state_records.encode(state_records.RoomTitle("hall", "Hall"))),
        (key, None),
        (b"folded", state_records.encode(Checkpoint(6))),
        (b"title,yard", None),
        (b"folded", state_records.encode(Checkpoint(7))),
    ]


async def test_state_updates_of_a_recreated_control_topic_are_written(
    kafka: KafkaCluster, own: BridgeTopics
) -> None:
    async with running_instance(kafka.bootstrap, own) as it:
        async with leading(it):
            it.leader_tasks.queue_state_update(1000, b"title,hall", None)
            await wait_until(lambda: it.leader_tasks._checkpoint_offset == 1001)
        it.leader_tasks.queue_state_update(1001, b"title,last", None)
        it.leader_tasks.reset_checkpoint()
        it.leader_tasks.queue_state_update(0, b"title,first", None)
        async with leading(it):
            await wait_until(lambda: it.leader_tasks._checkpoint_offset == 1)
    async with running_instance(kafka.bootstrap, own) as fresh:
        assert fresh.leader_tasks._checkpoint_offset == 1
    found = await read_records(kafka.bootstrap, own.state)
    assert [each.key for each in found if each.key != b"folded"] == [
        *(b"title,hall", b"title,last", b"title,first")
    ]


# -- presence --------------------------------------------------------------------------------------


async def test_presence_changes_are_published_once(
    kafka: KafkaCluster, own: BridgeTopics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "bridge.core.coordination.presence.INSTANCE_TIMEOUT_SECONDS", 1000.0
    )  # no instance publishes here
    async with running_instance(kafka.bootstrap, own) as it, leading(it):
        clients = [client(f"c{n}", "hall") for n in range(20)]
        await write_state_records(kafka.bootstrap, own, alive("b1"), *clients)
        await wait_until(lambda: it.presence.published_occupied == {("room", "hall")})
        await write_state_records(
            kafka.bootstrap, own, alive("b2"), client("here", "yard", boot="b2")
        )
        await wait_until(lambda: it.presence.published_occupied == {("room", "yard")})
        await wait_until_idle(it)
        assert it.presence.index.connections.keys() == {"here"}
    said = await read_lifecycle_notices(kafka.bootstrap, own)
    assert sorted(said) == sorted(
        [
            *(f"disconnected c{n}" for n in range(20)),
            *("occupied hall", "occupied yard", "vacated hall"),
        ]
    )
    assert said[-1] == "vacated hall"
