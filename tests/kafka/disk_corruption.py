"""Damage to what a broker has on its disk.

The rule kept here: only closed segments are touched, and only while the broker is down, so that it
finds what a rotten disk would give it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tests.harness.admin import RecordToProduce, create_topic, produce

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.harness.kafka_cluster import KafkaCluster

RECORD_COUNT = 300
VALUE_BYTES = 8_000
BATCH_BYTES = 16_384  # so that there are a hundred and more batches
#: Where things are in a batch (Kafka's format, version 2).
LENGTH_AT, MAGIC_AT, CHECKSUM_AT, LAST_AT, COUNT_AT, PAYLOAD_AT = 8, 16, 17, 23, 57, 100


class BatchLocation(NamedTuple):
    """A batch in a segment file: the place of its first byte, and its offsets."""

    byte_position: int
    first_offset: int
    next_offset: int


def read_batch_locations(segment: Path) -> list[BatchLocation]:
    data, at, found = segment.read_bytes(), 0, []
    while at < len(data):
        first = int.from_bytes(data[at : at + 8], "big")
        length = int.from_bytes(data[at + 8 : at + 12], "big")
        last = int.from_bytes(data[at + 23 : at + 27], "big")
        found.append(BatchLocation(at, first, first + last + 1))
        at += 12 + length
    return found


def flip_byte(segment: Path, byte_position: int) -> None:
    with segment.open("r+b") as file:
        file.seek(byte_position)
        (byte,) = file.read(1)
        file.seek(byte_position)
        file.write(bytes((byte ^ 0xFF,)))


def record_value(n: int) -> bytes:
    return b"%06d" % n + b"x" * VALUE_BYTES


async def fill_topic(
    cluster: KafkaCluster,
    topic: str,
    batch_indices: list[int],
    partitions: int = 1,
    value: Callable[[int], bytes] = record_value,
) -> list[tuple[Path, list[BatchLocation]]]:
    """Fill a topic of several segments; return each partition's first, and these of its batches."""
    configs = {"segment.bytes": str(1 << 20)}
    await create_topic(cluster.bootstrap, topic, partitions, configs=configs)
    records = [
        RecordToProduce(value(n), partition=p)
        for n in range(RECORD_COUNT)
        for p in range(partitions)
    ]
    await produce(cluster.bootstrap, topic, records, max_batch_size=BATCH_BYTES)
    locations = []
    for partition in range(partitions):
        first, *others = cluster.segments(topic, partition)
        assert others, "no segment was closed"
        locations.append((first, [read_batch_locations(first)[n] for n in batch_indices]))
    return locations
