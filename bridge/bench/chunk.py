"""What one read has brought, taken apart once for all clients that are brought the same.

Rule: exact and cheap. A room's members are sent the same bytes, so a read that equals one that is
known costs a comparison; its latencies are counted by how often it was seen while none of
them left its bucket.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from bridge.bench.frames import TEXT, frames
from bridge.bench.histogram import beyond, index
from bridge.bench.payload import found

if TYPE_CHECKING:
    from bridge.bench.histogram import Histogram
    from bridge.bench.payload import Stamped

_KNOWN: Final = 16


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


def runs(events: list[Stamped]) -> list[tuple[int, int, int]]:
    """Return the events by lane, as runs of consecutive numbers: the lane, the first, how many."""
    found: list[tuple[int, int, int]] = []
    last: dict[int, int] = {}  # of each lane, where its last run stands
    for lane, number, _ in events:
        at = last.get(lane)
        if at is not None and found[at][1] + found[at][2] == number:
            found[at] = (lane, found[at][1], found[at][2] + 1)
        else:
            last[lane] = len(found)
            found.append((lane, number, 1))
    return found


class Chunk:
    """Bytes that several clients are brought, and what is in them."""

    __slots__ = ("_indexes", "_seen", "_until", "count", "data", "parts", "runs")

    def __init__(self, data: bytes, mark: bytes) -> None:
        self.data = data
        self.parts = apart(data, mark)
        self.runs = runs(self.parts.events)
        self.count = len(self.parts.events)
        self._indexes: list[int] = []
        self._seen = 0
        self._until = 0

    def seen(self, now: int, histogram: Histogram) -> None:
        """Count the latencies of one more client that reads it at `now`."""
        if now < self._until:
            self._seen += 1
            return
        self.settle(histogram)
        late = [max(0, now - event.made) for event in self.parts.events]
        self._indexes = list(map(index, late))
        self._until = min(
            (now - each + beyond(at) for each, at in zip(late, self._indexes, strict=True)),
            default=0,
        )
        self._seen = 1

    def settle(self, histogram: Histogram) -> None:
        """Add what was seen and not added yet."""
        if self._seen:
            for at in self._indexes:
                histogram.counts[at] += self._seen
            if self._indexes:
                # Exact but for the width of its bucket, as every percentile is.
                histogram.most = max(histogram.most, beyond(max(self._indexes)) - 1)
            self._seen = 0
            self._until = 0


class Known:
    """The chunks that came lately, by their length."""

    def __init__(self, mark: bytes) -> None:
        self._mark = mark
        self._chunks: dict[int, Chunk] = {}
        self._once = b""

    def get(self, data: bytes, histogram: Histogram) -> Chunk | None:
        """Return the chunk of `data`; None where it comes for the first time, or did long ago."""
        chunk = self._chunks.get(len(data))
        if chunk is not None and chunk.data == data:
            return chunk
        if data != self._once:
            self._once = data
            return None
        if chunk is not None:
            chunk.settle(histogram)
        elif len(self._chunks) >= _KNOWN:
            self._chunks.pop(next(iter(self._chunks))).settle(histogram)
        chunk = self._chunks[len(data)] = Chunk(data, self._mark)
        return chunk

    def settle(self, histogram: Histogram) -> None:
        """Let the histogram have everything."""
        for chunk in self._chunks.values():
            chunk.settle(histogram)
