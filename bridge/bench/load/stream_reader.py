"""The tape: the event frames that all members of a room are sent, as the first to read them has.

Rule: exact and cheap. What a client reads is compared with the tape, byte by byte, from its place
on: where it is the same, its place moves on, and nothing is parsed. Where it differs, it is taken
apart, one frame after another, until it is the same again. The numbers of a lane only rise on the
tape; what comes late to one client is counted for that client alone.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, Final

from bridge.bench.load.delivery_check import runs
from bridge.bench.load.frames import TEXT, frames
from bridge.bench.load.payload import FIELDS_WIDTH, found
from bridge.bench.load.stretches import Stretches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.bench.load.latency import Histogram
    from bridge.bench.load.payload import Stamped
    from bridge.bench.load.reader import Reader

_LONGEST: Final = 4 << 20  # bytes; half of it is more than clients drift apart as a rule


class Tape:
    """What the clients of one bridge are sent in common; `longest` is its length in bytes."""

    def __init__(self, mark: bytes, histogram: Histogram, longest: int = _LONGEST) -> None:
        self._mark = mark
        self._histogram = histogram
        self._longest = longest
        self._text = bytearray()
        self._edges = [0]  # where the frames begin, and where the last one ends
        self._events: list[Stamped] = []
        self._places: dict[bytes, int] = {}  # by their fields, which event is which
        self._ahead: dict[int, int] = {}  # of each lane, the number behind its last on the tape
        self._runs: dict[tuple[int, int], list[tuple[int, int, int]]] = {}
        self._latencies = Stretches(histogram)
        self._readers: list[Reader] = []

    def join(self, reader: Reader) -> None:
        """Let one more read along."""
        self._readers.append(reader)

    def read(
        self, reader: Reader, data: bytes | memoryview, now: int
    ) -> tuple[int, Sequence[tuple[int, bytes]]]:
        """Let `reader` have `data`; return how many events were in it, and the other frames."""
        if reader.tail:
            data = reader.tail + data
            reader.tail = b""
        at = reader.at
        if not self._text.startswith(data, at):
            return self._compare(reader, data, now)
        seen = reader.seen
        reader.at = at = at + len(data)
        until = bisect_right(self._edges, at, seen + 1) - 1
        if until > seen:
            reader.seen = until
            self._latencies.add(seen, until, now)
        return until - seen, ()

    def settle(self) -> None:
        """Let the histogram and every ledger have what they were not given yet."""
        self._latencies.settle()
        for reader in self._readers:
            self._write_down(reader, reader.seen)

    def leave(self, reader: Reader) -> None:
        """Forget the frame that `reader` was cut off in: its connection has ended."""
        reader.tail = b""
        reader.at = self._edges[reader.seen]

    # -- where it differs ------------------------------------------------------------------------

    def _compare(
        self, reader: Reader, data: bytes | memoryview, now: int
    ) -> tuple[int, list[tuple[int, bytes]]]:
        edges, text, mark = self._edges, self._text, self._mark
        begun = edges[reader.seen]
        data = bytes(text[begun : reader.at]) + data
        reader.at = begun
        others: list[tuple[int, bytes]] = []
        view = memoryview(data)
        events = at = 0
        while True:
            begun, seen = edges[reader.seen], reader.seen
            if begun < len(text) and self._along(reader, view[at:], now):
                events += reader.seen - seen
                at += reader.at - begun
            one = next(frames(data, at), None)
            if one is None:
                break
            first, body, end = one
            place = data.find(mark, body, end) if first == TEXT else -1
            if place < 0:
                others.append((first, data[body:end]))
            else:
                self._take(reader, data[at:end], place - at + len(mark), now)
                events += 1
            at = end
        rest = data[at:]
        if rest and text.startswith(rest, reader.at):
            reader.at += len(rest)
        else:
            reader.tail = rest
        if len(text) > self._longest:
            self._shorten()
        return events, others

    def _along(self, reader: Reader, data: memoryview, now: int) -> bool:
        """Let `reader` pass the frames that `data` begins with, as far as they are on the tape."""
        edges, text = self._edges, self._text
        seen, begun = reader.seen, reader.at
        if not text.startswith(data[: edges[seen + 1] - begun], begun):
            return False  # most often, so the search below is not begun
        last = bisect_right(edges, begun + len(data), seen + 1) - 1
        reader.seen += bisect_left(
            range(seen + 1, last + 1),
            True,  # noqa: FBT003 - it differs
            key=lambda edge: not text.startswith(data[: edges[edge] - begun], begun),
        )
        if reader.seen == seen:
            return False
        reader.at = edges[reader.seen]
        self._latencies.add(seen, reader.seen, now)
        return True

    def _take(self, reader: Reader, frame: bytes, fields: int, now: int) -> None:
        """Let `reader` have one event, the fields of which are at `fields` in its frame."""
        name = frame[fields : fields + FIELDS_WIDTH]
        place = self._places.get(name)
        if place is None:
            event = found(frame, fields)
            if event.number < self._ahead.get(event.lane, 0):
                self._write_down(reader, reader.seen)
                reader.ledger.take(event.lane, event.number)
                self._histogram.add(now - event.made)
                return
            place = self._append(name, event, frame)
        if place != reader.seen:
            self._write_down(reader, reader.seen)
            reader.since = place
        reader.seen = place + 1
        reader.at = self._edges[place + 1]
        self._latencies.add(place, place + 1, now)

    def _append(self, name: bytes, event: Stamped, frame: bytes) -> int:
        place = self._places[name] = len(self._events)
        self._events.append(event)
        self._latencies.made.append(event.made)
        self._ahead[event.lane] = event.number + 1
        self._text += frame
        self._edges.append(len(self._text))
        return place

    # -- writing down, and forgetting ------------------------------------------------------------

    def _write_down(self, reader: Reader, until: int) -> None:
        """Let the reader's ledger have the events from `reader.since` until before `until`."""
        since = reader.since
        if since >= until:
            return
        known = self._runs.get((since, until))
        if known is None:  # nearly all readers have the same
            known = self._runs[since, until] = runs(self._events[since:until])
        for lane, first, count in known:
            reader.ledger.take(lane, first, count)
        reader.since = until

    def _shorten(self) -> None:
        """Forget the older half. Who has not come so far gets on again where it meets the rest."""
        gone = bisect_left(self._edges, len(self._text) // 2)
        cut = self._edges[gone]
        for reader in self._readers:
            self._write_down(reader, min(reader.seen, gone))
            if reader.seen < gone:
                reader.tail = bytes(self._text[self._edges[reader.seen] : reader.at]) or reader.tail
                reader.at = reader.seen = reader.since = 0
            else:
                reader.since = max(reader.since, gone) - gone
                reader.seen -= gone
                reader.at -= cut
        self._runs.clear()
        self._latencies.forget(gone)
        del self._text[:cut]
        del self._events[:gone]
        self._edges = [edge - cut for edge in self._edges[gone:]]
        self._places = {name: at - gone for name, at in self._places.items() if at >= gone}
