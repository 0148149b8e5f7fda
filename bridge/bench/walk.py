"""The way through bytes that are not known yet: the hottest loop of the load generator.

Rule: one pass, nothing called that can be written here, and each event judged all the same. What
it writes down is what `Chunk` would; a test holds them together.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

from bridge.bench.frames import TEXT, frames
from bridge.bench.histogram import STEP_BITS

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.bench.histogram import Histogram
    from bridge.bench.ledger import Ledger

_LENGTH_16: Final = 126
_WIDTH: Final = 37
_WHOLE: Final = STEP_BITS + 1
_REMEMBERED: Final = 20_000


class _Layout(NamedTuple):
    """Where the mark and the fields stand in a frame."""

    unpack: Callable[[bytes, int], tuple[bytes, bytes]]
    size: int


class Walk:
    """Walks for the clients of one process; `shared` where they are sent the same events."""

    def __init__(self, mark: bytes, histogram: Histogram, *, shared: bool) -> None:
        self._mark = mark
        self._histogram = histogram
        self._shared = shared
        self._memory: dict[bytes, tuple[int, int, int]] = {}
        self._layouts: dict[bytes, _Layout] = {}  # by the head, which has the length

    def through(  # noqa: C901, PLR0912 - in one piece, see above
        self, data: bytes, now: int, ledger: Ledger
    ) -> tuple[int, list[tuple[int, bytes]], int]:
        """Give a client what is in `data`: return how many events, other frames, where it ends."""
        mark, size = self._mark, len(data)
        counts, due = self._histogram.counts, ledger.due
        memory, layouts = self._memory, self._layouts
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
                fields = data[place : place + _WIDTH]
                if data[at + 1] == _LENGTH_16:
                    self._learn(data[at : at + 4], place - at, end - at)
            at = end
            known = memory.get(fields)
            if known is None:
                known = (int(fields[0:6]), int(fields[7:17]), int(fields[18:37]))
                if self._shared:
                    memory[fields] = known
            lane, number, made = known
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
        if len(memory) > _REMEMBERED:
            memory.clear()
        return events, others, at

    def _learn(self, head: bytes, fields: int, size: int) -> None:
        """Remember where the mark and the fields stand in frames that begin with `head`."""
        before = fields - len(self._mark)
        look = Struct(f"{before}x{len(self._mark)}s{_WIDTH}s").unpack_from
        self._layouts[head] = _Layout(look, size)
