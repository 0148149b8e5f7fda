"""What one client was given, judged: losses, duplicates, and what came out of order.

Rule: each lane is numbered from 0 without holes, so a client is owed every number below the
lane's end, once, and in order. What is ahead leaves holes; a number that fills one came late.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bridge.bench.load.payload import EventStamp


class DeliveryErrors(NamedTuple):
    """What was wrong, in events."""

    lost: int = 0
    duplicates: int = 0
    disorder: int = 0

    def plus(self, other: DeliveryErrors) -> DeliveryErrors:
        """Return both together."""
        return DeliveryErrors(
            *(own_count + other_count for own_count, other_count in zip(self, other, strict=True))
        )


class DeliveryCheck:
    """The events of one client."""

    __slots__ = ("_duplicate_count", "_late_count", "_missing", "next_numbers")

    def __init__(self) -> None:
        self.next_numbers: dict[int, int] = {}  #: of each lane, which number comes next
        self._missing: set[tuple[int, int]] | None = None
        self._late_count = 0
        self._duplicate_count = 0

    def add(self, sequence_id: int, first: int, count: int = 1) -> None:
        """Write down `count` events of `sequence_id` that came one after another, from `first` on."""
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
        """Judge it; `expected` says how many events each lane has had."""
        missing_count = len(self._missing or ())
        missing_count += sum(
            max(0, count - self.next_numbers.get(sequence_id, 0))
            for sequence_id, count in expected.items()
        )
        return DeliveryErrors(missing_count, self._duplicate_count, self._late_count)


def consecutive_ranges(events: Iterable[EventStamp]) -> list[tuple[int, int, int]]:
    """Return the events as runs of consecutive numbers: the lane, the first, how many.

    The runs of a lane are in their order; those of several lanes are in any.
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
    """One who reads frames, whole or cut."""

    __slots__ = ("byte_offset", "delivery_check", "events_read", "first_unchecked", "partial_frame")

    def __init__(self) -> None:
        self.delivery_check = DeliveryCheck()
        self.partial_frame = b""  #: the begin of a frame, of which the tape has nothing
        self.byte_offset = 0  #: up to this byte of the tape it has read
        self.events_read = 0  #: so many events of the tape end before there
        self.first_unchecked = 0  #: those from this one on are not in its ledger yet
