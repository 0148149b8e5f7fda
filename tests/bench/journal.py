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

from bridge.cli.runner import tune_memory
from bridge.core.journal import ALL_KEY, Journal, account_key, room_key
from bridge.core.protocol.record import Batch
from bridge.core.routes.decoder import native_decoder
from bridge.core.sessions.hub import Hub
from bridge.kafka.client.records.record_batches import AbortedTransactions, decode_batches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.core.protocol.event import Event

TOPIC = "orders"
PARTITIONS = 8
BATCH_RECORDS = 500
RECORD_COUNT = 100_000
JOURNAL_BYTES = 64 << 20


class NoJournal(Journal):
    """Keeps nothing: what ingestion costs without it."""

    def append(self, topic: str, partition: int, events: Sequence[Event], next_offset: int) -> None:
        """Forget."""


class FetchedBatch(NamedTuple):
    """One batch as a broker sends it."""

    partition: int
    first_offset: int
    data: bytes


def make_batches(lap: int = 0) -> list[FetchedBatch]:
    """Records of about 200 bytes for accounts, rooms and everybody, in batches."""
    rng = random.Random(1)
    fetched: list[FetchedBatch] = []
    for number in range(RECORD_COUNT // BATCH_RECORDS):
        partition, first = (
            number % PARTITIONS,
            number // PARTITIONS * BATCH_RECORDS + lap * RECORD_COUNT,
        )
        builder = DefaultRecordBatchBuilder(
            magic=2,
            compression_type=0,
            is_transactional=False,
            producer_id=-1,
            producer_epoch=-1,
            base_sequence=-1,
            batch_size=1 << 30,
        )
        for n in range(BATCH_RECORDS):
            builder.append(n, 1_700_000_000_000 + n, None, record_value(rng), [])
        data = bytearray(builder.build())
        data[:8] = first.to_bytes(8, "big")
        fetched.append(FetchedBatch(partition, first, bytes(data)))
    return fetched


def record_value(rng: random.Random) -> bytes:
    """One record's value."""
    audience: dict[str, object] = {"accounts": [f"user-{rng.randrange(50_000)}"]}
    if rng.random() < 0.2:
        audience = {"rooms": [f"order:{rng.randrange(500)}"]}
    elif rng.random() < 0.02:
        audience = {"all": True}
    data = {"order": rng.randrange(10**6), "note": "x" * 90}
    return json.dumps({"type": "order.shipped", **audience, "data": data}).encode()


def make_hub(journal: Journal) -> Hub:
    """Return a hub that nobody is connected to."""
    hub = Hub(
        "i",
        {TOPIC: False},
        heartbeat_seconds=25,
        max_outbox_bytes=1 << 20,
        jitter=float,
        wall_clock=time.time,
        journal=journal,
    )
    hub.set_start_offsets(TOPIC, b"12345678", dict.fromkeys(range(PARTITIONS), 0))
    return hub


def ingest(hub: Hub, fetched: list[FetchedBatch]) -> float:
    """Return the CPU seconds that the records took, from a broker's bytes on."""
    router = native_decoder(1 << 20)
    started = time.process_time()
    for partition, first_offset, data in fetched:
        for chunk in decode_batches(
            data, first_offset, first_offset + BATCH_RECORDS, AbortedTransactions([])
        ):
            hub.deliver_batch(
                router.decode(Batch(TOPIC, partition, chunk.records, chunk.next_offset))
            )
    return time.process_time() - started


def resident_bytes() -> int:
    """Return the bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096


def main() -> None:
    """Print the ratio, then the memory."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    fetched = make_batches()
    tune_memory()
    ratios: list[float] = []
    for round_number in range(rounds):
        order = (
            [NoJournal(0), Journal(JOURNAL_BYTES)]
            if round_number % 2
            else [Journal(JOURNAL_BYTES), NoJournal(0)]
        )
        seconds = {type(journal): ingest(make_hub(journal), fetched) for journal in order}
        ratios.append(seconds[Journal] / seconds[NoJournal])
        rate = RECORD_COUNT / seconds[Journal]
        print(f"{rate:9,.0f} records per CPU-second with it, {ratios[-1]:.3f} times without")
    print(f"median ratio {statistics.median(ratios):.3f}, from {min(ratios):.3f} on")
    measure_memory()


def measure_memory() -> None:
    """Fill a journal's budget several times over, have everything indexed, and look."""
    gc.collect()
    before = resident_bytes()
    journal = Journal(JOURNAL_BYTES)
    hub = make_hub(journal)
    for round_number in range(8):
        ingest(hub, make_batches(round_number))
    gc.collect()
    print_memory("full", journal, before)
    started, found = time.process_time(), 0
    for partition in range(PARTITIONS):
        tail = journal.partition(TOPIC, partition)
        for segment in tail.segments_from(0):
            while segment.has_unindexed_events:
                journal.index_segment(segment, BATCH_RECORDS)
            found += len(segment.find([ALL_KEY, account_key("user-1"), room_key("order:1")], 0))
    seconds = time.process_time() - started
    print_memory(f"indexed in {seconds:.2f} s, {found} events found", journal, before)
    ingest(hub, make_batches(8)[:PARTITIONS])
    print_memory("at rest again", journal, before)


def print_memory(stage: str, journal: Journal, before: int) -> None:
    """Print how much it takes, by its own account and by the system's."""
    resident_growth = resident_bytes() - before
    print(
        f"{stage}: {journal.used_bytes / 1e6:.1f} MB counted,"
        f" {resident_growth / 1e6:.1f} MB resident more,",
        end=" ",
    )
    print(f"budget {JOURNAL_BYTES / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
