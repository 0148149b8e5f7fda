"""What happened, and for whom: a record that the bridge understood.

Rule: an event with no audience reaches nobody. Broadcasting is always said, never assumed.
"""

from __future__ import annotations

from collections.abc import Sequence  # noqa: TC003 - msgspec evaluates the annotations
from enum import IntEnum
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable


class TypeFilter:
    """A filter on event types. Immutable, so sessions that ask for the same may share one."""

    __slots__ = ("_exact_types", "_prefixes", "patterns")

    def __init__(self, patterns: Iterable[str]) -> None:
        """Make a filter.

        Raises:
            ValueError: If one of `patterns` is empty, or has a `*` elsewhere than at its end.
        """
        self.patterns = tuple(dict.fromkeys(patterns))
        for pattern in self.patterns:
            if not pattern or "*" in pattern[:-1]:
                raise ValueError(
                    f"not an event type, or a prefix of one with * at its end: {pattern!r}"
                )
        self._exact_types = frozenset(
            pattern for pattern in self.patterns if not pattern.endswith("*")
        )
        self._prefixes = tuple(pattern[:-1] for pattern in self.patterns if pattern.endswith("*"))

    def matches(self, event_type: str) -> bool:
        """Whether an event of `event_type` is wanted."""
        return event_type in self._exact_types or event_type.startswith(self._prefixes)


class Body(IntEnum):
    """What `Event.data` is."""

    JSON = 0  #: JSON text, checked
    UNCHECKED = 1  #: the producer's bytes, to be looked at before the first delivery
    BASE64 = 2  #: base64 of bytes that are not JSON
    DELETED = 3  #: nothing: the record was a tombstone


# Looked up once: of an enum's member each look-up calls Python (3.11).
JSON: Final = Body.JSON
UNCHECKED: Final = Body.UNCHECKED


class Event(msgspec.Struct, gc=False, array_like=True):
    """One event. `id`, `type` and `time` are None where the producer gave none.

    `timestamp` is the record's, in milliseconds. `meta` is JSON text. `to` holds the audience:
    names of connections, accounts and rooms in the record's order, and whether it is for all.
    `traceparent` is a valid one, of version 00.
    """

    offset: int
    timestamp: int
    body: Body
    data: bytes
    connections: Sequence[str] = ()
    accounts: Sequence[str] = ()
    rooms: Sequence[str] = ()
    all: bool = False
    id: str | None = None
    type: str = "event"
    time: str | None = None
    tag: str | None = None
    meta: bytes | None = None
    traceparent: str | None = None


class InvalidRecord(Exception):
    """A record that can not be used. `reason` is a short code that is counted."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
