"""What happened, and for whom: a record that the bridge understood.

Rule: an event with no audience reaches nobody. Broadcasting is always said, never assumed.
"""

from __future__ import annotations

from collections.abc import Sequence  # noqa: TC003 - msgspec looks at the annotations
from enum import IntEnum
from typing import Final

import msgspec


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


class Dead(Exception):
    """A record that can not be used. `reason` is a short code that is counted."""

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason
