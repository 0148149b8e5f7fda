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
from tests.harness.listener import Listener
from tests.harness.ports import HOST
from tests.journey.missed import PARTITIONS, Missed, judge
from tests.journey.swarm import Reader, connected

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

ROOT: Final = Path(__file__).parents[2]
PATIENCE = 300.0
REST_SECONDS = 3.0
HEARTBEAT = 1.0
READ = "push_bridge_replay_records_read_total"
DELIVERED = "push_bridge_events_delivered_total"
CPU = "process_cpu_seconds_total"


class Size(NamedTuple):
    """How many come back, how much they have missed, and how many never left."""

    clients: int = 5_000
    records: int = 200_000
    watchers: int = 100


@dataclass(frozen=True)
class Report:
    """What one storm cost."""

    records_read: int  #: from Kafka, to replay
    events: int  #: that clients were handed
    sent_away: int  #: clients that were told to come back later, and did
    seconds: float  #: from the first connect until the last `live`
    cpu_seconds: float  #: of the bridge, meanwhile
    memory_mb: float  #: of the bridge, at its most
    heartbeat_delay: float  #: the longest of those who had never left, beyond the interval
    heartbeat_delay_at_rest: float
    wrong: tuple[str, ...]  #: sentences about clients that were not served rightly


class Client:
    """One that comes back, as often as it is told to, until it is live."""

    def __init__(self, port: int, cursor: str, **query: str) -> None:
        self.connections: list[Reader] = []
        self._port = port
        self._cursor = cursor
        self._query = query

    async def come_back(self) -> None:
        while True:
            reader = Reader(HOST, self._port, cursor=self._cursor, **self._query)
            self.connections.append(reader)
            await connected(HOST, self._port, [reader])
            await reader.over.wait()
            if reader.live is not None:
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


async def storm(
    bootstrap: str,
    size: Size,
    *,
    core: int | None = None,
    alongside: Callable[[int], None] = lambda _: None,
) -> Report:
    """Let the storm happen once; `alongside` is told the bridge's process id before it."""
    missed = Missed(size.clients, size.records)
    for topic in missed.topics:
        await create_topic(bootstrap, topic, PARTITIONS)
    async with BridgeProcess("before", missed.topics, bootstrap) as bridge:
        await bridge.ready()
        async with Listener(bridge.url) as listener:
            (welcome, *_) = listener.frames()
    await asyncio.to_thread(missed.produce, bootstrap)
    settings = {
        "REPLAY__WARM_SECONDS": "0",
        "HEARTBEAT_SECONDS": str(HEARTBEAT),
        "LIMITS__HANDSHAKES_PER_SECOND": "100000",
    }
    fresh = BridgeProcess("fresh", missed.topics, bootstrap, **settings)
    with _on(None if core is None else {core}):
        await fresh.__aenter__()
    try:
        await fresh.ready()
        async with _watching(fresh, size.watchers) as longest_wait:
            await asyncio.sleep(REST_SECONDS)
            at_rest = await longest_wait()
            alongside(fresh.pid)
            before = await _metrics(fresh)
            clients = [
                Client(
                    fresh.port,
                    welcome["cursor"],
                    account=f"account-{n}",
                    rooms=missed.room(n),
                )
                for n in range(size.clients)
            ]
            seconds = await _come_back(clients)
            after = await _metrics(fresh)
            in_storm = await longest_wait()
            memory = _memory_mb(fresh.pid)
        for client in clients:
            client.close()
    finally:
        await fresh.__aexit__()
    wrong = [
        each
        for n, client in enumerate(clients)
        for each in judge(n, client.frames(), missed.due(n))
    ]
    return Report(
        records_read=int(after[READ] - before[READ]),
        events=int(after[DELIVERED] - before[DELIVERED]),
        sent_away=sum(len(client.connections) - 1 for client in clients),
        seconds=seconds,
        cpu_seconds=after[CPU] - before[CPU],
        memory_mb=memory,
        heartbeat_delay=in_storm - HEARTBEAT,
        heartbeat_delay_at_rest=at_rest - HEARTBEAT,
        wrong=tuple(wrong),
    )


async def _come_back(clients: Sequence[Client]) -> float:
    """Let all of them come back at once; return the seconds until the last of them was live."""
    now = asyncio.get_running_loop().time
    began = now()
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*(client.come_back() for client in clients))
    return now() - began


async def _metrics(bridge: BridgeProcess) -> dict[str, float]:
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as client:
        text = (await client.get(f"http://{HOST}:{bridge.port}/metrics")).text
    lines = [line.split(" ") for line in text.splitlines() if not line.startswith("#")]
    return {line[0]: float(line[1]) for line in lines if len(line) == 2}


def _memory_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (most,) = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(most) / 1024


@asynccontextmanager
async def _watching(
    bridge: BridgeProcess, count: int
) -> AsyncIterator[Callable[[], Awaitable[float]]]:
    """Keep `count` clients connected from a process of their own: what is yielded is its lap."""
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.journey.swarm", HOST, str(bridge.port), str(count)),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert program.stdin is not None and program.stdout is not None  # noqa: PT018 - both are pipes
    talk, listen = program.stdin, program.stdout

    async def lap() -> float:
        talk.write(b"\n")
        async with asyncio.timeout(PATIENCE):
            return float(await listen.readline())

    try:
        await lap()  # from now on all are connected
        yield lap
    finally:
        program.kill()
        await program.wait()


@contextmanager
def _on(cores: set[int] | None) -> Iterator[None]:
    """Let what is started meanwhile run on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, before if cores is None else cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


async def _main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    for name, default in Size()._asdict().items():
        options.add_argument(f"--{name}", type=int, default=default)
    options.add_argument("--runs", type=int, default=1)
    options.add_argument("--pin", action="store_true")
    said = options.parse_args()
    size = Size(said.clients, said.records, said.watchers)
    first, *others = sorted(os.sched_getaffinity(0))
    with _on(set(others) if said.pin else None), KafkaCluster() as cluster:
        reports = []
        for _ in range(said.runs):
            reports.append(await storm(cluster.bootstrap, size, core=first if said.pin else None))
            print(reports[-1], flush=True)
    for figure in fields(Report)[:-1]:
        median = statistics.median(getattr(report, figure.name) for report in reports)
        print(f"{figure.name}: {median:g} (the median of {said.runs})")


if __name__ == "__main__":
    asyncio.run(_main())
