"""A storm: thousands of clients come back at once to an instance that has nothing in memory.

    python -m tests.journey.storm [--clients 5000] [--records 200000] [--watchers 100] [--runs 1]
                                  [--pin]

starts a Kafka of its own, and prints for each run what the storm cost. With `--pin` the bridge has
the first core for itself, and everything else the others.

The rule kept here: every client is judged; a storm that was survived by leaving something out
does not count.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import httpx

from tests.harness.admin import create_topic
from tests.harness.bridge_process import BridgeProcess
from tests.harness.kafka_cluster import KafkaCluster
from tests.harness.ports import HOST
from tests.harness.recording_client import RecordingClient
from tests.journey.client_pool import BufferedClient, connect_all
from tests.journey.missed_events import PARTITIONS, MissedEvents, check_received

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

ROOT: Final = Path(__file__).parents[2]
TIMEOUT_SECONDS = 300.0
IDLE_SECONDS = 3.0
HEARTBEAT_SECONDS = 1.0
RECORDS_READ = "push_bridge_replay_records_read_total"
EVENTS_DELIVERED = "push_bridge_events_delivered_total"
CPU_SECONDS = "process_cpu_seconds_total"


class StormSize(NamedTuple):
    """How many come back, how much they have missed, and how many never left."""

    clients: int = 5_000
    records: int = 200_000
    idle_clients: int = 100


@dataclass(frozen=True)
class StormReport:
    """What one storm cost."""

    records_read: int  #: from Kafka, to replay
    events: int  #: that clients were handed
    overloaded_count: int  #: clients that were told to come back later, and did
    seconds: float  #: from the first connect until the last `live`
    cpu_seconds: float  #: of the bridge, meanwhile
    memory_mb: float  #: of the bridge, at its most
    heartbeat_delay_seconds: float  #: the longest of those who had never left, beyond the interval
    idle_heartbeat_delay_seconds: float
    failures: tuple[str, ...]  #: sentences about clients that were not served rightly


class StormClient:
    """One that comes back, as often as it is told to, until it is live."""

    def __init__(self, port: int, cursor: str, **query: str) -> None:
        self.connections: list[BufferedClient] = []
        self._port = port
        self._cursor = cursor
        self._query = query

    async def reconnect(self) -> None:
        while True:
            reader = BufferedClient(HOST, self._port, cursor=self._cursor, **self._query)
            self.connections.append(reader)
            await connect_all(HOST, self._port, [reader])
            await reader.ended.wait()
            if reader.live_at is not None:
                return
            closing = reader.frames()[-1]
            assert closing["op"] == "closing", closing
            self._cursor = closing["cursor"] or self._cursor
            await asyncio.sleep(closing["retry_after"])

    def frames(self) -> Iterator[dict[str, Any]]:
        for reader in self.connections:
            yield from reader.frames()

    def close(self) -> None:
        for reader in self.connections:
            reader.close()


async def run_storm(
    bootstrap: str,
    size: StormSize,
    *,
    core: int | None = None,
    on_start: Callable[[int], None] = lambda _: None,
) -> StormReport:
    """Let the storm happen once; `on_start` is told the bridge's process id before it."""
    events = MissedEvents(size.clients, size.records)
    for topic in events.topics:
        await create_topic(bootstrap, topic, PARTITIONS)
    async with BridgeProcess("before", events.topics, bootstrap) as bridge:
        await bridge.wait_ready()
        async with RecordingClient(bridge.url) as listener:
            (welcome_frame, *_) = listener.frames()
    await asyncio.to_thread(events.produce, bootstrap)
    settings = {
        "REPLAY__WARM_SECONDS": "0",
        "HEARTBEAT_SECONDS": str(HEARTBEAT_SECONDS),
        "LIMITS__HANDSHAKES_PER_SECOND": "100000",
    }
    fresh = BridgeProcess("fresh", events.topics, bootstrap, **settings)
    with _pinned_to(None if core is None else {core}):
        await fresh.__aenter__()
    try:
        await fresh.wait_ready()
        async with _idle_clients(fresh, size.idle_clients) as longest_wait:
            await asyncio.sleep(IDLE_SECONDS)
            idle_wait = await longest_wait()
            on_start(fresh.pid)
            before = await _metrics(fresh)
            clients = [
                StormClient(
                    fresh.port,
                    welcome_frame["cursor"],
                    account=f"account-{n}",
                    rooms=events.room_of(n),
                )
                for n in range(size.clients)
            ]
            seconds = await _reconnect_all(clients)
            after = await _metrics(fresh)
            storm_wait = await longest_wait()
            memory = _memory_mb(fresh.pid)
        for client in clients:
            client.close()
    finally:
        await fresh.__aexit__()
    failures = [
        each
        for n, client in enumerate(clients)
        for each in check_received(n, client.frames(), events.expected_positions(n))
    ]
    return StormReport(
        records_read=int(after[RECORDS_READ] - before[RECORDS_READ]),
        events=int(after[EVENTS_DELIVERED] - before[EVENTS_DELIVERED]),
        overloaded_count=sum(len(client.connections) - 1 for client in clients),
        seconds=seconds,
        cpu_seconds=after[CPU_SECONDS] - before[CPU_SECONDS],
        memory_mb=memory,
        heartbeat_delay_seconds=storm_wait - HEARTBEAT_SECONDS,
        idle_heartbeat_delay_seconds=idle_wait - HEARTBEAT_SECONDS,
        failures=tuple(failures),
    )


