"""Faults of instances, of a cluster of brokers, and of the network, as a chaos story injects them.

Rule: an injector repairs what it broke, and at most one broker and one instance is away at a time.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.journey.fault_injection import FaultInjector

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from random import Random

    from tests.harness.bridge_process import BridgeProcess
    from tests.harness.kafka_cluster import KafkaCluster
    from tests.journey.faulty_network import FaultyNetwork

#: A pause above the instance timeout of a story makes the others call the instance gone.
SHORT_PAUSE_SECONDS: Final = (0.5, 4.0)
LONG_PAUSE_SECONDS: Final = (19.0, 23.0)
BROKER_AWAY_SECONDS: Final = (0.0, 4.0)
NETWORK_SECONDS: Final = (0.5, 5.0)
#: How far an instance's clock may be off, in seconds.
CLOCK_SHIFTS: Final = (-7200, -30, 30, 7200)
#: Seconds after which a broker with a full disk has noticed it.
FULL_DISK_SECONDS: Final = 15.0


class InstanceFaults:
    """Kills, deploys, pauses and shifts the clocks of instances; keeps what went wrong."""

    def __init__(self, bridges: Sequence[BridgeProcess]) -> None:
        self.errors: list[str] = []
        self.paused: set[str] = set()  #: names of instances that paused, however briefly
        self._bridges = bridges
        self._lock = asyncio.Lock()

    def injectors(self) -> list[FaultInjector]:
        """Return what befalls instances."""
        return [
            FaultInjector("kills", (3, 12), self._kill),
            FaultInjector("deploys", (3, 12), self._deploy),
            FaultInjector("pauses", (3, 12), self._pause_shortly),
            FaultInjector("pauses for long", (20, 60), self._pause_for_long),
            FaultInjector("shifts the clock of", (15, 45), self._shift_clock),
        ]

    async def _kill(self, rng: Random) -> str:
        return await self._restart(rng, lambda bridge: bridge.kill())

    async def _deploy(self, rng: Random) -> str:
        return await self._restart(rng, self._terminate)

    async def _shift_clock(self, rng: Random) -> str:
        seconds = rng.choice(CLOCK_SHIFTS)
        environment = {"CHAOS_CLOCK_SHIFT_SECONDS": str(seconds), "PYTHONPATH": clock_path()}
        target = await self._restart(rng, self._terminate, **environment)
        return f"{target} by {seconds} s"

    async def _pause_shortly(self, rng: Random) -> str:
        return await self._pause(rng, rng.uniform(*SHORT_PAUSE_SECONDS))

    async def _pause_for_long(self, rng: Random) -> str:
        return await self._pause(rng, rng.uniform(*LONG_PAUSE_SECONDS))

    async def _pause(self, rng: Random, seconds: float) -> str:
        async with self._lock:
            bridge = rng.choice(self._bridges)
            self.paused.add(bridge.instance)
            os.kill(bridge.pid, signal.SIGSTOP)
            try:
                await asyncio.sleep(seconds)
            finally:
                os.kill(bridge.pid, signal.SIGCONT)
            return f"{bridge.instance} for {seconds:.1f} s"

    async def _restart(
        self, rng: Random, end: Callable[[BridgeProcess], Awaitable[None]], **environment: str
    ) -> str:
        async with self._lock:
            bridge = rng.choice(self._bridges)
            await end(bridge)
            await asyncio.sleep(rng.uniform(0, 2))
            bridge.start(**environment)
            await bridge.wait_ready()
            return bridge.instance

    async def _terminate(self, bridge: BridgeProcess) -> None:
        if (code := await bridge.terminate()) != 0:
            self.errors.append(f"{bridge.instance} ended with {code} after SIGTERM")


class BrokerFaults:
    """Kills and pauses one broker of a cluster, or fills its disk."""

    def __init__(self, cluster: KafkaCluster, broker_count: int) -> None:
        self._cluster = cluster
        self._broker_count = broker_count
        self._lock = asyncio.Lock()

    def injectors(self) -> list[FaultInjector]:
        """Return what befalls brokers."""
        return [
            FaultInjector("kills", (8, 25), self._kill),
            FaultInjector("pauses", (8, 25), self._pause),
            FaultInjector("fills the disk of", (25, 60), self._fill_disk),
        ]

    async def _kill(self, rng: Random) -> str:
        async with self._lock:
            broker = rng.randrange(self._broker_count)
            await asyncio.to_thread(self._cluster.kill, broker)
            await asyncio.sleep(rng.uniform(*BROKER_AWAY_SECONDS))
            await self._bring_back(broker)
            return f"broker {broker}"

    async def _pause(self, rng: Random) -> str:
        async with self._lock:
            broker = rng.randrange(self._broker_count)
            pid = self._cluster.pid(broker)
            os.kill(pid, signal.SIGSTOP)
            try:
                await asyncio.sleep(rng.uniform(*NETWORK_SECONDS))
            finally:
                os.kill(pid, signal.SIGCONT)
            await asyncio.to_thread(self._cluster.wait_in_sync)
            return f"broker {broker}"

    async def _fill_disk(self, rng: Random) -> str:
        """Let every write of the broker fail, as on a full disk, until it ends or time is up."""
        async with self._lock:
            broker = rng.randrange(self._broker_count)
            pid = self._cluster.pid(broker)
            _, hard_limit = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard_limit))
            deadline = asyncio.get_running_loop().time() + FULL_DISK_SECONDS
            while self._cluster.is_running(broker):
                if asyncio.get_running_loop().time() > deadline:
                    break
                await asyncio.sleep(0.2)
            await asyncio.to_thread(self._cluster.kill, broker)
            await self._bring_back(broker)
            return f"broker {broker}"

    async def _bring_back(self, broker: int) -> None:
        await asyncio.to_thread(self._cluster.start, broker)
        await asyncio.to_thread(self._cluster.wait_in_sync)


def network_faults(networks: Sequence[FaultyNetwork]) -> list[FaultInjector]:
    """Return what befalls the network between clients and instances."""

    async def cut(rng: Random) -> str:
        network = rng.choice(networks)
        network.cut()
        return f"port {network.port}"

    async def hold(rng: Random) -> str:
        network = rng.choice(networks)
        await network.stall(rng.uniform(*NETWORK_SECONDS))
        return f"port {network.port}"

    async def swallow(rng: Random) -> str:
        network = rng.choice(networks)
        await network.swallow(rng.uniform(*NETWORK_SECONDS))
        return f"port {network.port}"

    return [
        FaultInjector("cuts the network of", (1, 5), cut),
        FaultInjector("holds the network of", (1, 5), hold),
        FaultInjector("swallows on the network of", (2, 8), swallow),
    ]


def clock_path() -> str:
    """Return the `PYTHONPATH` with which a bridge starts with a shifted clock."""
    own = str(Path(__file__).parent / "shifted_clock")
    return os.pathsep.join([own, os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
