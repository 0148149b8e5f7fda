"""An event: a Kafka record that the bridge decoded, with its audience.

Rule: an event without an audience reaches nobody. A broadcast is always explicit (`all`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence  # noqa: TC003 - msgspec evaluates the annotations
from enum import IntEnum
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable


class TypeFilter:
    """Matches event types exactly or by prefix (`order.*`). Immutable: sessions can share one."""

    __slots__ = ("_exact_types", "_prefixes", "patterns")

    def __init__(self, patterns: Iterable[str]) -> None:
        """Keep `patterns` in their order, without repetitions.

        Raises:
            ValueError: If a pattern is empty, or has a `*` that is not its last character.
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
        """True if `event_type` equals a name or starts with a prefix of this filter."""
        return event_type in self._exact_types or event_type.startswith(self._prefixes)


def address_count(event: Event) -> int:
    """Return how many accounts, rooms and connections `event` names."""
    return len(event.connections) + len(event.accounts) + len(event.rooms)


class Body(IntEnum):
    """What the bytes of `Event.data` are."""

    JSON = 0  #: JSON text, checked
    UNCHECKED = 1  #: the producer's bytes, checked before the first delivery
    BASE64 = 2  #: base64 of bytes that are not JSON
    DELETED = 3  #: empty: the record was a tombstone


# Looked up once: each access to an enum's member runs Python code (3.11).
JSON: Final = Body.JSON
UNCHECKED: Final = Body.UNCHECKED


class Event(msgspec.Struct, gc=False, array_like=True):
    """One event and its audience, without its topic and partition.

    `timestamp` is the record's, in milliseconds since 1970; `time` is RFC 3339 text in UTC. The
    audience is `connections`, `accounts` and `rooms`, in the record's order, and `all`. `meta` is
    JSON text. `traceparent` has version 00. Fields are None if the producer set none.
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
    """A record cannot be decoded. `reason` is a short code, for metrics and dead letters.

    The detail is logged, so it never quotes the record: names and values may be confidential.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


# A name or a value, as msgspec quotes it. Its own words have backticks.
_sub_quoted: Final = re.compile(r"""(['"]).*\1""", re.DOTALL).sub


def describe_decode_error(error: Exception) -> str:
    """Return what a decoder of JSON or UTF-8 says, without what it quotes."""
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8 at byte {error.start}"
    return _sub_quoted("...", str(error))
