"""What the producer writes and the clients find again.

Rule: the data of an event is a text with fields of fixed width, so that a client finds them by
position behind the mark, and reads nothing else of the frame. The mark has the run's name, so
events of an earlier run count as nobody's.
"""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

_FIELDS: Final = b"%s%06d:%010d:%019d:"
LANE: Final = slice(0, 6)
SEQUENCE: Final = slice(7, 17)
STAMP: Final = slice(18, 37)
FIELDS_WIDTH: Final = 37  #: bytes, behind the mark


class Stamped(NamedTuple):
    """One event as a client finds it: the `number`-th of its `lane`, made at `made` (ns)."""

    lane: int
    number: int
    made: int


def fresh_run() -> str:
    """Return a name that no other run has."""
    return secrets.token_hex(4)


def mark(run: str) -> bytes:
    """Return what stands before the fields of each event of this run."""
    return f"pb1:{run}:".encode()


def fields(mark: bytes, lane: int, number: int, made: int) -> bytes:
    """Return the mark and the fields."""
    return _FIELDS % (mark, lane, number, made)


def found(data: bytes, at: int) -> Stamped:
    """Return the fields that stand at `at`, right behind a mark."""
    return Stamped(
        int(data[at : at + 6]), int(data[at + 7 : at + 17]), int(data[at + 18 : at + 37])
    )


class Envelope:
    """Makes records of one size for one audience."""

    def __init__(self, run: str, audience: Mapping[str, object], size: int) -> None:
        self._mark = mark(run)
        head = json.dumps({**audience, "data": ""}, separators=(",", ":")).encode()
        self._head, self._tail = head[:-2], head[-2:]
        bare = len(head) + len(fields(self._mark, 0, 0, 0))
        self._tail = b"x" * max(0, size - bare) + self._tail

    def value(self, lane: int, number: int, made: int) -> bytes:
        """Return a record's value."""
        return self._head + _FIELDS % (self._mark, lane, number, made) + self._tail
