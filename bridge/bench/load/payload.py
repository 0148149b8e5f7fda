"""The payload of a benchmark event: a marker, then fields of fixed width.

Rule: a client finds the fields by their position behind the marker and parses nothing else. The
marker contains the run's id, so events of an earlier run are not counted.
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
FIELDS_WIDTH: Final = 37  #: bytes behind the marker


class EventStamp(NamedTuple):
    """The fields of one event: its number in its sequence, and its creation time (ns)."""

    sequence_id: int
    number: int
    created_ns: int


def new_run_id() -> str:
    """Return a random id of eight hexadecimal digits."""
    return secrets.token_hex(4)


def run_marker(run_id: str) -> bytes:
    """Return the bytes in front of the fields of each event of this run."""
    return f"pb1:{run_id}:".encode()


def encode_fields(marker: bytes, sequence_id: int, number: int, created_ns: int) -> bytes:
    """Return the marker and the fields."""
    return _FIELDS_FORMAT % (marker, sequence_id, number, created_ns)


def decode_fields(data: bytes, offset: int) -> EventStamp:
    """Return the fields at `offset`, which is right behind a marker."""
    return EventStamp(
        int(data[offset : offset + 6]),
        int(data[offset + 7 : offset + 17]),
        int(data[offset + 18 : offset + 37]),
    )


class RecordTemplate:
    """Renders record values of one size for one audience."""

    def __init__(self, run_id: str, audience: Mapping[str, object], record_bytes: int) -> None:
        self._marker = run_marker(run_id)
        empty_value = json.dumps({**audience, "data": ""}, separators=(",", ":")).encode()
        self._prefix, self._suffix = empty_value[:-2], empty_value[-2:]
        min_bytes = len(empty_value) + len(encode_fields(self._marker, 0, 0, 0))
        self._suffix = b"x" * max(0, record_bytes - min_bytes) + self._suffix

    def render(self, sequence_id: int, number: int, created_ns: int) -> bytes:
        """Return a native envelope with these fields as its data."""
        return (
            self._prefix
            + _FIELDS_FORMAT % (self._marker, sequence_id, number, created_ns)
            + self._suffix
        )