async def _reconnect_all(clients: Sequence[StormClient]) -> float:
    """Let all of them come back at once; return the seconds until the last of them was live."""
    now = asyncio.get_running_loop().time
    began = now()
    async with asyncio.timeout(TIMEOUT_SECONDS):
        await asyncio.gather(*(client.reconnect() for client in clients))
    return now() - began


async def _metrics(bridge: BridgeProcess) -> dict[str, float]:
    async with httpx.AsyncClient(trust_env=False, timeout=TIMEOUT_SECONDS) as client:
        text = (await client.get(f"http://{HOST}:{bridge.port}/metrics")).text
    lines = [line.split(" ") for line in text.splitlines() if not line.startswith("#")]
    return {line[0]: float(line[1]) for line in lines if len(line) == 2}


def _memory_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (most,) = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(most) / 1024


@asynccontextmanager
async def _idle_clients(
    bridge: BridgeProcess, count: int
) -> AsyncIterator[Callable[[], Awaitable[float]]]:
    """Keep `count` clients connected from a process of their own: what is yielded is its lap."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.journey.client_pool", HOST, str(bridge.port), str(count)),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None and process.stdout is not None  # noqa: PT018 - both are pipes
    stdin, stdout = process.stdin, process.stdout

    async def longest_wait() -> float:
        stdin.write(b"\n")
        async with asyncio.timeout(TIMEOUT_SECONDS):
            return float(await stdout.readline())

    try:
        await longest_wait()  # from now on all are connected
        yield longest_wait
    finally:
        process.kill()
        await process.wait()


@contextmanager
def _pinned_to(cores: set[int] | None) -> Iterator[None]:
    """Let what is started meanwhile run on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, before if cores is None else cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


async def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in StormSize()._asdict().items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--pin", action="store_true")
    arguments = parser.parse_args()
    size = StormSize(arguments.clients, arguments.records, arguments.idle_clients)
    first, *others = sorted(os.sched_getaffinity(0))
    with _pinned_to(set(others) if arguments.pin else None), KafkaCluster() as cluster:
        reports = []
        for _ in range(arguments.runs):
            reports.append(
                await run_storm(cluster.bootstrap, size, core=first if arguments.pin else None)
            )
            print(reports[-1], flush=True)
    for report_field in fields(StormReport)[:-1]:
        median = statistics.median(getattr(report, report_field.name) for report in reports)
        print(f"{report_field.name}: {median:g} (the median of {arguments.runs})")


if __name__ == "__main__":
    asyncio.run(_main())
