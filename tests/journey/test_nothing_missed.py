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
from tests.harness.delivery_checker import check
from tests.journey.acknowledged_producer import AcknowledgedProducer
from tests.journey.clients import envelopes, last_event, make_clients
from tests.journey.delivery_expectations import (
    INSTANCE_SETTINGS,
    expected_deliveries,
    make_observations,
    wait_for_last_events,
)
from tests.journey.failure_report import describe_gaps, describe_violations, find_errors
from tests.journey.fault_injection import (
    broker_faults,
    client_faults,
    inject_faults,
    instance_faults,
    topic_faults,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.harness.kafka_cluster import KafkaCluster
    from tests.journey.fault_injection import InjectedFault
    from tests.journey.reconnecting_client import ReconnectingClient

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


def figures(
    clients: Sequence[ReconnectingClient], deeds: Sequence[InjectedFault], events: int, took: float
) -> str:
    recalls = [client.resume_state for client in clients]
    ops = Counter(frame["op"] for recall in recalls for frame in recall.frames)
    codes = sum((client.close_codes for client in clients), Counter[int | None]())
    strikes = Counter(f"{deed.injector} {deed.target.split('-')[0]}" for deed in deeds)
    return (
        f"seed {SEED}: {events} events, {ops['event']} deliveries, "
        f"{sum(recall.connection_count for recall in recalls) - len(recalls)} reconnects, "
        f"{sum(client.failed_attempts for client in clients)} refused, "
        f"{sum(recall.replayed_count for recall in recalls)} replayed, "
        f"{sum(recall.repeated_count for recall in recalls)} repeated by right, "
        f"{ops['gap']} gaps, {took:.0f} s; closes {dict(codes)}; {dict(strikes)}"
    )


async def test_everybody_gets_what_is_owed_once_and_in_order_whatever_is_struck_down(
    frail_kafka: KafkaCluster,
) -> None:
    print(f"seed {SEED}, {SECONDS:g} s")  # noqa: T201 - however it ends
    bootstrap = frail_kafka.bootstrap
    for topic, partitions in TOPICS.items():
        await create_topic(bootstrap, topic, partitions)
    production = AcknowledgedProducer(bootstrap, TOPICS, Random(f"{SEED}/partitions"))
    complaints: list[str] = []
    async with AsyncExitStack() as stack:
        bridges = [
            await stack.enter_async_context(BridgeProcess(name, TOPICS, bootstrap, **COMMON, **its))
            for name, its in INSTANCE_SETTINGS.items()
        ]
        for bridge in bridges:
            await bridge.wait_ready()
        clients = make_clients(SEED, [bridge.url for bridge in bridges], sorted(TOPICS))
        for client in clients:
            await stack.enter_async_context(client)
        actors = [
            *client_faults(clients, stall_seconds=(2, 9)),
            *instance_faults(bridges, complaints),
            *broker_faults(frail_kafka),
            *topic_faults(bootstrap, production, WIDER),
        ]

        began = time.monotonic()
        producing = asyncio.create_task(production.run(envelopes(SEED), PER_SECOND))
        deeds = await inject_faults(actors, SEED, SECONDS)
        producing.cancel()
        for topic, partitions in production.partitions.items():
            for number in range(partitions):
                production.produce(topic, number, last_event(topic, number))
        await production.flush(SETTLE_SECONDS)
        await wait_for_last_events(clients, production.partitions, SETTLE_SECONDS)
        took = time.monotonic() - began
        codes = [await bridge.terminate() for bridge in bridges]
        logs = {bridge.instance: bridge.stderr() for bridge in bridges}

    produced = production.acknowledged
    observations = make_observations(clients, expected_deliveries(produced), TOPICS)
    violations = check(produced, observations)
    story = figures(clients, deeds, len(produced), took)
    print(story)  # noqa: T201 - for `-s`
    for client in clients:
        complaints += [f"{client.name}: {each}" for each in client.resume_state.errors]
    for observation in observations:
        complaints += describe_gaps(observation)
    for instance, log in logs.items():
        complaints += find_errors(instance, log)
    complaints += production.errors
    told = "\n".join([story, *map(str, deeds), *complaints])
    assert not violations, f"{told}\n{describe_violations(violations, observations)}"
    assert not complaints, told
    assert codes == [0, 0, 0], told
