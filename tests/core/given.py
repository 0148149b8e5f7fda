"""What the tests of the core begin with: records, events, sessions and a hub, with plain values."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from bridge.core.event import Body, Event
from bridge.core.grant import Grant
from bridge.core.hub import Hub
from bridge.core.router import Routed
from bridge.core.session import Hand, Session
from bridge.core.types import Types
from tests.harness.frames import read_frame

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bridge.core.position import Cursor

TIMESTAMP = 1_795_000_000_123
TIMESTAMP_TEXT = "2026-11-18T11:06:40.123Z"
LIFE, OTHER_LIFE = b"8 bytes.", b"another."
CEILING = 1_000_000


def jitter(seconds: float) -> float:
    """Spread `seconds` as no spreading would, so that a test sees whether it was asked."""
    return seconds + 0.25


class Record(NamedTuple):
    """A record as Kafka stores it."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


def record(
    value: bytes | dict[str, Any] | None = None,
    *headers: tuple[str, bytes | None],
    offset: int = 7,
    timestamp: int = TIMESTAMP,
) -> Record:
    raw = json.dumps(value).encode() if isinstance(value, dict) else value
    return Record(offset, timestamp, b"key", raw, headers)


def event(offset: int = 0, data: bytes = b"null", **fields: Any) -> Event:
    return Event(
        **{"offset": offset, "timestamp": TIMESTAMP, "body": Body.JSON, "data": data, **fields}
    )


def line(frame: bytes) -> bytes:
    """Wrap a frame as a line of its own."""
    return frame + b"\n"


def session(
    id: str = "c1",
    account: str | None = "ann",
    *,
    topics: Iterable[str] = ("orders",),
    rooms: Iterable[str] | Mapping[str, Hand] = (),
    types: Iterable[str] | None = None,
    grant: Grant | None = None,
) -> Session:
    made = Session(id, grant or Grant(account), line, None)
    made.topics = frozenset(topics)
    made.rooms = dict(rooms) if isinstance(rooms, dict) else dict.fromkeys(rooms, Hand.OWN)
    made.types = None if types is None else Types(types)
    return made


def hub(*, ceiling: int = CEILING, **topics: bool) -> Hub:
    """Return a hub of `orders`, `news` and a private `audit`, unless other topics are given.

    Each has two partitions, of which 10 and 20 are the next offsets.
    """
    named = topics or {"orders": False, "news": False, "audit": True}
    made = Hub("i1", named, heartbeat=25.0, ceiling=ceiling, jitter=jitter)
    for topic in named:
        made.begin(topic, LIFE, {0: 10, 1: 20})
    return made


def attached(at: Hub, id: str = "c1", account: str | None = "ann", **asked: Any) -> Session:
    """Return a session that is live, its welcome already taken."""
    made = session(id, account, **asked)
    at.attach(made)
    frames(made)
    return made


def publish(
    at: Hub, *events: Event, topic: str = "orders", partition: int = 0, next: int | None = None
) -> None:
    after = events[-1].offset + 1 if next is None else next
    at.publish(Routed(topic, partition, list(events), after, 0, []))


def frames(of: Session) -> list[dict[str, Any]]:
    """Take and return what waits for `of`."""
    return [read_frame(each) for each in of.outbox.take(2**40).splitlines()]


def offsets(cursor: Cursor) -> dict[str, dict[int, int]]:
    return {topic: dict(place.offsets) for topic, place in cursor.items()}
