"""Nobody suffers from those who come back, and they not from each other: both brokers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.harness.admin import fresh_name
from tests.kafka.brokers import MemoryBroker, RealBroker
from tests.kafka.headless_instance import envelope, envelopes, running_instance
from tests.kafka.held_replays import wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.harness.kafka_cluster import KafkaCluster
    from tests.kafka.brokers import Broker
    from tests.kafka.resuming_client import ResumingClient

LARGE = 2_000


@pytest.fixture(params=["memory", pytest.param("real", marks=pytest.mark.kafka)])
async def broker(request: pytest.FixtureRequest) -> Broker:
    if request.param == "memory":
        return MemoryBroker()
    kafka: KafkaCluster = request.getfixturevalue("kafka")
    return RealBroker(kafka.bootstrap)


@pytest.fixture
async def topic(broker: Broker) -> str:
    """A topic of one partition and 1,000 events, 2 MB: many fetches of a replay."""
    broker.client.fetch_max_bytes = 1
    name = fresh_name()
    await broker.create(name)
    await broker.produce(name, envelopes(1000, size=LARGE))
    return name


async def test_those_who_come_back_together_read_the_range_once(broker, topic):
    async with running_instance(broker.client, topic) as it:
        clients = [it.resume(it.cursor_at({0: n})) for n in range(20)]
        for n, client in enumerate(clients):
            await client.wait_live()
            assert client.offsets() == {0: [*range(n, 1000)]}
        assert it.source.records_read == 1000
        assert broker.client.max_concurrent_fetches == 1


async def asked(fetches: Sequence[object], count: int) -> None:
    await wait_until(lambda: len(fetches) >= count)


async def heard(client: ResumingClient, count: int) -> None:
    await client.wait_until(lambda: len(client.frames_of("event")) == count)


async def test_live_events_keep_coming_while_others_are_replayed(broker, topic):
    async with running_instance(broker.client, topic) as it:
        fetches = broker.client.fetched_offsets
        there = it.connect_new("eve")
        back = it.resume(it.cursor_at({0: 0}))
        broker.client.hold_fetches(lambda _: len(fetches) > 1 + len(there.frames_of("event")))
        for n in range(5):
            # The replay may not go on before the event has arrived.
            await asked(fetches, n + 2)
            await broker.produce(topic, [envelope(n)])
            await heard(there, n + 1)
            assert not back.is_live
        broker.client.release()
        await back.wait_live()
        await back.wait_until(lambda: len(back.frames_of("event")) == 1005)
        assert back.offsets() == {0: [*range(1005)]}
        assert there.offsets() == {0: [*range(1000, 1005)]}


async def test_a_slow_reader_delays_nobody_and_goes_on_where_it_was(broker, topic):
    """It leaves the pass, and comes back to it, or to the journal, when it has read."""
    async with running_instance(broker.client, topic) as it:
        quick, slow = it.resume(it.cursor_at({0: 0})), it.resume(it.cursor_at({0: 0}), held=True)
        await quick.wait_live()
        assert quick.offsets() == {0: [*range(1000)]}
        assert 0 < slow.session.outbox.pending_bytes < 300_000, (
            "that much is queued for it, no more"
        )
        await broker.produce(topic, envelopes(10))
        await quick.wait_until(lambda: len(quick.frames_of("event")) == 1010)
        turns = 0
        while not slow.is_live:
            await wait_until(lambda: slow.session.outbox.pending_bytes)
            slow.resume_reading()
            slow.is_held = True
            turns += 1
        assert turns > 5
        assert slow.offsets() == {0: [*range(1010)]}
        assert slow.frames_of("closing") == []
        assert it.source.records_read == 1000, "it had the rest from the journal"


async def test_a_slow_reader_whom_the_journal_can_not_wait_for_reads_kafka_again(broker, topic):
    async with running_instance(broker.client, topic, journal=0) as it:
        slow = it.resume(it.cursor_at({0: 0}), held=True)
        turns = 0
        while not slow.is_live:
            await wait_until(
                lambda: slow.session.outbox.pending_bytes > 200_000 or not it.replaying_count()
            )
            slow.resume_reading()
            slow.is_held = True
            turns += 1
        assert slow.offsets() == {0: [*range(1000)]}
        assert turns > 5
        assert it.source.records_read < 3000, "not the whole of it each time"


async def test_who_is_cut_off_in_the_middle_of_a_replay_goes_on_there(broker, topic):
    """By the newest cursor and the positions since, on an instance that has nothing of it."""
    async with running_instance(broker.client, topic) as it:
        broker.client.hold_fetches(lambda wanted: max(wanted.values()) > 300)
        client = it.resume(it.cursor_at({0: 0}))
        await broker.client.wait_until_held()
        seen, cursor = client.offsets()[0], client.cursor()
        client.disconnect()
        broker.client.release()
    async with running_instance(broker.new_client(), topic) as other:
        again = other.resume(cursor)
        await again.wait_live()
        assert seen
        assert seen + again.offsets()[0] == [*range(1000)]
