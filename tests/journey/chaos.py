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
    from tests.journey.production import Production

OUT_OF_REACH = (KafkaError, OSError, TimeoutError)
RETRY_SECONDS = 0.5


class Client(Protocol):
    """A client that comes back by itself."""

    name: str

    def cut(self) -> None: ...
    async def part(self) -> None: ...
    async def stall(self, seconds: float) -> None: ...


@dataclass(frozen=True)
class Actor:
    """Strikes at intervals between these seconds, at most so many times; says what it struck."""

    name: str
    pause: tuple[float, float]
    strike: Callable[[Random], Awaitable[str | None]]
    times: int | None = None


class Deed(NamedTuple):
    """What was struck, from when to when, in seconds since the beginning."""

    actor: str
    what: str
    began: float
    ended: float

    def __str__(self) -> str:
        return f"{self.began:6.1f}-{self.ended:.1f} s: {self.actor} {self.what}"


async def wreak(actors: Sequence[Actor], seed: int, seconds: float) -> list[Deed]:
    """Let all of them strike for `seconds`; return, in order, what they did and repaired."""
    now = asyncio.get_running_loop().time
    began = now()
    deeds: list[Deed] = []

    async def act(actor: Actor) -> None:
        chance = Random(f"{seed}/{actor.name}")
        struck = 0
        while actor.times is None or struck < actor.times:
            pause = chance.uniform(*actor.pause)
            if now() + pause > began + seconds:
                return
            await asyncio.sleep(pause)
            at = now()
            what = await actor.strike(chance)
            if what is not None:
                struck += 1
                deeds.append(Deed(actor.name, what, at - began, now() - began))

    async with asyncio.TaskGroup() as tasks:
        for actor in actors:
            tasks.create_task(act(actor))
    return sorted(deeds, key=lambda deed: deed.began)


def upon_clients(clients: Sequence[Client], *, stall: tuple[float, float]) -> list[Actor]:
    """Those who cut connections off, end them politely, or keep clients from reading."""

    async def cut(chance: Random) -> str:
        client = chance.choice(clients)
        client.cut()
        return client.name

    async def part(chance: Random) -> str:
        client = chance.choice(clients)
        await client.part()
        return client.name

    async def hold(chance: Random) -> str:
        client = chance.choice(clients)
        await client.stall(chance.uniform(*stall))
        return client.name

    return [
        Actor("cuts", (0.2, 2.0), cut),
        Actor("parts", (0.3, 3.0), part),
        Actor("stalls", (0.1, 2.0), hold),
        Actor("also stalls", (0.1, 2.0), hold),
    ]


def upon_instances(bridges: Sequence[BridgeProcess], complaints: list[str]) -> list[Actor]:
    """Those who kill instances, or end them in order, and start them again."""
    struck: set[BridgeProcess] = set()

    async def strike(chance: Random, end: Callable[[BridgeProcess], Awaitable[None]]) -> str | None:
        bridge = chance.choice(bridges)
        if bridge in struck:
            return None
        struck.add(bridge)
        await end(bridge)
        await asyncio.sleep(chance.uniform(0, 2))
        bridge.start()
        await bridge.ready()
        struck.remove(bridge)
        return bridge.instance

    async def terminate(bridge: BridgeProcess) -> None:
        code = await bridge.terminate()
        if code != 0:
            complaints.append(f"{bridge.instance} ended in order with {code}")

    async def killed(chance: Random) -> str | None:
        return await strike(chance, lambda bridge: bridge.kill())

    async def ended(chance: Random) -> str | None:
        return await strike(chance, terminate)

    return [Actor("kills", (2, 6), killed), Actor("terminates", (2, 8), ended)]


def upon_brokers(cluster: KafkaCluster) -> list[Actor]:
    """One who kills the broker, and lets it come back with what it had."""

    async def kill(chance: Random) -> str:
        await asyncio.to_thread(cluster.kill, 0)
        await asyncio.sleep(chance.uniform(0, 4))
        await asyncio.to_thread(cluster.start, 0)
        return "the broker"

    return [Actor("kills", (5, 15), kill)]


def upon_topics(bootstrap: str, production: Production, totals: Mapping[str, int]) -> list[Actor]:
    """Those who give topics, once, as many partitions as `totals` says."""

    def grow(topic: str, total: int) -> Actor:
        async def strike(_: Random) -> str:
            while True:
                try:
                    await add_partitions(bootstrap, topic, total)
                except OUT_OF_REACH:
                    await asyncio.sleep(RETRY_SECONDS)
                else:
                    break
            await production.widen(topic, total)
            return f"{topic} to {total}"

        return Actor("widens", (4, 12), strike, times=1)

    return [grow(topic, total) for topic, total in totals.items()]
