"""The way through bytes that nobody else is sent: each event parsed, judged and counted.

Rule: one pass, nothing called that can be written here. What it writes down is what a plain reading
of the frames would; a test holds them together.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

from bridge.bench.load.frames import TEXT, frames
from bridge.bench.load.latency import STEP_BITS
from bridge.bench.load.payload import FIELDS_WIDTH

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.bench.load.latency import Histogram
    from bridge.bench.load.reader import Reader

_LENGTH_16: Final = 126
_WHOLE: Final = STEP_BITS + 1


class _Layout(NamedTuple):
    """Where the mark and the fields stand in a frame."""

    unpack: Callable[[bytes, int], tuple[bytes, bytes]]
    size: int


class Walk:
    """Walks for the clients of one process."""

    def __init__(self, mark: bytes, histogram: Histogram) -> None:
        self._mark = mark
        self._histogram = histogram
        self._layouts: dict[bytes, _Layout] = {}  # by the head, which has the length

    def read(
        self, reader: Reader, data: bytes | memoryview, now: int
    ) -> tuple[int, list[tuple[int, bytes]]]:
        """Let `reader` have `data`; return how many events were in it, and the other frames."""
        data = reader.tail + data
        mark, size = self._mark, len(data)
        ledger, layouts = reader.ledger, self._layouts
        counts, due = self._histogram.counts, ledger.due
        others: list[tuple[int, bytes]] = []
        events = at = most = 0
        while at + 2 <= size:
            layout = layouts.get(data[at : at + 4])
            if layout is not None and at + layout.size <= size:
                seen, fields = layout.unpack(data, at)
                end = at + layout.size
            else:
                seen = b""
            if seen != mark:  # its layout is not known, or another one than its length had before
                one = next(frames(data, at), None)
                if one is None:
                    break
                first, body, end = one
                place = data.find(mark, body, end) if first == TEXT else -1
                if place < 0:
                    others.append((first, data[body:end]))
                    at = end
                    continue
                place += len(mark)
                fields = data[place : place + FIELDS_WIDTH]
                if data[at + 1] == _LENGTH_16:
                    self._learn(data[at : at + 4], place - at, end - at)
            at = end
            lane, number, made = int(fields[0:6]), int(fields[7:17]), int(fields[18:37])
            if due.get(lane, 0) == number:
                due[lane] = number + 1
            else:
                ledger.take(lane, number)
            late = now - made
            if late > most:
                most = late
            elif late < 0:
                late = 0
            shift = late.bit_length() - _WHOLE
            counts[late if shift <= 0 else (shift << STEP_BITS) + (late >> shift)] += 1
            events += 1
        self._histogram.most = max(self._histogram.most, most)
        reader.tail = data[at:]
        return events, others

    def join(self, reader: Reader) -> None:
        """Let one more read; there is nothing to be remembered of it."""

    def leave(self, reader: Reader) -> None:
        """Forget the frame that `reader` was cut off in: its connection has ended."""
        reader.tail = b""

    def _learn(self, head: bytes, fields: int, size: int) -> None:
        """Remember where the mark and the fields stand in frames that begin with `head`."""
        before = fields - len(self._mark)
        look = Struct(f"{before}x{len(self._mark)}s{FIELDS_WIDTH}s").unpack_from
        self._layouts[head] = _Layout(look, size)
