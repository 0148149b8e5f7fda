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
from tests.harness.checker import check
from tests.harness.ports import free_ports
from tests.journey.browser import browsing
from tests.journey.cast import ACCOUNTS, FILTERS, LAST, ROOMS, envelopes, last
from tests.journey.chaos import upon_brokers, upon_clients, upon_instances, wreak
from tests.journey.driven import Process, Window
from tests.journey.network import Network
from tests.journey.production import Production
from tests.journey.tale import errors, gaps, tell
from tests.journey.trial import INSTANCES, observed, owed, settled

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.harness.kafka_cluster import KafkaCluster
    from tests.journey.driven import Driven

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
    rooms = {f"room-{chance.randrange(ROOMS)}" for _ in range(chance.randint(1, 3))}
    topics = chance.choice([None, frozenset(TOPICS), frozenset({"orders"})])
    types = chance.choice(FILTERS)
    account = f"account-{number % ACCOUNTS}"
    return {"account": account, "rooms": rooms, "topics": topics, "types": types}


async def brought_in(
    stack: AsyncExitStack, kind: str, ports: Sequence[int], page: int, profile: Path
) -> list[Driven]:
    """The clients, connected; those of a browser in one page, which is at the port `page`."""
    given = [
        (f"{kind}-{number}", ports, Random(f"{SEED}/network/{number}")) for number in range(CLIENTS)
    ]
    clients: list[Driven] = []
    if kind == "chromium":
        await stack.enter_async_context(Network(ports, Random(SEED), port=page))
        browser = stack.enter_context(browsing(profile))
        await asyncio.to_thread(browser.visit, f"http://127.0.0.1:{page}/healthz")
        clients += [Window(browser, *it, last=LAST, **wishes(n)) for n, it in enumerate(given)]
    else:
        command = DRIVERS[KINDS[kind]]
        clients += [Process(command, *it, last=LAST, **wishes(n)) for n, it in enumerate(given)]
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
    production = Production(bootstrap, TOPICS, Random(f"{SEED}/partitions"))
    complaints: list[str] = []
    async with AsyncExitStack() as stack:
        (page,) = free_ports(1)
        origins = f'["http://127.0.0.1:{page}"]'
        common = {"HEARTBEAT_SECONDS": "2", "ALLOWED_ORIGINS": origins}
        bridges = [
            await stack.enter_async_context(BridgeProcess(name, TOPICS, bootstrap, **common, **its))
            for name, its in INSTANCES.items()
        ]
        for bridge in bridges:
            await bridge.ready()
        ports = [bridge.port for bridge in bridges]
        clients = await brought_in(stack, kind, ports, page, tmp_path)
        await asyncio.gather(*(client.is_there(SETTLE_SECONDS) for client in clients))
        actors = [
            *upon_clients(clients, stall=(1, 12)),
            *upon_instances(bridges, complaints),
            *upon_brokers(frail_kafka),
        ]
        producing = asyncio.create_task(production.run(envelopes(SEED), PER_SECOND))
        deeds = await wreak(actors, SEED, SECONDS)
        producing.cancel()
        for topic, partitions in production.partitions.items():
            for number in range(partitions):
                production.say(topic, number, last(topic, number))
        await production.finish(SETTLE_SECONDS)
        await settled(clients, production.partitions, SETTLE_SECONDS)
        codes = [await bridge.terminate() for bridge in bridges]
        logs = {bridge.instance: bridge.stderr() for bridge in bridges}
        for client in clients:
            complaints += client.complaints
        connections = sum(client.network.connections for client in clients)

    produced = production.acknowledged
    observations = observed(clients, owed(produced), TOPICS)
    violations = check(produced, observations)
    ops = Counter(frame["op"] for client in clients for frame in client.frames)
    strikes = Counter(f"{deed.actor} {deed.what.split('-')[0]}" for deed in deeds)
    story = (
        f"{kind}: {len(produced)} events, {ops['event']} handed out, {connections} connections,"
        f" {ops['gap']} gaps, {len(deeds)} strikes: {dict(strikes)}"
    )
    print(story)  # noqa: T201 - for `-s`
    for observation in observations:
        complaints += gaps(observation)
    for instance, log in logs.items():
        complaints += errors(instance, log)
    complaints += production.complaints
    told = "\n".join([story, *map(str, deeds), *complaints])
    assert not violations, f"{told}\n{tell(violations, observations)}"
    assert not complaints, told
    assert codes == [0, 0, 0], told
