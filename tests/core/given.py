"""What the tests of the core begin with: records, events, sessions and a hub, with plain values."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from bridge.core.protocol.cursor import Cursor, Place, read_cursor, write_cursor
from bridge.core.protocol.envelope import Routed
from bridge.core.protocol.event import Body, Event, Types
from bridge.core.replay.catchup import CatchUp, Scan
from bridge.core.replay.retention import Bounds, Limits
from bridge.core.sessions.hub import Hub
from bridge.core.sessions.permissions import Grant
from bridge.core.sessions.session import Hand, Need, Session
from tests.harness.frames import read_frame

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

TIMESTAMP = 1_795_000_000_123
TIMESTAMP_TEXT = "2026-11-18T11:06:40.123Z"
LIFE, OTHER_LIFE = b"8 bytes.", b"another."
CEILING = 1_000_000
HERE: Cursor = {"orders": Place(LIFE, {0: 10, 1: 20})}  #: where a hub begins


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


def broadcasts(*offsets: int) -> list[Event]:
    return [event(offset, all=True) for offset in offsets]


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


def catch_up(
    at: Hub, *, records: int = 1000, bytes: int = 1 << 20, ceiling: int = CEILING
) -> CatchUp:
    return CatchUp(at, Limits(records, bytes), ceiling)


def returned(
    to: CatchUp,
    cursor: Cursor,
    id: str = "c1",
    account: str | None = "ann",
    *,
    clip: bool = False,
    **asked: Any,
) -> Session:
    """Return a session that goes on at `cursor`, its welcome already taken."""
    made = session(id, account, **asked)
    to.begin(made, cursor, write_cursor(cursor), clip=clip)
    frames(made)
    return made


def scan_for(to: CatchUp, *sessions: Session) -> Scan:
    """Return a pass for these sessions, from the lowest of their places on."""
    start: dict[tuple[str, int], int] = {}
    for each in sessions:
        for key, (place, _) in to.missing(each).items():
            start[key] = min(place, start.get(key, place))
    made = Scan(start)
    made.stretches = {key: to.journal.stretch(place) for key, place in start.items()}
    for each in sessions:
        to.enter(made, each)
    return made


def read(
    to: CatchUp,
    scan: Scan,
    *events: Event,
    topic: str = "orders",
    partition: int = 0,
    next: int | None = None,
) -> list[Session]:
    """Let a pass read these events; return those whose clients have to read first."""
    after = events[-1].offset + 1 if next is None else next
    return to.scan(scan, Routed(topic, partition, list(events), after, 0, []))


def standing(*offsets: int, identity: bytes = LIFE) -> Cursor:
    """Return the cursor of a client that stands at these offsets of `orders`."""
    return {"orders": Place(identity, dict(enumerate(offsets)))}


def kafka_says(identity: bytes | None = LIFE, **bounds: dict[int, int]) -> dict[str, Bounds]:
    """What Kafka says of each topic: unless told otherwise, everything from 0 to 99 is there."""
    names = ("start", "end", "aged")
    told = (
        {0: 0, 1: 0} | bounds.get(name, {0: 99, 1: 99} if name == "end" else {}) for name in names
    )
    return dict.fromkeys(("orders", "news", "audit"), Bounds(identity, *told))


def publish(
    at: Hub, *events: Event, topic: str = "orders", partition: int = 0, next: int | None = None
) -> None:
    after = events[-1].offset + 1 if next is None else next
    at.publish(Routed(topic, partition, list(events), after, 0, []))


def frames(of: Session) -> list[dict[str, Any]]:
    """Take and return what waits for `of`."""
    return [read_frame(each) for each in of.outbox.take(2**40).splitlines()]


def ats(of: Session) -> list[str]:
    """Take what waits for `of`, which are events; return where they stand."""
    return [each["at"] for each in frames(of)]


def told(of: Session) -> list[str]:
    """Take what waits for `of`; return what events and gaps say."""
    return [each.get("at") or each.get("reason") or each["op"] for each in frames(of)]


def stands(at: Hub, it: Session) -> dict[str, dict[int, int]]:
    """Where the cursor of `it` is."""
    return offsets(read_cursor(at.cursor(it)))


def offsets(cursor: Cursor) -> dict[str, dict[int, int]]:
    return {topic: dict(place.offsets) for topic, place in cursor.items()}


def gaps(of: Session) -> list[tuple[str, str, Cursor]]:
    """Take what waits for `of`, which are gaps; return what they say."""
    told = frames(of)
    assert {each["op"] for each in told} <= {"gap"}
    return [(each["topic"], each["reason"], read_cursor(each["cursor"])) for each in told]


def judged(
    cursor: Cursor, records: int = 1000, clip: bool = False, **bounds: Any
) -> tuple[Hub, CatchUp, Session]:
    """Return a client that comes back with `cursor`, when Kafka has said what it says of that."""
    at = hub()
    to = catch_up(at, records=records)
    it = returned(to, cursor, clip=clip, topics=["news", "orders"])
    assert to.step(it) is Need.KAFKA
    assert to.judge(it, kafka_says(**bounds))
    return at, to, it
