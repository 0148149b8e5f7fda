"""One story: a cluster, instances and clients under faults chosen by a seed, then the verdict.

Rule: everything random comes from the seed. The story ends when every client has the last events.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any, Final

import httpx

from tests.chaos.faults import BrokerFaults, InstanceFaults, network_faults
from tests.chaos.hostile import hostile_clients
from tests.chaos.promises import check_neighbours, check_presence, check_rooms
from tests.harness.admin import create_topic
from tests.harness.bridge_process import BridgeProcess
from tests.harness.delivery_checker import check
from tests.harness.kafka_cluster import KafkaCluster
from tests.harness.ports import HOST
from tests.journey.acknowledged_producer import AcknowledgedProducer
from tests.journey.bridge_group import ADMIN_TOKEN, TopicFollower
from tests.journey.clients import LAST_TYPE, envelopes, last_event, make_clients
from tests.journey.delivery_expectations import (
    INSTANCE_SETTINGS,
    expected_deliveries,
    make_observations,
    wait_for_last_events,
)
from tests.journey.failure_report import describe_gaps, describe_violations, find_errors
from tests.journey.fault_injection import client_faults, inject_faults, topic_faults
from tests.journey.faulty_network import FaultyNetwork
from tests.journey.reconnecting_client import ReconnectingClient

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.journey.fault_injection import InjectedFault

BROKERS: Final = 3
NETWORKS: Final = 4
HOSTILE_CLIENTS: Final = 4
MOVED_CLIENTS: Final = 6
MOVED_ROOMS: Final = tuple(f"room-{number}" for number in range(4))
PER_SECOND: Final = 300
SETTLE_SECONDS: Final = 240.0
TOPICS: Final = {"orders": 4, "chats": 3, "news": 1}
GROWN: Final = {"orders": 6, "news": 2}
SETTINGS: Final = {
    "HEARTBEAT_SECONDS": "2",
    "LIMITS__OUTBOX_BYTES": "65536",
    "LIMITS__OUTBOX_SECONDS": "3",
    "LIMITS__CONNECTIONS_PER_ADDRESS": "1000",
    "LIMITS__CONNECTIONS_PER_ACCOUNT": "1000",
    "ADMIN_TOKENS": json.dumps([ADMIN_TOKEN]),
}


@dataclass
class Report:
    """What a story did, and every breach of a promise."""

    seed: int
    seconds: float
    events: int = 0
    deliveries: int = 0
    reconnects: int = 0
    gaps: int = 0
    notices: int = 0  #: of lifecycle
    closes: dict[str, int] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)
    violations: dict[str, int] = field(default_factory=dict)  #: deliveries that are wrong, by kind
    breaches: list[str] = field(default_factory=list)
    details: str = ""

    def __str__(self) -> str:
        shown = {k: v for k, v in vars(self).items() if k not in {"breaches", "details"}}
        return " ".join(f"{name}={value}" for name, value in shown.items())


async def tell(seed: int, seconds: float) -> Report:
    """Run the story of `seed` with faults for `seconds`; return its report."""
    report = Report(seed, seconds)
    cluster = await asyncio.to_thread(KafkaCluster(BROKERS).__enter__)
    try:
        for topic, partitions in TOPICS.items():
            await create_topic(cluster.bootstrap, topic, partitions, replication_factor=BROKERS)
        await _Story(report, cluster).run()
    finally:
        await asyncio.to_thread(cluster.__exit__, None, None, None)
    return report


class _Story:
    def __init__(self, report: Report, cluster: KafkaCluster) -> None:
        self._report = report
        self._cluster = cluster
        self._producer = AcknowledgedProducer(cluster.bootstrap, TOPICS, self._rng("partitions"))
        self._bridges: list[BridgeProcess] = []
        self._clients: list[ReconnectingClient] = []
        self._moved: list[ReconnectingClient] = []

    def _rng(self, name: str) -> Random:
        return Random(f"{self._report.seed}/{name}")

    async def run(self) -> None:
        async with AsyncExitStack() as stack:
            await self._start(stack)
            lifecycle = TopicFollower(self._cluster.bootstrap, "push-bridge.lifecycle")
            await stack.enter_async_context(lifecycle)
            instances = InstanceFaults(self._bridges)
            faults = await self._inject(stack, instances)
            await self._settle()
            async with AsyncExitStack() as ending:
                for client in [*self._clients, *self._moved]:
                    ending.push_async_exit(client)
            await self._wait_for_departures(lifecycle)
            codes = [await bridge.terminate() for bridge in self._bridges]
            if codes != [0] * len(codes):
                self._report.breaches.append(f"the instances ended with {codes}")
            logs = {bridge.instance: bridge.stderr() for bridge in self._bridges}
            await asyncio.sleep(1)
        self._report.breaches += instances.errors
        for instance, log in logs.items():
            self._report.breaches += find_errors(instance, log)
        self._judge(faults, lifecycle, instances.paused)

    async def _start(self, stack: AsyncExitStack) -> None:
        for name, own_settings in INSTANCE_SETTINGS.items():
            bridge = BridgeProcess(
                name, TOPICS, self._cluster.bootstrap, **SETTINGS, **own_settings
            )
            self._bridges.append(await stack.enter_async_context(bridge))
        for bridge in self._bridges:
            await bridge.wait_ready()
        ports = [bridge.port for bridge in self._bridges]
        self._networks = [
            await stack.enter_async_context(FaultyNetwork(ports, self._rng(f"network-{number}")))
            for number in range(NETWORKS)
        ]
        direct = [bridge.url for bridge in self._bridges]
        through = [f"ws://{HOST}:{network.port}/ws" for network in self._networks]
        seed, topics = self._report.seed, sorted(TOPICS)
        self._clients = make_clients(seed, [*direct, *through], topics)
        self._clients[1::2] = make_clients(seed, direct, topics)[1::2]
        self._moved = [
            ReconnectingClient(
                f"moved-{number}",
                direct,
                self._rng(f"moved-{number}"),
                last_type=LAST_TYPE,
                account=f"moved-{number}",
            )
            for number in range(MOVED_CLIENTS)
        ]
        for client in [*self._clients, *self._moved]:
            await stack.enter_async_context(client)

    async def _inject(
        self, stack: AsyncExitStack, instances: InstanceFaults
    ) -> list[InjectedFault]:
        ports = [bridge.port for bridge in self._bridges]
        await stack.enter_async_context(
            hostile_clients(ports, HOSTILE_CLIENTS, lambda n: self._rng(f"hostile-{n}"))
        )
        injectors = [
            *client_faults(self._struck_clients(), stall_seconds=(2, 9)),
            *instances.injectors(),
            *BrokerFaults(self._cluster, BROKERS).injectors(),
            *network_faults(self._networks),
            *topic_faults(self._cluster.bootstrap, self._producer, GROWN),
        ]
        background = [
            asyncio.create_task(self._producer.run(envelopes(self._report.seed), PER_SECOND)),
            asyncio.create_task(self._move_accounts()),
        ]
        try:
            return await inject_faults(injectors, self._report.seed, self._report.seconds)
        finally:
            for task in background:
                task.cancel()
            await asyncio.wait(background)

    def _struck_clients(self) -> Sequence[ReconnectingClient]:
        """Return those that stop reading, or whose network does; the rest always read."""
        return self._clients[::2]

    async def _move_accounts(self) -> None:
        """Put the moved clients' accounts into rooms and out again, as a backend does."""
        rng = self._rng("moves")
        headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
        async with httpx.AsyncClient(trust_env=False, timeout=5, headers=headers) as http:
            while True:
                port = rng.choice(self._bridges).port
                room, account = rng.choice(MOVED_ROOMS), f"moved-{rng.randrange(MOVED_CLIENTS)}"
                method = rng.choice(["PUT", "DELETE"])
                url = f"http://{HOST}:{port}/v1/rooms/{room}/accounts/{account}"
                with contextlib.suppress(httpx.TransportError):  # another move comes
                    await http.request(method, url)
                await asyncio.sleep(rng.uniform(0.05, 0.3))

    async def _settle(self) -> None:
        """Publish the last events, and wait until every client has them."""
        for topic, partitions in self._producer.partitions.items():
            for number in range(partitions):
                self._producer.produce(topic, number, last_event(topic, number))
        await self._producer.flush(SETTLE_SECONDS)
        await wait_for_last_events(
            [*self._clients, *self._moved], self._producer.partitions, SETTLE_SECONDS
        )

    async def _wait_for_departures(self, lifecycle: TopicFollower) -> None:
        """Wait until backends were told of every end, or until that is overdue."""

        def have_all_gone() -> bool:
            return not any(check_presence(lifecycle.records, {b.instance for b in self._bridges}))

        try:
            await lifecycle.wait_until(have_all_gone, timeout_seconds=45)
        except TimeoutError:
            return

    def _judge(
        self, faults: Sequence[InjectedFault], lifecycle: TopicFollower, paused: set[str]
    ) -> None:
        report, produced = self._report, self._producer.acknowledged
        observations = make_observations(self._clients, expected_deliveries(produced), TOPICS)
        violations = check(produced, observations)
        report.violations = dict(Counter(violation.kind for violation in violations))
        for client in [*self._clients, *self._moved]:
            state = client.resume_state
            report.breaches += [f"{client.name}: {each}" for each in state.errors]
            report.reconnects += state.connection_count - 1
        for observation in observations:
            report.breaches += describe_gaps(observation)
        for client in self._moved:
            report.breaches += check_rooms(client.name, client.resume_state.frames)
        report.breaches += check_neighbours(self._clients[1::2])
        report.breaches += check_presence(lifecycle.records, paused)
        report.breaches += self._producer.errors
        ops = Counter(f["op"] for client in self._clients for f in client.resume_state.frames)
        closes: Counter[Any] = sum((client.close_codes for client in self._clients), Counter())
        report.events, report.deliveries = len(produced), ops["event"]
        report.gaps, report.notices = ops["gap"], len(lifecycle.records)
        report.closes = {str(code): count for code, count in closes.items()}
        report.faults = dict(Counter(_fault_name(fault) for fault in faults))
        if violations:
            report.breaches.append(f"{len(violations)} deliveries are wrong")
        report.details = "\n".join(
            [*map(str, faults), describe_violations(violations, observations)]
        )


def _fault_name(fault: InjectedFault) -> str:
    kind = fault.target.split(" ")[0].split("-")[0]
    return f"{fault.injector} {'instance' if kind in INSTANCE_SETTINGS else kind}"
