"""What may befall clients, instances and brokers: a list of actors, each of whom strikes at times.

The rule kept here: who strikes also repairs, so when all are done everything runs again; and what
they choose comes from one seed.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, NamedTuple, Protocol

from aiokafka.errors import KafkaError

from tests.harness.admin import add_partitions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from tests.harness.bridge_process import BridgeProcess
    from tests.harness.kafka_cluster import KafkaCluster
    from tests.journey.acknowledged_producer import AcknowledgedProducer

KAFKA_ERRORS = (KafkaError, OSError, TimeoutError)
RETRY_SECONDS = 0.5


class InterruptibleClient(Protocol):
    """A client that comes back by itself."""

    name: str

    def cut(self) -> None: ...
    async def close(self) -> None: ...
    async def stall(self, seconds: float) -> None: ...


@dataclass(frozen=True)
class FaultInjector:
    """Strikes at intervals between these seconds, at most so many times; says what it struck."""

    name: str
    pause_seconds: tuple[float, float]
    inject: Callable[[Random], Awaitable[str | None]]
    max_times: int | None = None


class InjectedFault(NamedTuple):
    """What was struck, from when to when, in seconds since the beginning."""

    injector: str
    target: str
    start_seconds: float
    end_seconds: float

    def __str__(self) -> str:
        return f"{self.start_seconds:6.1f}-{self.end_seconds:.1f} s: {self.injector} {self.target}"


async def inject_faults(
    injectors: Sequence[FaultInjector], seed: int, seconds: float
) -> list[InjectedFault]:
    """Let all of them strike for `seconds`; return, in order, what they did and repaired."""
    now = asyncio.get_running_loop().time
    began = now()
    faults: list[InjectedFault] = []

    async def run_injector(injector: FaultInjector) -> None:
        rng = Random(f"{seed}/{injector.name}")
        count = 0
        while injector.max_times is None or count < injector.max_times:
            pause = rng.uniform(*injector.pause_seconds)
            if now() + pause > began + seconds:
                return
            await asyncio.sleep(pause)
            start = now()
            target = await injector.inject(rng)
            if target is not None:
                count += 1
                faults.append(InjectedFault(injector.name, target, start - began, now() - began))

    async with asyncio.TaskGroup() as tasks:
        for injector in injectors:
            tasks.create_task(run_injector(injector))
    return sorted(faults, key=lambda deed: deed.start_seconds)


def client_faults(
    clients: Sequence[InterruptibleClient], *, stall_seconds: tuple[float, float]
) -> list[FaultInjector]:
    """Those who cut connections off, end them politely, or keep clients from reading."""

    async def cut(rng: Random) -> str:
        client = rng.choice(clients)
        client.cut()
        return client.name

    async def close(rng: Random) -> str:
        client = rng.choice(clients)
        await client.close()
        return client.name

    async def hold(rng: Random) -> str:
        client = rng.choice(clients)
        await client.stall(rng.uniform(*stall_seconds))
        return client.name

    return [
        FaultInjector("cuts", (0.2, 2.0), cut),
        FaultInjector("parts", (0.3, 3.0), close),
        FaultInjector("stalls", (0.1, 2.0), hold),
        FaultInjector("also stalls", (0.1, 2.0), hold),
    ]


def instance_faults(bridges: Sequence[BridgeProcess], errors: list[str]) -> list[FaultInjector]:
    """Those who kill instances, or end them in order, and start them again."""
    interrupted: set[BridgeProcess] = set()

    async def interrupt(
        rng: Random, stop: Callable[[BridgeProcess], Awaitable[None]]
    ) -> str | None:
        bridge = rng.choice(bridges)
        if bridge in interrupted:
            return None
        interrupted.add(bridge)
        await stop(bridge)
        await asyncio.sleep(rng.uniform(0, 2))
        bridge.start()
        await bridge.wait_ready()
        interrupted.remove(bridge)
        return bridge.instance

    async def terminate(bridge: BridgeProcess) -> None:
        code = await bridge.terminate()
        if code != 0:
            errors.append(f"{bridge.instance} ended in order with {code}")

    async def killed(rng: Random) -> str | None:
        return await interrupt(rng, lambda bridge: bridge.kill())

    async def ended(rng: Random) -> str | None:
        return await interrupt(rng, terminate)

    return [FaultInjector("kills", (2, 6), killed), FaultInjector("terminates", (2, 8), ended)]


def broker_faults(cluster: KafkaCluster) -> list[FaultInjector]:
    """One who kills the broker, and lets it come back with what it had."""

    async def kill(rng: Random) -> str:
        await asyncio.to_thread(cluster.kill, 0)
        await asyncio.sleep(rng.uniform(0, 4))
        await asyncio.to_thread(cluster.start, 0)
        return "the broker"

    return [FaultInjector("kills", (5, 15), kill)]


def topic_faults(
    bootstrap: str, production: AcknowledgedProducer, partition_counts: Mapping[str, int]
) -> list[FaultInjector]:
    """Those who give topics, once, as many partitions as `partition_counts` says."""

    def grow(topic: str, total: int) -> FaultInjector:
        async def strike(_: Random) -> str:
            while True:
                try:
                    await add_partitions(bootstrap, topic, total)
                except KAFKA_ERRORS:
                    await asyncio.sleep(RETRY_SECONDS)
                else:
                    break
            await production.add_partitions(topic, total)
            return f"{topic} to {total}"

        return FaultInjector("widens", (4, 12), strike, max_times=1)

    return [grow(topic, total) for topic, total in partition_counts.items()]
