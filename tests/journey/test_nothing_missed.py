"""Nothing missed: clients, instances and the broker are struck down at random, and all come back.

On a real broker, three instances that keep different journals, 60 clients with mixed audiences,
500 events a second, and partitions added on the way. Every client must have got what it was owed
once and in order, and must have been told of no gap, because Kafka still has everything.

Here it is one seed and half a minute, for time. `NOTHING_MISSED_SECONDS=120` is the full form, and
`NOTHING_MISSED_SEED` any other story; `-s` shows the figures.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from contextlib import AsyncExitStack
from random import Random
from typing import TYPE_CHECKING

import pytest

from tests.harness.admin import create_topic
from tests.harness.bridge_process import BridgeProcess
from tests.harness.checker import check
from tests.journey.cast import cast, envelopes, last
from tests.journey.chaos import upon_brokers, upon_clients, upon_instances, upon_topics, wreak
from tests.journey.production import Production
from tests.journey.tale import errors, gaps, tell
from tests.journey.trial import INSTANCES, observed, owed, settled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.harness.kafka_cluster import KafkaCluster
    from tests.journey.chaos import Deed
    from tests.journey.roamer import Roamer

SECONDS = float(os.environ.get("NOTHING_MISSED_SECONDS", "30"))
SEED = int(os.environ.get("NOTHING_MISSED_SEED", "2026"))
PER_SECOND = 500
SETTLE_SECONDS = 240.0
TOPICS = {"orders": 4, "chats": 3, "news": 1}
WIDER = {"orders": 6, "news": 2}
COMMON = {
    "HEARTBEAT_SECONDS": "2",
    "LIMITS__OUTBOX_BYTES": "65536",
    "LIMITS__OUTBOX_SECONDS": "3",
}
pytestmark = [pytest.mark.kafka, pytest.mark.timeout(900 + 4 * SECONDS)]


def figures(clients: Sequence[Roamer], deeds: Sequence[Deed], events: int, took: float) -> str:
    recalls = [client.recall for client in clients]
    ops = Counter(frame["op"] for recall in recalls for frame in recall.frames)
    codes = sum((client.codes for client in clients), Counter[int | None]())
    strikes = Counter(f"{deed.actor} {deed.what.split('-')[0]}" for deed in deeds)
    return (
        f"seed {SEED}: {events} events, {ops['event']} deliveries, "
        f"{sum(recall.connections for recall in recalls) - len(recalls)} reconnects, "
        f"{sum(client.refused for client in clients)} refused, "
        f"{sum(recall.replayed for recall in recalls)} replayed, "
        f"{sum(recall.repeated for recall in recalls)} repeated by right, "
        f"{ops['gap']} gaps, {took:.0f} s; closes {dict(codes)}; {dict(strikes)}"
    )


async def test_everybody_gets_what_is_owed_once_and_in_order_whatever_is_struck_down(
    frail_kafka: KafkaCluster,
) -> None:
    print(f"seed {SEED}, {SECONDS:g} s")  # noqa: T201 - however it ends
    bootstrap = frail_kafka.bootstrap
    for topic, partitions in TOPICS.items():
        await create_topic(bootstrap, topic, partitions)
    production = Production(bootstrap, TOPICS, Random(f"{SEED}/partitions"))
    complaints: list[str] = []
    async with AsyncExitStack() as stack:
        bridges = [
            await stack.enter_async_context(BridgeProcess(name, TOPICS, bootstrap, **COMMON, **its))
            for name, its in INSTANCES.items()
        ]
        for bridge in bridges:
            await bridge.ready()
        clients = cast(SEED, [bridge.url for bridge in bridges], sorted(TOPICS))
        for client in clients:
            await stack.enter_async_context(client)
        actors = [
            *upon_clients(clients, stall=(2, 9)),
            *upon_instances(bridges, complaints),
            *upon_brokers(frail_kafka),
            *upon_topics(bootstrap, production, WIDER),
        ]

        began = time.monotonic()
        producing = asyncio.create_task(production.run(envelopes(SEED), PER_SECOND))
        deeds = await wreak(actors, SEED, SECONDS)
        producing.cancel()
        for topic, partitions in production.partitions.items():
            for number in range(partitions):
                production.say(topic, number, last(topic, number))
        await production.finish(SETTLE_SECONDS)
        await settled(clients, production.partitions, SETTLE_SECONDS)
        took = time.monotonic() - began
        codes = [await bridge.terminate() for bridge in bridges]
        logs = {bridge.instance: bridge.stderr() for bridge in bridges}

    produced = production.acknowledged
    observations = observed(clients, owed(produced), TOPICS)
    violations = check(produced, observations)
    story = figures(clients, deeds, len(produced), took)
    print(story)  # noqa: T201 - for `-s`
    for client in clients:
        complaints += [f"{client.name}: {each}" for each in client.recall.complaints]
    for observation in observations:
        complaints += gaps(observation)
    for instance, log in logs.items():
        complaints += errors(instance, log)
    complaints += production.complaints
    told = "\n".join([story, *map(str, deeds), *complaints])
    assert not violations, f"{told}\n{tell(violations, observations)}"
    assert not complaints, told
    assert codes == [0, 0, 0], told
