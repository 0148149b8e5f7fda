"""What one client was given, judged: losses, duplicates, and what came out of order.

Rule: each lane is numbered from 0 without holes, so a client is owed every number below the
lane's end, once, and in order. What is ahead leaves holes; a number that fills one came late.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bridge.bench.load.payload import Stamped


class Verdict(NamedTuple):
    """What was wrong, in events."""

    lost: int = 0
    duplicates: int = 0
    disorder: int = 0

    def plus(self, other: Verdict) -> Verdict:
        """Return both together."""
        return Verdict(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


class Ledger:
    """The events of one client."""

    __slots__ = ("_duplicates", "_holes", "_late", "due")

    def __init__(self) -> None:
        self.due: dict[int, int] = {}  #: of each lane, which number comes next
        self._holes: set[tuple[int, int]] | None = None
        self._late = 0
        self._duplicates = 0

    def take(self, lane: int, first: int, count: int = 1) -> None:
        """Write down `count` events of `lane` that came one after another, from `first` on."""
        due = self.due.get(lane, 0)
        if first == due:
            self.due[lane] = first + count
            return
        holes = self._holes if self._holes is not None else set()
        self._holes = holes
        holes.update((lane, each) for each in range(due, first))
        for number in range(first, min(due, first + count)):
            if (lane, number) in holes:
                holes.remove((lane, number))
                self._late += 1
            else:
                self._duplicates += 1
        self.due[lane] = max(due, first + count)

    def verdict(self, owed: Mapping[int, int]) -> Verdict:
        """Judge it; `owed` says how many events each lane has had."""
        missing = len(self._holes or ())
        missing += sum(max(0, end - self.due.get(lane, 0)) for lane, end in owed.items())
        return Verdict(missing, self._duplicates, self._late)


def runs(events: Iterable[Stamped]) -> list[tuple[int, int, int]]:
    """Return the events as runs of consecutive numbers: the lane, the first, how many.

    The runs of a lane are in their order; those of several lanes are in any.
    """
    told: list[tuple[int, int, int]] = []
    first: dict[int, int] = {}
    due: dict[int, int] = {}
    for lane, number, _ in events:
        if due.get(lane) != number:
            if lane in due:
                told.append((lane, first[lane], due[lane] - first[lane]))
            first[lane] = number
        due[lane] = number + 1
    return told + [(lane, number, due[lane] - number) for lane, number in first.items()]


class Reader:
    """One who reads frames, whole or cut."""

    __slots__ = ("at", "ledger", "seen", "since", "tail")

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.tail = b""  #: the begin of a frame, of which the tape has nothing
        self.at = 0  #: up to this byte of the tape it has read
        self.seen = 0  #: so many events of the tape end before there
        self.since = 0  #: those from this one on are not in its ledger yet
