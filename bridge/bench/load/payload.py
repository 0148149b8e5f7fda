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

_FIELDS_FORMAT: Final = b"%s%06d:%010d:%019d:"
SEQUENCE_ID: Final = slice(0, 6)
SEQUENCE_NUMBER: Final = slice(7, 17)
CREATED_NS: Final = slice(18, 37)
FIELDS_WIDTH: Final = 37  #: bytes, behind the mark


class EventStamp(NamedTuple):
    """One event as a client finds it: the `number`-th of its `lane`, made at `made` (ns)."""

    sequence_id: int
    number: int
    created_ns: int


def new_run_id() -> str:
    """Return a name that no other run has."""
    return secrets.token_hex(4)


def run_marker(run_id: str) -> bytes:
    """Return what stands before the fields of each event of this run."""
    return f"pb1:{run_id}:".encode()


def encode_fields(marker: bytes, sequence_id: int, number: int, created_ns: int) -> bytes:
    """Return the mark and the fields."""
    return _FIELDS_FORMAT % (marker, sequence_id, number, created_ns)


def decode_fields(data: bytes, offset: int) -> EventStamp:
    """Return the fields that stand at `offset`, right behind a mark."""
    return EventStamp(
        int(data[offset : offset + 6]),
        int(data[offset + 7 : offset + 17]),
        int(data[offset + 18 : offset + 37]),
    )


class RecordTemplate:
    """Makes records of one size for one audience."""

    def __init__(self, run_id: str, audience: Mapping[str, object], record_bytes: int) -> None:
        self._marker = run_marker(run_id)
        empty_value = json.dumps({**audience, "data": ""}, separators=(",", ":")).encode()
        self._prefix, self._suffix = empty_value[:-2], empty_value[-2:]
        min_bytes = len(empty_value) + len(encode_fields(self._marker, 0, 0, 0))
        self._suffix = b"x" * max(0, record_bytes - min_bytes) + self._suffix

    def render(self, sequence_id: int, number: int, created_ns: int) -> bytes:
        """Return a record's value."""
        return (
            self._prefix
            + _FIELDS_FORMAT % (self._marker, sequence_id, number, created_ns)
            + self._suffix
        )
