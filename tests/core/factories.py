"""What the tests of the core begin with: records, events, sessions and a hub, with plain values."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from bridge.core.protocol.cursor import Cursor, TopicOffsets, decode_cursor, encode_cursor
from bridge.core.protocol.event import Body, Event, TypeFilter
from bridge.core.protocol.record import DecodedBatch
from bridge.core.replay.catchup import CatchUp, NextStep, ScanState
from bridge.core.replay.retention import LogBounds, ReplayLimits
from bridge.core.sessions.hub import Hub
from bridge.core.sessions.permissions import Permissions
from bridge.core.sessions.session import MembershipSource, Session
from tests.harness.frame_schemas import read_frame

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

TIMESTAMP = 1_795_000_000_123
TIMESTAMP_TEXT = "2026-11-18T11:06:40.123Z"
CURSOR_TIME = TIMESTAMP // 1000  #: when cursors of a hub are made
TOPIC_ID, OTHER_TOPIC_ID = b"8 bytes.", b"another."
OUTBOX_BYTES = 1_000_000
HUB_START: Cursor = {"orders": TopicOffsets(TOPIC_ID, {0: 10, 1: 20})}  #: where a hub begins


def jitter(seconds: float) -> float:
    """Spread `seconds` as no spreading would, so that a test sees whether it was asked."""
    return seconds + 0.25


class ConsumerRecord(NamedTuple):
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
) -> ConsumerRecord:
    raw = json.dumps(value).encode() if isinstance(value, dict) else value
    return ConsumerRecord(offset, timestamp, b"key", raw, headers)


def event(offset: int = 0, data: bytes = b"null", **fields: Any) -> Event:
    return Event(
        **{"offset": offset, "timestamp": TIMESTAMP, "body": Body.JSON, "data": data, **fields}
    )


def broadcasts(*offsets: int) -> list[Event]:
    return [event(offset, all=True) for offset in offsets]


def as_line(frame: bytes) -> bytes:
    """Wrap a frame as a line of its own."""
    return frame + b"\n"


def session(
    id: str = "c1",
    account: str | None = "ann",
    *,
    topics: Iterable[str] = ("orders",),
    rooms: Iterable[str] | Mapping[str, MembershipSource] = (),
    types: Iterable[str] | None = None,
    grant: Permissions | None = None,
) -> Session:
    new = Session(id, grant or Permissions(account), as_line)
    new.topics = frozenset(topics)
    new.rooms = (
        dict(rooms) if isinstance(rooms, dict) else dict.fromkeys(rooms, MembershipSource.OWN)
    )
    new.type_filter = None if types is None else TypeFilter(types)
    return new


def hub(*, ceiling: int = OUTBOX_BYTES, **topics: bool) -> Hub:
    """Return a hub of `orders`, `news` and a private `audit`, unless other topics are given.

    Each has two partitions, of which 10 and 20 are the next offsets.
    """
    private_by_topic = topics or {"orders": False, "news": False, "audit": True}
    new_hub = Hub(
        "i1",
        private_by_topic,
        heartbeat_seconds=25.0,
        max_outbox_bytes=ceiling,
        jitter=jitter,
        wall_clock=lambda: CURSOR_TIME,
    )
    for topic in private_by_topic:
        new_hub.set_start_offsets(topic, TOPIC_ID, {0: 10, 1: 20})
    return new_hub


def attached_session(
    hub: Hub, id: str = "c1", account: str | None = "ann", **options: Any
) -> Session:
    """Return a session that is live, its welcome already taken."""
    new = session(id, account, **options)
    hub.attach(new)
    take_frames(new)
    return new


def catch_up(
    hub: Hub, *, records: int = 1000, bytes: int = 1 << 20, ceiling: int = OUTBOX_BYTES
) -> CatchUp:
    return CatchUp(hub, ReplayLimits(records, bytes), ceiling)


def resumed_session(
    catch_up: CatchUp,
    cursor: Cursor,
    id: str = "c1",
    account: str | None = "ann",
    *,
    clip: bool = False,
    **options: Any,
) -> Session:
    """Return a session that goes on at `cursor`, its welcome already taken."""
    new = session(id, account, **options)
    catch_up.start(new, cursor, encode_cursor(cursor), may_clamp=clip)
    take_frames(new)
    return new


def new_scan(catch_up: CatchUp, *sessions: Session) -> ScanState:
    """Return a pass for these sessions, from the lowest of their places on."""
    start: dict[tuple[str, int], int] = {}
    for each in sessions:
        for key, (offset, _) in catch_up.missing_ranges(each).items():
            start[key] = min(offset, start.get(key, offset))
    scan = ScanState(start)
    scan.backfills = {key: catch_up.journal.start_backfill(offset) for key, offset in start.items()}
    for each in sessions:
        catch_up.join_scan(scan, each)
    return scan


def deliver_scan(
    catch_up: CatchUp,
    scan: ScanState,
    *events: Event,
    topic: str = "orders",
    partition: int = 0,
    next_offset: int | None = None,
) -> list[Session]:
    """Let a pass read these events; return those whose clients have to read first."""
    end = events[-1].offset + 1 if next_offset is None else next_offset
    return catch_up.deliver_scanned(scan, DecodedBatch(topic, partition, list(events), end, 0, []))


def cursor_at(*offsets: int, identity: bytes = TOPIC_ID) -> Cursor:
    """Return the cursor of a client that stands at these offsets of `orders`."""
    return {"orders": TopicOffsets(identity, dict(enumerate(offsets)))}


def log_bounds(identity: bytes | None = TOPIC_ID, **bounds: dict[int, int]) -> dict[str, LogBounds]:
    """What Kafka says of each topic: unless told otherwise, everything from 0 to 99 is there."""
    names = ("start", "end", "aged")
    values = (
        {0: 0, 1: 0} | bounds.get(name, {0: 99, 1: 99} if name == "end" else {}) for name in names
    )
    return dict.fromkeys(("orders", "news", "audit"), LogBounds(identity, *values))


def publish(
    hub: Hub,
    *events: Event,
    topic: str = "orders",
    partition: int = 0,
    next_offset: int | None = None,
) -> None:
    end = events[-1].offset + 1 if next_offset is None else next_offset
    hub.deliver_batch(DecodedBatch(topic, partition, list(events), end, 0, []))


def take_frames(session: Session) -> list[dict[str, Any]]:
    """Take and return what waits for `session`."""
    return [read_frame(each) for each in session.outbox.pop(2**40).splitlines()]


def take_positions(session: Session) -> list[str]:
    """Take what waits for `session`, which are events; return where they stand."""
    return [each["at"] for each in take_frames(session)]


def take_summary(session: Session) -> list[str]:
    """Take what waits for `session`; return what events and gaps say."""
    return [each.get("at") or each.get("reason") or each["op"] for each in take_frames(session)]


def cursor_offsets(hub: Hub, session: Session) -> dict[str, dict[int, int]]:
    """Where the cursor of `session` is."""
    return offsets_by_topic(decode_cursor(hub.cursor(session)))


def offsets_by_topic(cursor: Cursor) -> dict[str, dict[int, int]]:
    return {topic: dict(place.offsets) for topic, place in cursor.items()}


def take_gaps(session: Session) -> list[tuple[str, str, Cursor]]:
    """Take what waits for `session`, which are gaps; return what they say."""
    received = take_frames(session)
    assert {each["op"] for each in received} <= {"gap"}
    return [(each["topic"], each["reason"], decode_cursor(each["cursor"])) for each in received]


def judged_session(
    cursor: Cursor, records: int = 1000, clip: bool = False, **bounds: Any
) -> tuple[Hub, CatchUp, Session]:
    """Return a client that comes back with `cursor`, when Kafka has said what it says of that."""
    session_hub = hub()
    session_catch_up = catch_up(session_hub, records=records)
    resumed = resumed_session(session_catch_up, cursor, clip=clip, topics=["news", "orders"])
    assert session_catch_up.advance(resumed) is NextStep.READ_KAFKA
    assert session_catch_up.check_bounds(resumed, log_bounds(**bounds))
    return session_hub, session_catch_up, resumed
