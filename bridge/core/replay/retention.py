"""What may be replayed from Kafka: records that still exist and are not too old.

Rule: a topic is replayed completely or refused with a reason, unless the client asked for events
from a time on: then its positions are raised to the first that may be replayed.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Container, Mapping


class LogBounds(NamedTuple):
    """A topic's id, and the offsets of its log by partition.

    `topic_id` is None if the topic does not exist, and empty if the broker has no topic ids.
    `replayable_from` is the first offset that is young enough to be replayed, by records' stamps.
    """

    topic_id: bytes | None
    start_offsets: Mapping[int, int]
    end_offsets: Mapping[int, int]
    replayable_from: Mapping[int, int]


class ReplayLimits(NamedTuple):
    """How much one replay may read from Kafka, and for how old a cursor."""

    max_records: int
    max_bytes: int
    max_age_seconds: float = math.inf

    def is_too_old(self, made_at: int, now: float) -> bool:
        """Whether a cursor of this age may not be replayed. Both are seconds since 1970."""
        # A cursor has whole seconds: it may have been made nearly a second later.
        return self.max_age_seconds <= 0 or now - made_at - 1 > self.max_age_seconds


def limit_by_cursor_age(
    bounds: LogBounds,
    made_at: int | None,
    limits: ReplayLimits,
    now: float,
    *,
    may_clamp: bool = False,
) -> LogBounds:
    """Return what a resume may replay: the age of its cursor decides, if it has a time.

    The stamps of records decide only for a cursor without a time, because a producer's clock may be
    wrong. With `may_clamp` they also decide where a cursor that is too old continues.
    """
    is_too_old = made_at is not None and limits.is_too_old(made_at, now)
    if made_at is None or (is_too_old and may_clamp):
        return bounds
    return bounds._replace(
        replayable_from=bounds.end_offsets if is_too_old else bounds.start_offsets
    )


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
