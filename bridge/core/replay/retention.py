"""What may be replayed from Kafka: what is still there, young enough, and not too much.

Rule: a topic is replayed whole or refused with the reason; only who knows already that it may
begin later is not told so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Container, Mapping


class LogBounds(NamedTuple):
    """What Kafka says of a topic: which one it is, and by partition where its log starts and ends.

    `identity` is None where there is no such topic, and empty where the broker tells none. `aged`
    is the first offset that is young enough to be replayed.
    """

    topic_id: bytes | None
    start_offsets: Mapping[int, int]
    end_offsets: Mapping[int, int]
    replayable_from: Mapping[int, int]


class ReplayLimits(NamedTuple):
    """What one replay may cost in reading from Kafka."""

    max_records: int
    max_bytes: int


MISSING_TOPIC: Final = LogBounds(None, {}, {}, {})


class ReplayRefused(Exception):
    """A topic that can not be replayed. The message is a gap's reason."""


def check_retention(
    offsets: dict[int, int],
    read_until: Mapping[int, int],
    bounds: LogBounds,
    *,
    reset_partitions: Container[int],
) -> int:
    """Return how many records of a topic Kafka has to be asked for, to go on from `offsets`.

    `read_until` are the first offsets that need not be asked for. In the partitions of `reset_partitions`, places
    below what may be replayed are moved up to there instead of being refused.

    Raises:
        Refused: If a place is not in the log, or too old.
    """
    if any(offset > bounds.end_offsets.get(partition, 0) for partition, offset in offsets.items()):
        raise ReplayRefused("truncated")
    record_count = 0
    for partition, until in read_until.items():
        offset = offsets.get(partition, 0)
        if offset >= until:
            continue
        if bounds.topic_id is None:
            raise ReplayRefused("truncated")  # there is no such topic now
        for lowest_offsets, reason in (
            (bounds.start_offsets, "expired"),
            (bounds.replayable_from, "limit"),
        ):
            if offset < lowest_offsets.get(partition, 0):
                if partition not in reset_partitions:
                    raise ReplayRefused(reason)
                offset = offsets[partition] = lowest_offsets[partition]
        record_count += max(0, until - offset)
    return record_count
