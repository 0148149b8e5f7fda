"""Checks of what one client received: lost, duplicate and out-of-order events.

Rule: a sequence is numbered from 0 without holes. A client must receive each number once, in
order. A skipped number is missing; if it arrives later it counts as out of order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bridge.bench.load.payload import EventStamp


class DeliveryErrors(NamedTuple):
    """Numbers of events. The names are keys of a result's JSON."""

    lost: int = 0
    duplicates: int = 0
    disorder: int = 0

    def plus(self, other: DeliveryErrors) -> DeliveryErrors:
        """Return the sums, field by field."""
        return DeliveryErrors(
            *(own_count + other_count for own_count, other_count in zip(self, other, strict=True))
        )


class DeliveryCheck:
    """The sequence numbers that one client has received."""

    __slots__ = ("_duplicate_count", "_late_count", "_missing", "next_numbers")

    def __init__(self) -> None:
        self.next_numbers: dict[int, int] = {}  #: by sequence
        self._missing: set[tuple[int, int]] | None = None
        self._late_count = 0
        self._duplicate_count = 0

    def add(self, sequence_id: int, first: int, count: int = 1) -> None:
        """Record `count` consecutive events of a sequence, starting with number `first`."""
        next_number = self.next_numbers.get(sequence_id, 0)
        if first == next_number:
            self.next_numbers[sequence_id] = first + count
            return
        missing = self._missing if self._missing is not None else set()
        self._missing = missing
        missing.update((sequence_id, each) for each in range(next_number, first))
        for number in range(first, min(next_number, first + count)):
            if (sequence_id, number) in missing:
                missing.remove((sequence_id, number))
                self._late_count += 1
            else:
                self._duplicate_count += 1
        self.next_numbers[sequence_id] = max(next_number, first + count)

    def errors(self, expected: Mapping[int, int]) -> DeliveryErrors:
        """Return the errors so far; `expected` is the number of events of each sequence."""
        missing_count = len(self._missing or ())
        missing_count += sum(
            max(0, count - self.next_numbers.get(sequence_id, 0))
            for sequence_id, count in expected.items()
        )
        return DeliveryErrors(missing_count, self._duplicate_count, self._late_count)


def consecutive_ranges(events: Iterable[EventStamp]) -> list[tuple[int, int, int]]:
    """Return runs of consecutive numbers as (sequence, first number, count).

    Runs of one sequence keep their order; runs of different sequences have no order.
    """
    ranges: list[tuple[int, int, int]] = []
    first: dict[int, int] = {}
    next_number: dict[int, int] = {}
    for sequence_id, number, _ in events:
        if next_number.get(sequence_id) != number:
            if sequence_id in next_number:
                ranges.append(
                    (sequence_id, first[sequence_id], next_number[sequence_id] - first[sequence_id])
                )
            first[sequence_id] = number
        next_number[sequence_id] = number + 1
    return ranges + [
        (sequence_id, number, next_number[sequence_id] - number)
        for sequence_id, number in first.items()
    ]


class ReadProgress:
    """How far one client has read its stream."""

    __slots__ = ("byte_offset", "delivery_check", "events_read", "first_unchecked", "partial_frame")

    def __init__(self) -> None:
        self.delivery_check = DeliveryCheck()
        self.partial_frame = b""  #: start of a frame that the shared bytes do not have
        self.byte_offset = 0  #: position in the shared bytes
        self.events_read = 0  #: events of the shared bytes that end before it
        self.first_unchecked = 0  #: first event that `delivery_check` does not have yet
