"""What the journal costs: ingestion with and without it, and real memory against its budget.

`python -m tests.bench.journal [ROUNDS]`: records in the native envelope go through router and hub
from a broker's batches on, with nobody connected: the dearest case for the journal,
because there is nothing else to do.
"""

from __future__ import annotations

import gc
import json
import random
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from aiokafka.record.default_records import DefaultRecordBatchBuilder

from bridge.cli.runner import settle
from bridge.core.journal import ALL, Journal, of_account, of_room
from bridge.core.protocol.envelope import Batch, Router
from bridge.core.sessions.hub import Hub
from bridge.kafka.client.record_batches import Aborted, unpack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.core.protocol.event import Event

TOPIC = "orders"
PARTITIONS = 8
CHUNK = 500
RECORDS = 100_000
BUDGET = 64 << 20


class NoJournal(Journal):
    """Keeps nothing: what ingestion costs without it."""

    def keep(self, topic: str, partition: int, events: Sequence[Event], next: int) -> None:
        """Forget."""


class Fetched(NamedTuple):
    """One batch as a broker sends it."""

    partition: int
    first: int
    data: bytes


def batches(lap: int = 0) -> list[Fetched]:
    """Records of about 200 bytes for accounts, rooms and everybody, in batches."""
    chance = random.Random(1)
    made: list[Fetched] = []
    for number in range(RECORDS // CHUNK):
        partition, first = number % PARTITIONS, number // PARTITIONS * CHUNK + lap * RECORDS
        builder = DefaultRecordBatchBuilder(
            magic=2,
            compression_type=0,
            is_transactional=False,
            producer_id=-1,
            producer_epoch=-1,
            base_sequence=-1,
            batch_size=1 << 30,
        )
        for n in range(CHUNK):
            builder.append(n, 1_700_000_000_000 + n, None, value(chance), [])
        data = bytearray(builder.build())
        data[:8] = first.to_bytes(8, "big")
        made.append(Fetched(partition, first, bytes(data)))
    return made


def value(chance: random.Random) -> bytes:
    """One record's value."""
    audience: dict[str, object] = {"accounts": [f"user-{chance.randrange(50_000)}"]}
    if chance.random() < 0.2:
        audience = {"rooms": [f"order:{chance.randrange(500)}"]}
    elif chance.random() < 0.02:
        audience = {"all": True}
    data = {"order": chance.randrange(10**6), "note": "x" * 90}
    return json.dumps({"type": "order.shipped", **audience, "data": data}).encode()


def instance(journal: Journal) -> Hub:
    """Return a hub that nobody is connected to."""
    hub = Hub("i", {TOPIC: False}, heartbeat=25, ceiling=1 << 20, jitter=float, journal=journal)
    hub.begin(TOPIC, b"12345678", dict.fromkeys(range(PARTITIONS), 0))
    return hub


def ingest(hub: Hub, made: list[Fetched]) -> float:
    """Return the CPU seconds that the records took, from a broker's bytes on."""
    router = Router(1 << 20)
    began = time.process_time()
    for partition, first, data in made:
        for chunk in unpack(data, first, first + CHUNK, Aborted([])):
            hub.publish(router.route(Batch(TOPIC, partition, chunk.records, chunk.next)))
    return time.process_time() - began


def resident() -> int:
    """Return the bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096


def main() -> None:
    """Print the ratio, then the memory."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    made = batches()
    settle()
    ratios: list[float] = []
    for turn in range(rounds):
        order = [NoJournal(0), Journal(BUDGET)] if turn % 2 else [Journal(BUDGET), NoJournal(0)]
        took = {type(journal): ingest(instance(journal), made) for journal in order}
        ratios.append(took[Journal] / took[NoJournal])
        rate = RECORDS / took[Journal]
        print(f"{rate:9,.0f} records per CPU-second with it, {ratios[-1]:.3f} times without")
    print(f"median ratio {statistics.median(ratios):.3f}, from {min(ratios):.3f} on")
    memory()


def memory() -> None:
    """Fill a journal's budget several times over, have everything indexed, and look."""
    gc.collect()
    before = resident()
    journal = Journal(BUDGET)
    hub = instance(journal)
    for lap in range(8):
        ingest(hub, batches(lap))
    gc.collect()
    told("full", journal, before)
    began, found = time.process_time(), 0
    for partition in range(PARTITIONS):
        tail = journal.tail(TOPIC, partition)
        for segment in tail.since(0):
            while segment.loose:
                journal.pack(segment, CHUNK)
            found += len(segment.find([ALL, of_account("user-1"), of_room("order:1")], 0))
    seconds = time.process_time() - began
    told(f"indexed in {seconds:.2f} s, {found} events found", journal, before)
    ingest(hub, batches(8)[:PARTITIONS])
    told("at rest again", journal, before)


def told(what: str, journal: Journal, before: int) -> None:
    """Print how much it takes, by its own account and by the system's."""
    here = resident() - before
    print(
        f"{what}: {journal.bytes / 1e6:.1f} MB counted, {here / 1e6:.1f} MB resident more,", end=" "
    )
    print(f"budget {BUDGET / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
