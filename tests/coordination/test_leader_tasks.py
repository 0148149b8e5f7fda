"""What one instance writes for all, to a real Kafka: each round as a whole, each thing once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from bridge.coordination.topics import Own
from bridge.core.coordination import state_records
from bridge.core.coordination.state_records import Alive, Folded, Member, Present
from bridge.kafka.client.client import Partition
from tests.core.facts import SINCE
from tests.harness.admin import create_topic, delete_topic, fresh_name
from tests.kafka.deputy import buried, dead, idle, listening, on_duty, say, told
from tests.kafka.pacing import until
from tests.kafka.reading import records

if TYPE_CHECKING:
    from bridge.coordination.dead_letters import Letter
    from tests.harness.kafka_cluster import KafkaCluster

pytestmark = pytest.mark.kafka


@pytest.fixture
def own() -> Own:
    return Own(fresh_name("prefix"))


def alive(boot: str = "b2", instance: str = "i1") -> Alive:
    return Alive(instance, boot, SINCE, SINCE)


def client(id: str, *rooms: str, boot: str = "b1") -> Present:
    """A client of an earlier boot: once a later one is alive, it is lost."""
    return Present(id, "i1", boot, "ann", "", SINCE, [*rooms])


# -- dead letters ----------------------------------------------------------------------------------


async def test_letters_are_written_whole_and_their_offsets_are_committed(
    kafka: KafkaCluster, own: Own, topic_name: str
) -> None:
    await create_topic(kafka.bootstrap, topic_name)
    async with listening(kafka.bootstrap, own, topic_name) as it, on_duty(it):
        kept = [
            dead(topic_name, 3, b"value"),
            dead(topic_name, 4, None),
            dead(topic_name, 7, b"", None),
            dead(topic_name, 9, None, None),  # aiokafka would not write it
        ]
        for letter in kept:
            it.letters.keep(letter)
        await idle(it)
        assert it.steward.written_letters == 4
        committed = await it.cluster.committed(own.dead_letters)
        assert committed == {Partition(topic_name, 0): 10}
    found = await records(kafka.bootstrap, own.dead_letters)
    assert [(each.key, each.value) for each in found] == [
        (b"key", b"value"),
        (b"key", None),
        (None, b""),
        (None, b""),
    ]
    assert [list(each.headers) for each in found] == [letter.headers for letter in kept]


async def test_what_one_has_written_another_forgets(
    kafka: KafkaCluster, own: Own, topic_name: str
) -> None:
    await create_topic(kafka.bootstrap, topic_name)
    async with (
        listening(kafka.bootstrap, own, topic_name) as it,
        listening(kafka.bootstrap, own, topic_name) as other,
    ):
        for offset in range(3):
            it.letters.keep(dead(topic_name, offset))
            other.letters.keep(dead(topic_name, offset))
        async with on_duty(it):
            await idle(it)
        other.letters.keep(dead(topic_name, 3, b"new"))
        async with on_duty(other):
            await idle(other)
        assert other.steward.written_letters == 1
    assert await buried(kafka.bootstrap, own) == [b"?", b"?", b"?", b"new"]


async def test_who_is_not_on_duty_looks_what_was_written(
    kafka: KafkaCluster, own: Own, topic_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.coordination.leader_tasks.LOOK_SECONDS", 0.05)
    await create_topic(kafka.bootstrap, topic_name)
    async with listening(kafka.bootstrap, own, topic_name) as it:
        it.letters.keep(dead(topic_name, 0))
        it.letters.keep(dead(topic_name, 1))
        await it.cluster.commit(own.dead_letters, {Partition(topic_name, 0): 1})
        looking = asyncio.create_task(it.steward.look())
        await until(lambda: len(it.letters.next(9)) == 1)
        looking.cancel()


async def test_a_letter_that_is_too_large_is_written_without_its_value(
    kafka: KafkaCluster, own: Own, topic_name: str
) -> None:
    await create_topic(kafka.bootstrap, topic_name)
    async with listening(kafka.bootstrap, own, topic_name) as it, on_duty(it):
        sizes = (10, 2 << 20, 20, 1_048_500, 3 << 20)
        for offset, size in enumerate(sizes):
            it.letters.keep(dead(topic_name, offset, b"v" * size, None if size < 20 else b"k"))
        it.letters.keep(dead(topic_name, 5, b"v" * (2 << 20), None))
        await idle(it)
    found = await records(kafka.bootstrap, own.dead_letters)
    assert [len(each.value or b"") for each in found] == [10, 0, 20, 0, 0, 0]
    said = [dict(each.headers).get("dead-value-bytes") for each in found]
    assert said == [None, b"2097152", None, b"1048500", b"3145728", b"2097152"]


async def test_a_letter_that_is_too_large_even_so_is_lost_and_blocks_nothing(
    kafka: KafkaCluster, own: Own, topic_name: str
) -> None:
    await create_topic(kafka.bootstrap, topic_name)
    async with listening(kafka.bootstrap, own, topic_name) as it, on_duty(it):
        letter = dead(topic_name, 0, b"v")
        it.letters.keep(letter._replace(headers=[("h", b"h" * (2 << 20))]))
        it.letters.keep(dead(topic_name, 1, b"next"))
        await idle(it)
        assert it.letters.lost == 1
    assert await buried(kafka.bootstrap, own) == [b"next"]


async def test_letters_of_a_topic_that_is_gone_are_written_and_block_nothing(
    kafka: KafkaCluster, own: Own, topic_name: str
) -> None:
    await create_topic(kafka.bootstrap, topic_name)
    async with listening(kafka.bootstrap, own, topic_name) as it:
        await delete_topic(kafka.bootstrap, topic_name)
        it.feed.look()
        await until(lambda: it.leader(Partition(topic_name, 0)) < 0)
        async with on_duty(it):
            it.letters.keep(dead(topic_name, 0, b"of what is gone"))
            it.letters.keep(dead(own.state, 5, b"of what is there"))
            await idle(it)
            committed = await it.cluster.committed(own.dead_letters)
        assert committed == {Partition(own.state, 0): 6}
    assert await buried(kafka.bootstrap, own) == [b"of what is gone", b"of what is there"]


async def test_no_more_letters_are_written_than_are_allowed(
    kafka: KafkaCluster, own: Own, topic_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await create_topic(kafka.bootstrap, topic_name)
    async with listening(kafka.bootstrap, own, topic_name, letters_per_second=20) as it:
        ticks, asked = 0, it.letters.next
        portions: list[int] = []

        def counted(count: int) -> list[Letter]:
            nonlocal ticks
            ticks += 1
            some = asked(count)
            portions.append(len(some))
            assert sum(portions) <= 20 * 0.1 * ticks + 1e-6
            return some

        for offset in range(30):
            it.letters.keep(dead(topic_name, offset))
        monkeypatch.setattr(it.letters, "next", counted)
        async with on_duty(it):
            await until(lambda: it.steward.written_letters == 30)
        assert max(portions) <= 20
        assert len([some for some in portions if some]) >= 10


async def test_letters_of_a_topic_that_was_created_anew_are_written(
    kafka: KafkaCluster, own: Own, topic_name: str
) -> None:
    place = Partition(topic_name, 0)
    await create_topic(kafka.bootstrap, topic_name)
    async with listening(kafka.bootstrap, own, topic_name) as it:
        it.letters.keep(dead(topic_name, 5, b"before"))
        async with on_duty(it):
            await idle(it)
        assert await it.cluster.committed(own.dead_letters) == {place: 6}
        await delete_topic(kafka.bootstrap, topic_name)
        await create_topic(kafka.bootstrap, topic_name)
        async with asyncio.timeout(60):
            while await it.cluster.committed(own.dead_letters):
                pass  # Kafka forgets them with the topic
        async with on_duty(it):
            await until(lambda: place not in it.letters._written)
            it.letters.keep(dead(topic_name, 0, b"after"))
            await idle(it)
    assert await buried(kafka.bootstrap, own) == [b"before", b"after"]


# -- what lasts ------------------------------------------------------------------------------------


async def test_what_lasts_is_written_once_and_how_far_it_goes(
    kafka: KafkaCluster, own: Own
) -> None:
    async with listening(kafka.bootstrap, own) as it, on_duty(it):
        member = Member("ann", "hall")
        key, value = state_records.key(member), state_records.write(member)
        it.steward.keep_lasting(3, key, value)
        it.steward.keep_lasting(
            4, b"title,hall", state_records.write(state_records.Title("hall", "H"))
        )
        it.steward.keep_lasting(5, key, None)
        it.steward.amend(b"title,hall", state_records.write(state_records.Title("hall", "Hall")))
        it.steward.amend(b"title,yard", b"never kept")
        await idle(it)
        await until(lambda: it.steward._folded == 6)
        it.steward.keep_lasting(5, b"title,hall", b"written before")
        it.steward.keep_lasting(6, b"title,yard", None)
        await idle(it)
    found = await records(kafka.bootstrap, own.state)
    assert [(each.key, each.value) for each in found] == [
        (b"title,hall", state_records.write(state_records.Title("hall", "Hall"))),
        (key, None),
        (b"folded", state_records.write(Folded(6))),
        (b"title,yard", None),
        (b"folded", state_records.write(Folded(7))),
    ]


async def test_what_lasts_of_a_control_topic_that_was_created_anew_is_written(
    kafka: KafkaCluster, own: Own
) -> None:
    async with listening(kafka.bootstrap, own) as it:
        async with on_duty(it):
            it.steward.keep_lasting(1000, b"title,hall", None)
            await until(lambda: it.steward._folded == 1001)
        it.steward.keep_lasting(1001, b"title,last", None)
        it.steward.begin_anew()
        it.steward.keep_lasting(0, b"title,first", None)
        async with on_duty(it):
            await until(lambda: it.steward._folded == 1)
    async with listening(kafka.bootstrap, own) as fresh:
        assert fresh.steward._folded == 1
    found = await records(kafka.bootstrap, own.state)
    assert [each.key for each in found if each.key != b"folded"] == [
        *(b"title,hall", b"title,last", b"title,first")
    ]


# -- who is lost, and where somebody is ------------------------------------------------------------


async def test_what_the_census_finds_is_told_once(
    kafka: KafkaCluster, own: Own, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "bridge.core.coordination.presence.SILENT_SECONDS", 1000.0
    )  # no instance speaks here
    async with listening(kafka.bootstrap, own) as it, on_duty(it):
        clients = [client(f"c{n}", "hall") for n in range(20)]
        await say(kafka.bootstrap, own, alive("b1"), *clients)
        await until(lambda: it.census.told == {("room", "hall")})
        await say(kafka.bootstrap, own, alive("b2"), client("here", "yard", boot="b2"))
        await until(lambda: it.census.told == {("room", "yard")})
        await idle(it)
        assert it.census.roster.connections.keys() == {"here"}
    said = await told(kafka.bootstrap, own)
    assert sorted(said) == sorted(
        [
            *(f"disconnected c{n}" for n in range(20)),
            *("occupied hall", "occupied yard", "vacated hall"),
        ]
    )
    assert said[-1] == "vacated hall"
