"""What may be replayed from Kafka: records that still exist and are not too old.

Rule: a topic is replayed completely or refused with a reason, unless the client asked for events
from a time on: then its positions are raised to the first that may be replayed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Container, Mapping


class LogBounds(NamedTuple):
    """A topic's id, and the offsets of its log by partition.

    `topic_id` is None if the topic does not exist, and empty if the broker has no topic ids.
    `replayable_from` is the first offset that is young enough to be replayed.
    """

    topic_id: bytes | None
    start_offsets: Mapping[int, int]
    end_offsets: Mapping[int, int]
    replayable_from: Mapping[int, int]


class ReplayLimits(NamedTuple):
    """How much one replay may read from Kafka."""

    max_records: int
    max_bytes: int


MISSING_TOPIC: Final = LogBounds(None, {}, {}, {})


class ReplayRefused(Exception):
    """A topic cannot be replayed. The message is the reason of a gap: one word of the protocol."""


def check_retention(
    offsets: dict[int, int],
    read_until: Mapping[int, int],
    bounds: LogBounds,
    *,
    clampable_partitions: Container[int],
) -> int:
    """Return how many records of one topic must be read from Kafka to continue at `offsets`.

    `read_until` has the first offsets that the journal has. In `clampable_partitions` an offset
    that is too low is raised in `offsets` to the first that may be replayed, instead of refused.

    Raises:
        ReplayRefused: If an offset is above the log (`truncated`), below it (`expired`) or too
            old (`limit`).
    """
    if any(offset > bounds.end_offsets.get(partition, 0) for partition, offset in offsets.items()):
        raise ReplayRefused("truncated")
    record_count = 0
    for partition, until in read_until.items():
        offset = offsets.get(partition, 0)
        if offset >= until:
            continue
        if bounds.topic_id is None:
            raise ReplayRefused("truncated")  # the topic does not exist now
        for lowest_offsets, reason in (
            (bounds.start_offsets, "expired"),
            (bounds.replayable_from, "limit"),
        ):
            if offset < lowest_offsets.get(partition, 0):
                if partition not in clampable_partitions:
                    raise ReplayRefused(reason)
                offset = offsets[partition] = lowest_offsets[partition]
        record_count += max(0, until - offset)
    return record_count
