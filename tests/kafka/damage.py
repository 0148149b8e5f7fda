"""Damage to what a broker has on its disk.

The rule kept here: only closed segments are touched, and only while the broker is down, so that it
finds what a rotten disk would give it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tests.harness.admin import Record, create_topic, produce

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.harness.kafka_cluster import KafkaCluster

RECORDS = 300
SIZE = 8_000
PER_BATCH = 16_384  # so that there are a hundred and more batches
#: Where things are in a batch (Kafka's format, version 2).
LENGTH_AT, MAGIC_AT, CHECKSUM_AT, LAST_AT, COUNT_AT, PAYLOAD_AT = 8, 16, 17, 23, 57, 100


class Placed(NamedTuple):
    """A batch in a segment file: the place of its first byte, and its offsets."""

    at: int
    first: int
    next: int


def batches(segment: Path) -> list[Placed]:
    data, at, found = segment.read_bytes(), 0, []
    while at < len(data):
        first = int.from_bytes(data[at : at + 8], "big")
        length = int.from_bytes(data[at + 8 : at + 12], "big")
        last = int.from_bytes(data[at + 23 : at + 27], "big")
        found.append(Placed(at, first, first + last + 1))
        at += 12 + length
    return found


def flip(segment: Path, at: int) -> None:
    with segment.open("r+b") as file:
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes((byte ^ 0xFF,)))


def value(n: int) -> bytes:
    return b"%06d" % n + b"x" * SIZE


async def filled(
    own: KafkaCluster,
    topic: str,
    chosen: list[int],
    partitions: int = 1,
    value: Callable[[int], bytes] = value,
) -> list[tuple[Path, list[Placed]]]:
    """Fill a topic of several segments; return each partition's first, and these of its batches."""
    configs = {"segment.bytes": str(1 << 20)}
    await create_topic(own.bootstrap, topic, partitions, configs=configs)
    records = [Record(value(n), partition=p) for n in range(RECORDS) for p in range(partitions)]
    await produce(own.bootstrap, topic, records, max_batch_size=PER_BATCH)
    places = []
    for partition in range(partitions):
        first, *others = own.segments(topic, partition)
        assert others, "no segment was closed"
        places.append((first, [batches(first)[n] for n in chosen]))
    return places
