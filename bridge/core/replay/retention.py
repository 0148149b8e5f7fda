"""What may be replayed from Kafka: what is still there, young enough, and not too much.

Rule: a topic is replayed whole or refused with the reason; only who knows already that it may
begin later is not told so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Container, Mapping


class Bounds(NamedTuple):
    """What Kafka says of a topic: which one it is, and by partition where its log starts and ends.

    `identity` is None where there is no such topic, and empty where the broker tells none. `aged`
    is the first offset that is young enough to be replayed.
    """

    identity: bytes | None
    start: Mapping[int, int]
    end: Mapping[int, int]
    aged: Mapping[int, int]


class Limits(NamedTuple):
    """What one replay may cost in reading from Kafka."""

    records: int
    bytes: int


NOWHERE: Final = Bounds(None, {}, {}, {})


class Refused(Exception):
    """A topic that can not be replayed. The message is a gap's reason."""


def judge(
    at: dict[int, int], floors: Mapping[int, int], bounds: Bounds, *, clip: Container[int]
) -> int:
    """Return how many records of a topic Kafka has to be asked for, to go on from `at`.

    `floors` are the first offsets that need not be asked for. In the partitions of `clip`, places
    below what may be replayed are moved up to there instead of being refused.

    Raises:
        Refused: If a place is not in the log, or too old.
    """
    if any(place > bounds.end.get(partition, 0) for partition, place in at.items()):
        raise Refused("truncated")
    amount = 0
    for partition, floor in floors.items():
        place = at.get(partition, 0)
        if place >= floor:
            continue
        if bounds.identity is None:
            raise Refused("truncated")  # there is no such topic now
        for lowest, why in (bounds.start, "expired"), (bounds.aged, "limit"):
            if place < lowest.get(partition, 0):
                if partition not in clip:
                    raise Refused(why)
                place = at[partition] = lowest[partition]
        amount += max(0, floor - place)
    return amount
