"""Which records are written, one after another.

Rule: a source numbers each lane from 0 and knows at the end how many each has had. A lane is
what is promised to be in order: a partition, or what is for one account.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple, Protocol
from zlib import crc32

from bridge.bench.load.payload import Envelope

_STRIDE = 7_919  # a prime, so that neighbours are not served one after another
_NOBODIES = 1_000


class Record(NamedTuple):
    """What is written, and where."""

    value: bytes
    key: bytes | None
    partition: int


class Source(Protocol):
    """Makes the records of a scenario."""

    sent: Counter[int]  #: by lane

    def record(self, place: int, made: int) -> Record:
        """Return the record at this place, made at this moment (ns)."""

    def due(self) -> int:
        """Return how many deliveries what was made so far should come to."""


class ForRoom:
    """Everything is for one room; a lane is a partition."""

    def __init__(self, run: str, room: str, partitions: int, size: int, members: int) -> None:
        self.sent: Counter[int] = Counter()
        self._envelope = Envelope(run, {"rooms": [room]}, size)
        self._partitions = partitions
        self._members = members

    def record(self, place: int, made: int) -> Record:
        """Return the record at this place."""
        lane = place % self._partitions
        number = self.sent[lane]
        self.sent[lane] = number + 1
        return Record(self._envelope.value(lane, number, made), None, lane)

    def due(self) -> int:
        """Return how many deliveries there should be."""
        return self.sent.total() * self._members


class ForAccounts:
    """Each is for one of many accounts, whose lane it is; all but each `among`-th for nobody."""

    def __init__(
        self, run: str, prefix: str, accounts: int, partitions: int, size: int, *, among: int = 1
    ) -> None:
        self._partitions = partitions
        self.sent: Counter[int] = Counter()
        self._run, self._prefix, self._accounts = run, prefix, accounts
        self._size, self._among = size, among
        self._stride = _STRIDE if accounts % _STRIDE else 1
        self._known: dict[str, tuple[Envelope, bytes, int]] = {}

    def record(self, place: int, made: int) -> Record:
        """Return the record at this place."""
        if place % self._among:
            name = f"{self._prefix}nobody-{place % _NOBODIES}"
            return self._for(name, 0, 0, made)
        lane = place // self._among * self._stride % self._accounts
        number = self.sent[lane]
        self.sent[lane] = number + 1
        return self._for(f"{self._prefix}{lane}", lane, number, made)

    def due(self) -> int:
        """Return how many deliveries there should be."""
        return self.sent.total()

    def _for(self, name: str, lane: int, number: int, made: int) -> Record:
        known = self._known.get(name)
        if known is None:
            key = name.encode()
            envelope = Envelope(self._run, {"accounts": [name]}, self._size)
            known = self._known[name] = (envelope, key, crc32(key) % self._partitions)
        envelope, key, partition = known
        return Record(envelope.value(lane, number, made), key, partition)
