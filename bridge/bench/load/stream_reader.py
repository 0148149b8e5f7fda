"""The tape: the event frames that all members of a room are sent, as the first to read them has.

Rule: exact and cheap. What a client reads is compared with the tape, byte by byte, from its place
on: where it is the same, its place moves on, and nothing is parsed. Where it differs, it is taken
apart, one frame after another, until it is the same again. The numbers of a lane only rise on the
tape; what comes late to one client is counted for that client alone.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

from bridge.bench.load.delivery_check import runs
from bridge.bench.load.latency import STEP_BITS, Stretches
from bridge.bench.load.payload import FIELDS_WIDTH, found

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bridge.bench.load.delivery_check import Reader
    from bridge.bench.load.latency import Histogram
    from bridge.bench.load.payload import Stamped

TEXT: Final = 0x81
CLOSE: Final = 0x88
PING: Final = 0x89
PONG: Final = 0x8A
_LENGTH_16, _LENGTH_64 = 126, 127


def frames(data: bytes, at: int = 0) -> Iterator[tuple[int, int, int]]:
    """Yield each whole frame from `at` on: its first byte, its payload's begin and end."""
    size = len(data)
    while at + 2 <= size:
        length = data[at + 1]
        body = at + 2
        if length == _LENGTH_16:
            body = at + 4
            length = int.from_bytes(data[at + 2 : body], "big")
        elif length == _LENGTH_64:
            body = at + 10
            length = int.from_bytes(data[at + 2 : body], "big")
        end = body + length
        if body > size or end > size:
            return
        yield data[at], body, end
        at = end


def text_frame(text: bytes) -> bytes:
    """Return `text` as a server sends it."""
    return framed(TEXT, text)


def framed(first: int, payload: bytes) -> bytes:
    """Return a frame that begins with `first`, not masked."""
    size = len(payload)
    if size < _LENGTH_16:
        return bytes((first, size)) + payload
    if size < 1 << 16:
        return bytes((first, _LENGTH_16)) + size.to_bytes(2, "big") + payload
    return bytes((first, _LENGTH_64)) + size.to_bytes(8, "big") + payload


def masked(first: int, payload: bytes = b"") -> bytes:
    """Return a client's frame of fewer than 126 bytes; the mask, of zeros, changes nothing."""
    return bytes((first, 0x80 | len(payload))) + b"\0\0\0\0" + payload


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
