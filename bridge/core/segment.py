"""A stretch of one partition's recent events, packed into bytes.

Rules: packing costs next to nothing, because most of what is kept is never asked for; the first
who asks pays for the index. Nothing here is a Python object per event: those would cost several
times their bytes, and make garbage collections long.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from itertools import count
from typing import TYPE_CHECKING, Final

import msgspec

from bridge.core.protocol.event import Event

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_pack: Final = msgspec.msgpack.Encoder().encode
_unpack: Final = msgspec.msgpack.Decoder(Event).decode
_unpack_all: Final = msgspec.msgpack.Decoder(list[Event]).decode
#: An entry of the index is the upper bits of an address' hash, and an event's number below them.
_NUMBER_BITS: Final = 24
_NUMBER: Final = (1 << _NUMBER_BITS) - 1
#: So many entries stand beside the index until they are merged with it: while a segment grows,
#: and is asked for all the same, to sort all of it for each batch would be quadratic.
_FRESH: Final = 2_000
#: What the objects around the bytes take, about.
_OVERHEAD_BYTES: Final = 600
_REFERENCE_BYTES: Final = 8
_serials: Final = count()

ALL: Final = hash(("all",)) & ~_NUMBER


def of_connection(name: str) -> int:
    """Return the key of a connection's address."""
    return hash(("connection", name)) & ~_NUMBER


def of_account(name: str) -> int:
    """Return the key of an account's address."""
    return hash(("account", name)) & ~_NUMBER


def of_room(name: str) -> int:
    """Return the key of a room's address."""
    return hash(("room", name)) & ~_NUMBER


class Segment:
    """Consecutive events of one partition; `next` is the offset that follows the last of them.

    No two segments ever have one `serial`.
    """

    __slots__ = (
        *("_ends", "_fresh", "_index", "_loose", "_offsets", "_packed", "bytes", "next"),
        *("serial", "timestamp"),
    )

    def __init__(self) -> None:
        self.serial = next(_serials)
        self.next = 0
        self.timestamp: int | None = None  #: of the first record
        self.bytes = _OVERHEAD_BYTES  #: of memory that this takes
        self._loose: list[bytes] = []  # packed lists of events, as they came
        self._packed = bytearray()  # events that have been asked for: one after the other,
        self._ends = array("I")  # where each of them ends,
        self._offsets = array("q")
        self._index = array("q")  # and who they are for, sorted,
        self._fresh = array("q")  # as are the latest by themselves

    def keep(self, events: Sequence[Event]) -> None:
        """Add some events that follow."""
        block = bytes(memoryview(_pack(events)))  # copied: msgspec's own has room to spare
        self._loose.append(block)
        self.bytes += block.__sizeof__() + _REFERENCE_BYTES
        self.next = events[-1].offset + 1
        if self.timestamp is None:
            self.timestamp = events[0].timestamp

    @property
    def loose(self) -> bool:
        """Whether there are events that can not be found yet: `pack` first."""
        return bool(self._loose)

    def pack(self, most: int) -> int:
        """Let about `most` more events be found, oldest first; return how many it were.

        Cost: some microseconds for each, once.
        """
        events: list[Event] = []
        blocks = 0
        while blocks < len(self._loose) and len(events) < most:
            events += _unpack_all(self._loose[blocks])
            blocks += 1
        del self._loose[:blocks]
        packed = [_pack(event) for event in events]
        entries: list[int] = []
        end = len(self._packed)
        for number, event in enumerate(events, len(self._offsets)):
            end += len(packed[number - len(self._offsets)])
            self._ends.append(end)
            entries += [key | number for key in _keys(event)]
        self._offsets.extend(event.offset for event in events)
        self._packed += b"".join(packed)
        # Sorted stretches and some entries behind them: what Python's sort is quickest at.
        self._fresh = array("q", sorted([*self._fresh, *entries]))
        if len(self._fresh) > _FRESH:
            self._index = array("q", sorted([*self._index, *self._fresh]))
            self._fresh = array("q")
        held = (self._ends, self._offsets, self._index, self._fresh, *self._loose)
        # What a bytearray has to spare was never touched, so no memory is behind it.
        self.bytes = _OVERHEAD_BYTES + len(self._packed) + sum(each.__sizeof__() for each in held)
        self.bytes += _REFERENCE_BYTES * len(self._loose)
        return len(events)

    def find(self, keys: Iterable[int], place: int) -> list[int]:
        """Return the numbers of the packed events at offset `place` or above that are for these.

        There may be some among them that are not: a key stands for a name, but not for one only.
        """
        first = bisect_left(self._offsets, place)
        found: set[int] = set()
        for index in (self._index, self._fresh) if self._fresh else (self._index,):
            for key in keys:
                at = bisect_left(index, key | first)
                while at < len(index) and index[at] & ~_NUMBER == key:
                    found.add(index[at] & _NUMBER)
                    at += 1
        return sorted(found)

    def event(self, number: int) -> Event:
        """Return the event of this number, made anew."""
        start = self._ends[number - 1] if number else 0
        return _unpack(memoryview(self._packed)[start : self._ends[number]])


def _keys(event: Event) -> set[int]:
    keys = {of_connection(name) for name in event.connections}
    keys.update(of_account(name) for name in event.accounts)
    keys.update(of_room(name) for name in event.rooms)
    if event.all:
        keys.add(ALL)
    return keys
