"""The client libraries miss nothing: server, network and broker are struck down at random.

On a real broker with three instances, each client behind a network of its own that cuts, holds and
swallows. What their users were handed is judged by the same checker as the bridge itself.

Here it is one seed and 20 s, for time. `CLIENTS_SECONDS=150` strikes some hundred times,
`CLIENTS_SEED` is any other story; `-s` shows the figures.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from contextlib import AsyncExitStack
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from tests.conformance.conftest import DRIVERS
from tests.harness.admin import create_topic
from tests.harness.bridge_process import BridgeProcess
from tests.harness.delivery_checker import check
from tests.harness.ports import free_ports
from tests.journey.acknowledged_producer import AcknowledgedProducer
from tests.journey.browser import running_browser
from tests.journey.clients import (
    ACCOUNT_COUNT,
    FILTERS,
    LAST_TYPE,
    ROOM_COUNT,
    envelopes,
    last_event,
)
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
)
from tests.journey.faulty_network import FaultyNetwork
from tests.journey.library_clients import BrowserClient, ProcessClient

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.harness.kafka_cluster import KafkaCluster
    from tests.journey.library_clients import LibraryClient

SECONDS = float(os.environ.get("CLIENTS_SECONDS", "20"))
SEED = int(os.environ.get("CLIENTS_SEED", "2026"))
CLIENTS = 6
PER_SECOND = 200
SETTLE_SECONDS = 180.0
TOPICS = {"orders": 4, "news": 1}
KINDS = {"python": "python", "node": "javascript"}

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600 + 4 * SECONDS)]


def wishes(number: int) -> dict[str, Any]:
    chance = Random(f"{SEED}/wishes/{number}")
    rooms = {f"room-{chance.randrange(ROOM_COUNT)}" for _ in range(chance.randint(1, 3))}
    topics = chance.choice([None, frozenset(TOPICS), frozenset({"orders"})])
    types = chance.choice(FILTERS)
    account = f"account-{number % ACCOUNT_COUNT}"
    return {"account": account, "rooms": rooms, "topics": topics, "types": types}


async def brought_in(
    stack: AsyncExitStack, kind: str, ports: Sequence[int], page: int, profile: Path
) -> list[LibraryClient]:
    """The clients, connected; those of a browser in one page, which is at the port `page`."""
    given = [
        (f"{kind}-{number}", ports, Random(f"{SEED}/network/{number}")) for number in range(CLIENTS)
    ]
    clients: list[LibraryClient] = []
    if kind == "chromium":
        await stack.enter_async_context(FaultyNetwork(ports, Random(SEED), port=page))
        browser = stack.enter_context(running_browser(profile))
        await asyncio.to_thread(browser.visit, f"http://127.0.0.1:{page}/healthz")
        clients += [
            BrowserClient(browser, *it, last=LAST_TYPE, **wishes(n)) for n, it in enumerate(given)
        ]
    else:
        command = DRIVERS[KINDS[kind]]
        clients += [
            ProcessClient(command, *it, last=LAST_TYPE, **wishes(n)) for n, it in enumerate(given)
        ]
    for client in clients:
        await stack.enter_async_context(client)
    return clients


@pytest.mark.parametrize(
    "kind",
    [
        "python",
        pytest.param("node", marks=pytest.mark.node),
        pytest.param("chromium", marks=pytest.mark.browser),
    ],
)
async def test_its_users_miss_nothing_and_get_nothing_twice(
    frail_kafka: KafkaCluster, kind: str, tmp_path: Path
) -> None:
    print(f"{kind}, seed {SEED}, {SECONDS:g} s")  # noqa: T201 - however it ends
    bootstrap = frail_kafka.bootstrap
    for topic, partitions in TOPICS.items():
        await create_topic(bootstrap, topic, partitions)
    production = AcknowledgedProducer(bootstrap, TOPICS, Random(f"{SEED}/partitions"))
    complaints: list[str] = []
    async with AsyncExitStack() as stack:
        (page,) = free_ports(1)
        origins = f'["http://127.0.0.1:{page}"]'
        common = {"HEARTBEAT_SECONDS": "2", "ALLOWED_ORIGINS": origins}
        bridges = [
            await stack.enter_async_context(BridgeProcess(name, TOPICS, bootstrap, **common, **its))
            for name, its in INSTANCE_SETTINGS.items()
        ]
        for bridge in bridges:
            await bridge.wait_ready()
        ports = [bridge.port for bridge in bridges]
        clients = await brought_in(stack, kind, ports, page, tmp_path)
        await asyncio.gather(*(client.wait_welcomed(SETTLE_SECONDS) for client in clients))
        actors = [
            *client_faults(clients, stall_seconds=(1, 12)),
            *instance_faults(bridges, complaints),
            *broker_faults(frail_kafka),
        ]
        producing = asyncio.create_task(production.run(envelopes(SEED), PER_SECOND))
        deeds = await inject_faults(actors, SEED, SECONDS)
        producing.cancel()
        for topic, partitions in production.partitions.items():
            for number in range(partitions):
                production.produce(topic, number, last_event(topic, number))
        await production.flush(SETTLE_SECONDS)
        await wait_for_last_events(clients, production.partitions, SETTLE_SECONDS)
        codes = [await bridge.terminate() for bridge in bridges]
        logs = {bridge.instance: bridge.stderr() for bridge in bridges}
        for client in clients:
            complaints += client.errors
        connections = sum(client.network.connection_count for client in clients)

    produced = production.acknowledged
    observations = make_observations(clients, expected_deliveries(produced), TOPICS)
    violations = check(produced, observations)
    ops = Counter(frame["op"] for client in clients for frame in client.frames)
    strikes = Counter(f"{deed.injector} {deed.target.split('-')[0]}" for deed in deeds)
    story = (
        f"{kind}: {len(produced)} events, {ops['event']} handed out, {connections} connections,"
        f" {ops['gap']} gaps, {len(deeds)} strikes: {dict(strikes)}"
    )
    print(story)  # noqa: T201 - for `-s`
    for observation in observations:
        complaints += describe_gaps(observation)
    for instance, log in logs.items():
        complaints += find_errors(instance, log)
    complaints += production.errors
    told = "\n".join([story, *map(str, deeds), *complaints])
    assert not violations, f"{told}\n{describe_violations(violations, observations)}"
    assert not complaints, told
    assert codes == [0, 0, 0], told
