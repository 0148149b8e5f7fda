"""A plain reading of frames, one after another, to hold the quick ones against."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bridge.bench.load.payload import Stamped, found
from bridge.bench.load.stream_reader import TEXT, frames

if TYPE_CHECKING:
    from bridge.bench.load.delivery_check import Ledger


class Parts(NamedTuple):
    """What is in some bytes: events, other frames with their first byte, and where the rest is."""

    events: list[Stamped]
    others: list[tuple[int, bytes]]
    rest: int


def apart(data: bytes, mark: bytes) -> Parts:
    """Take `data` apart, which begins with a frame."""
    events: list[Stamped] = []
    others: list[tuple[int, bytes]] = []
    rest, width = 0, len(mark)
    for first, body, end in frames(data):
        at = data.find(mark, body, end) if first == TEXT else -1
        if at >= 0:
            events.append(found(data, at + width))
        else:
            others.append((first, data[body:end]))
        rest = end
    return Parts(events, others, rest)


def write_down(events: list[Stamped], ledger: Ledger) -> None:
    """Let `ledger` have them one by one."""
    for lane, number, _ in events:
        ledger.take(lane, number)
