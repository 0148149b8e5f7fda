"""What a client that comes back is sent, and of what it is told: on a real broker and in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bridge.core.replay.retention import ReplayLimits
from tests.harness.admin import fresh_name
from tests.kafka.brokers import HOUR_MS, NOW_MS, MemoryBroker, RealBroker
from tests.kafka.headless_instance import envelopes, running_instance
from tests.kafka.held_replays import wait_until

if TYPE_CHECKING:
    from bridge.kafka.client.client import KafkaClient
    from tests.harness.kafka_cluster import KafkaCluster
    from tests.kafka.brokers import Broker
    from tests.kafka.headless_instance import HeadlessInstance


@pytest.fixture(params=["memory", pytest.param("real", marks=pytest.mark.kafka)])
async def broker(request: pytest.FixtureRequest) -> Broker:
    if request.param == "memory":
        return MemoryBroker()
    kafka: KafkaCluster = request.getfixturevalue("kafka")
    return RealBroker(kafka.bootstrap)


@pytest.fixture
async def topic(broker: Broker) -> str:
    """A topic of one partition and 100 events."""
    name = fresh_name()
    await broker.create(name)
    await broker.produce(name, envelopes(100))
    return name


def on(broker: Broker) -> KafkaClient:
    cluster: KafkaClient = broker.client
    return cluster


# -- what comes ---------------------------------------------------------------------------------


async def test_exactly_what_was_missed_and_then_what_happens(broker, topic):
    async with running_instance(on(broker), topic) as it:
        client = it.resume(it.cursor_at({0: 40}))
        assert (await client.wait_live())["replayed"] == 60
        await broker.produce(topic, envelopes(5))
        await client.wait_until(lambda: len(client.frames_of("event")) == 65)
        assert client.offsets() == {0: [*range(40, 105)]}
        assert client.ops() == ["welcome", "event", "live", "event"]


async def test_the_last_positions_count_beside_the_cursor(broker, topic):
    async with running_instance(on(broker), topic) as it:
        first = it.resume(it.cursor_at({0: 40}))
        await first.wait_live()
        await broker.produce(topic, envelopes(5))
        await first.wait_until(lambda: len(first.frames_of("event")) == 65)
        cursor = first.cursor()
        assert cursor.endswith(f",{topic}:0:104")
        first.disconnect()
        await broker.produce(topic, envelopes(5))
        again = it.resume(cursor)
        await again.wait_live()
        await again.wait_until(lambda: len(again.frames_of("event")) == 5)
        assert again.offsets() == {0: [*range(105, 110)]}


async def test_only_what_is_for_the_client_comes(broker, topic):
    await broker.produce(topic, envelopes(100, to="bob"))
    await broker.produce(topic, envelopes(3, to="ann"))
    async with running_instance(on(broker), topic) as it:
        ann, eve = it.resume(it.cursor_at({0: 90}), "ann"), it.resume(it.cursor_at({0: 90}), "eve")
        for client in (ann, eve):
            await client.wait_live()
        assert ann.offsets() == {0: [*range(90, 100), 200, 201, 202]}
        assert eve.offsets() == {0: [*range(90, 100)]}


async def test_partitions_that_the_cursor_does_not_know_come_from_their_beginning(broker):
    topic = fresh_name()
    await broker.create(topic, 3)
    for partition in range(3):
        await broker.produce(topic, envelopes(10), partition)
    async with running_instance(on(broker), topic) as it:
        client = it.resume(it.cursor_at({1: 7}))
        await client.wait_live()
        assert client.offsets() == {0: [*range(10)], 1: [7, 8, 9], 2: [*range(10)]}
        assert client.gaps() == []


async def test_topics_that_the_cursor_does_not_know_are_live(broker, topic):
    other = fresh_name()
    await broker.create(other)
    await broker.produce(other, envelopes(10))
    async with running_instance(on(broker), topic, other) as it:
        client = it.resume(it.cursor_at({0: 98}))
        await client.wait_live()
        await broker.produce(other, envelopes(1))
        await client.wait_until(lambda: len(client.frames_of("event")) == 3)
        assert [each["at"] for each in client.frames_of("event")] == [
            f"{topic}:0:98",
            f"{topic}:0:99",
            f"{other}:0:10",
        ]


async def test_an_instance_that_is_behind_the_cursor_sends_nothing_below_it(broker, topic):
    """Whether it is beyond what there is, only Kafka can say; this instance has not read so far."""
    async with running_instance(on(broker), topic) as it:
        it.hub.topic_positions[topic].set_next_offset(0, 60)
        client = it.resume(it.cursor_at({0: 90}))
        await client.wait_live()
        assert client.gaps() == []
        assert client.session.min_offsets == {topic: {0: 90}}


# -- gaps ---------------------------------------------------------------------------------------


async def gap_of(
    it: HeadlessInstance, topic: str, client: Any, broker: Broker, reason: str
) -> None:
    """There is one gap, at the beginning, and it goes on live from there."""
    live = await client.wait_live()
    assert client.gaps() == [(topic, reason)]
    assert live["replayed"] == 0
    assert client.ops() == ["welcome", "gap", "live"]
    end = it.hub.topic_positions[topic].next_offsets[0]
    assert client.frames_of("gap")[0]["cursor"] == live["cursor"] == it.hub.cursor(client.session)
    await broker.produce(topic, envelopes(1))
    await client.wait_until(lambda: client.frames_of("event"))
    assert client.offsets() == {0: [end]}


async def test_what_was_deleted_is_a_gap(broker, topic):
    await broker.delete_before(topic, 50)
    async with running_instance(on(broker), topic) as it:
        await gap_of(it, topic, it.resume(it.cursor_at({0: 49})), broker, "expired")
        near = it.resume(it.cursor_at({0: 50}))
        await near.wait_live()
        assert near.offsets() == {0: [*range(50, 101)]}


async def test_a_partition_that_the_cursor_does_not_know_and_whose_beginning_is_gone(broker, topic):
    await broker.delete_before(topic, 50)
    async with running_instance(on(broker), topic) as it:
        await gap_of(it, topic, it.resume(it.cursor_at({})), broker, "expired")


async def test_a_cursor_beyond_the_end_is_a_gap(broker, topic):
    async with running_instance(on(broker), topic) as it:
        await gap_of(it, topic, it.resume(it.cursor_at({0: 101})), broker, "truncated")
        at_the_end = it.resume(it.cursor_at({0: 101}))
        await at_the_end.wait_live()
        assert at_the_end.gaps() == []


@pytest.mark.parametrize("grown", [10, 200], ids=["shorter", "grown past the old position"])
async def test_a_topic_that_was_created_again_is_a_gap_and_comes_from_its_beginning(
    broker, topic, grown
):
    async with running_instance(on(broker), topic) as it:
        cursor = it.cursor_at({0: 60})
        live = it.connect_new("eve")
        await broker.delete(topic)
        await broker.create(topic)
        await broker.produce(topic, envelopes(grown))
        await live.wait_until(lambda: len(live.frames_of("event")) == grown)
        client = it.resume(cursor)
        await client.wait_live()
        for each in (client, live):
            assert each.gaps() == [(topic, "recreated")]
            assert each.offsets() == {0: [*range(grown)]}
        assert client.ops() == ["welcome", "gap", "event", "live"]
        assert live.ops() == ["welcome", "gap", "event"]
        again = it.resume(client.cursor())
        await again.wait_live()
        assert again.ops() == ["welcome", "live"]


@pytest.mark.parametrize("grown", [10, 900], ids=["shorter", "grown past the old position"])
async def test_a_topic_that_is_created_again_while_it_is_replayed(broker, grown):
    """Nothing of its new life comes before the gap, and of its old one nothing after."""
    topic = fresh_name()
    await broker.create(topic)
    await broker.produce(topic, envelopes(700))
    async with running_instance(on(broker), topic) as it:
        broker.client.fetch_max_bytes = 1
        broker.client.hold_fetches(lambda wanted: max(wanted.values()) >= 300)
        first = it.hub.topic_positions[topic].topic_id
        client = it.resume(it.cursor_at({0: 0}))
        await broker.client.wait_until_held()
        await broker.delete(topic)
        await broker.create(topic)
        await broker.produce(topic, envelopes(grown, start=10_000))
        await wait_until(lambda: it.hub.topic_positions[topic].topic_id != first)
        broker.client.release()
        await client.wait_until(lambda: client.gaps() and client.is_live)
        await client.wait_until(lambda: len(client.frames_of("event")) >= 300 + grown)
        gap = client.frames().index(client.frames_of("gap")[0])
        before = [each for each in client.frames()[:gap] if each["op"] == "event"]
        after = [each for each in client.frames()[gap:] if each["op"] == "event"]
        assert client.gaps() == [(topic, "recreated")]
        assert [each["data"] for each in before] == [str(n) for n in range(len(before))]
        assert [each["data"] for each in after] == [str(10_000 + n) for n in range(grown)]


@pytest.mark.parametrize("by", ["cursor", "since"])
async def test_what_is_deleted_in_the_middle_of_a_replay_is_a_gap(broker, by):
    """Also to one that asked for a time: what it had been promised is not there any more."""
    topic = fresh_name()
    await broker.create(topic)
    await broker.produce(topic, envelopes(700, size=100))
    async with running_instance(on(broker), topic) as it:
        broker.client.fetch_max_bytes = 1
        broker.client.hold_fetches(lambda wanted: max(wanted.values()) >= 200)
        client = (
            it.resume(it.cursor_at({0: 0})) if by == "cursor" else await it.connect_since(NOW_MS)
        )
        await broker.client.wait_until_held()
        await broker.delete_before(topic, 600)
        broker.client.release()
        await client.wait_live()
        assert client.ops() == ["welcome", "event", "gap", "live"]
        assert client.gaps() == [(topic, "expired")]
        (came,) = client.offsets().values()
        assert came == [*range(len(came))]
        assert len(came) < 600


@pytest.mark.parametrize("limit", ["records", "bytes", "age"])
async def test_what_exceeds_a_limit_is_a_gap_but_not_what_the_journal_has(broker, limit):
    """Each limit alone; and the smallest topics are still replayed where only a larger exceeds."""
    small, large = fresh_name("small"), fresh_name("large")
    old = NOW_MS - HOUR_MS
    for topic, count, time in (
        (small, 10, NOW_MS),
        (large, 1000, old if limit == "age" else NOW_MS),
    ):
        await broker.create(topic)
        await broker.produce(topic, envelopes(count, size=1000), time_ms=time)
    limits = ReplayLimits(
        900 if limit == "records" else 10**6, 200_000 if limit == "bytes" else 10**9
    )
    age = 60.0 if limit == "age" else 10.0**9
    async with running_instance(on(broker), small, large, limits=limits, age=age) as it:
        it.set_wall_ms(NOW_MS)
        broker.client.fetch_max_bytes = 100_000
        client = it.resume(it.cursor_at({0: 0}, {0: 0}))
        await client.wait_live()
        assert client.gaps() == [(large, "limit")]
        ats = [each["at"] for each in client.frames_of("event")]
        assert [at for at in ats if at.startswith(small)] == [f"{small}:0:{n}" for n in range(10)]
        assert limit == "bytes" or len(ats) == 10, "it is known beforehand"
        # The journal is not bound by any of it.
        await broker.produce(large, envelopes(1000, size=1000), time_ms=old)
        await client.wait_until(lambda: it.hub.topic_positions[large].next_offsets == {0: 2000})
        back = it.resume(it.cursor_at({0: 0}, {0: 1000}))
        await back.wait_live()
        assert back.gaps() == []
        assert len(back.frames_of("event")) == 1010


# -- since --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ms", "first"),
    [
        (NOW_MS - HOUR_MS + 1, 50),
        (NOW_MS - HOUR_MS, 0),
        (NOW_MS, 50),
        (NOW_MS + 1, 100),
        (NOW_MS - 9 * HOUR_MS, 0),
    ],
    ids=["between", "to the millisecond", "the last", "in the future", "before all"],
)
async def test_since_is_replayed_from_that_time(broker, ms, first):
    topic = fresh_name()
    await broker.create(topic)
    await broker.produce(topic, envelopes(50), time_ms=NOW_MS - HOUR_MS)
    await broker.produce(topic, envelopes(50), time_ms=NOW_MS)
    async with running_instance(on(broker), topic) as it:
        client = await it.connect_since(ms)
        assert (await client.wait_live())["replayed"] == 100 - first
        assert client.offsets().get(0, []) == [*range(first, 100)]
        assert client.gaps() == []


async def test_since_before_the_logs_start_begins_there_without_a_gap(broker, topic):
    await broker.delete_before(topic, 30)
    async with running_instance(on(broker), topic) as it:
        client = await it.connect_since(NOW_MS - HOUR_MS)
        await client.wait_live()
        assert client.offsets() == {0: [*range(30, 100)]}
        assert client.gaps() == []


async def test_since_before_the_age_limit_begins_there_without_a_gap(broker):
    topic = fresh_name()
    await broker.create(topic)
    for hours in (3, 2, 1):
        await broker.produce(topic, envelopes(10), time_ms=NOW_MS - hours * HOUR_MS)
    async with running_instance(on(broker), topic, age=2.5 * HOUR_MS / 1000) as it:
        it.set_wall_ms(NOW_MS)
        client = await it.connect_since(NOW_MS - 9 * HOUR_MS)
        await client.wait_live()
        assert client.offsets() == {0: [*range(10, 30)]}
        assert client.gaps() == []
