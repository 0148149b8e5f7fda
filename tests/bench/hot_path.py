"""What each part of the hot path costs: `python -m tests.bench.hot_path [ROUNDS]`.

Microseconds of CPU for one record, or for one delivery: the median of the rounds, in which the
parts take turns, so that a machine that becomes slower does so for all of them.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from bridge.cli.runner import tune_memory
from bridge.core.journal import Journal
from bridge.core.protocol import frames
from bridge.core.protocol.record import Batch
from bridge.core.routes.decoder import native_decoder
from bridge.core.sessions.permissions import unrestricted
from bridge.core.sessions.session import MembershipSource, Session
from bridge.kafka.client.records.record_batches import AbortedTransactions, decode_batches
from bridge.web.connections.connection import PhaseTrigger
from bridge.web.connections.websocket import WebSocketConnection
from bridge.web.transport import ws_framing
from tests.bench.journal import (
    BATCH_RECORDS,
    JOURNAL_BYTES,
    TOPIC,
    NoJournal,
    make_batches,
    make_hub,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.core.protocol.event import Event
    from bridge.core.protocol.record import DecodedBatch
    from bridge.core.sessions.hub import Hub

    #: Does a part's work once; returns how many units that were.
    PartRun = Callable[[], int]

ROOM_SIZES = 1, 10, 100, 1_000
BATCH_COUNT = 40
FLUSH_BYTES = 256 * 1024


def unpacked_batches() -> list[Batch]:
    """What the feed hands on: a broker's batches, unpacked."""
    return [
        Batch(TOPIC, it.partition, chunk.records, chunk.next_offset)
        for it in make_batches()[:BATCH_COUNT]
        for chunk in decode_batches(
            it.data, it.first_offset, it.first_offset + BATCH_RECORDS, AbortedTransactions([])
        )
    ]


def make_unpack() -> PartRun:
    """Bytes to records."""
    fetched = make_batches()[:BATCH_COUNT]

    def work() -> int:
        return sum(
            len(chunk.records)
            for it in fetched
            for chunk in decode_batches(
                it.data, it.first_offset, it.first_offset + BATCH_RECORDS, AbortedTransactions([])
            )
        )

    return work


def make_route() -> PartRun:
    """Records to events."""
    record_batches, router = unpacked_batches(), native_decoder(1 << 20)
    return lambda: sum(len(router.decode(batch).events) for batch in record_batches)


def decoded_batches() -> list[DecodedBatch]:
    """The same, done."""
    router = native_decoder(1 << 20)
    return [router.decode(batch) for batch in unpacked_batches()]


def make_publish_to_nobody() -> PartRun:
    """Events that are for nobody here, without a journal."""
    made, hub = decoded_batches(), make_hub(NoJournal(0))

    def work() -> int:
        for each in made:
            hub.deliver_batch(each)
        return sum(len(each.events) for each in made)

    return work


def make_journal() -> PartRun:
    """Events into the journal."""
    made, journal = decoded_batches(), Journal(JOURNAL_BYTES)
    for each in made:
        journal.reset_partition(TOPIC, each.partition, 0)

    def work() -> int:
        for each in made:
            journal.append(TOPIC, each.partition, each.events, each.next_offset)
        return sum(len(each.events) for each in made)

    return work


def add_room_members(hub: Hub, room: str, count: int) -> list[Session]:
    """Let so many clients be in `room`."""
    sessions = []
    for number in range(count):
        session = Session(f"{number:032x}", unrestricted(None), ws_framing.encode_text)
        hub.subscribe(session, [TOPIC], [])
        hub.add_membership(session, room, MembershipSource.OWN)
        hub.attach(session)
        sessions.append(session)
    for session in hub.pop_unflushed():
        session.outbox.clear()
    return sessions


def address_to_room(event: Event) -> Event:
    """Let it be for the room of the benchmark instead."""
    event.accounts, event.rooms, event.all = (), ["bench"], False
    return event


def make_publish_to_room(count: int) -> PartRun:
    """Events for a room, one batch of 20 at a time, into the outboxes and out of them again."""
    hub = make_hub(NoJournal(0))
    add_room_members(hub, "bench", count)
    each = decoded_batches()[0]
    some = each._replace(events=[address_to_room(event) for event in each.events[:20]])

    def work() -> int:
        hub.deliver_batch(some)
        for session in hub.pop_unflushed():
            session.outbox.pop(FLUSH_BYTES)
        return len(some.events) * count

    return work


class NullTransport(asyncio.Transport):
    """A transport that takes everything."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Forget it."""


def make_flush(count: int) -> PartRun:
    """One frame each into outboxes, and from there to transports."""
    sessions = []
    for number in range(count):
        socket = WebSocketConnection(cast("Any", None))
        socket.transport = NullTransport()
        socket.transition(PhaseTrigger.OPENED)
        socket.session = Session(
            f"{number:032x}", unrestricted(None), ws_framing.encode_text, socket
        )
        sessions.append(socket.session)
    frame = bytes(300)

    def work() -> int:
        for session in sessions:
            session.outbox.append(frame)
        for session in sessions:
            session.connection.flush()
        return count

    return work


def make_frame() -> PartRun:
    """An event to the bytes that a socket carries."""
    events = [address_to_room(event) for event in decoded_batches()[0].events]
    to = frames.to_for_room("bench")

    def work() -> int:
        for event in events:
            ws_framing.encode_text(frames.build_event_frame(TOPIC, 0, event).encode(to))
        return len(events)

    return work


PARTS: dict[str, Callable[[], PartRun]] = {
    "unpack, per record": make_unpack,
    "route, per record": make_route,
    "publish for nobody here, per event": make_publish_to_nobody,
    "journal, per event": make_journal,
    "frame, per event": make_frame,
    **{
        f"publish and join, room of {count:,}, per delivery": partial(make_publish_to_room, count)
        for count in ROOM_SIZES
    },
    "queue and flush, per connection of 5,000": partial(make_flush, 5_000),
}


def main() -> None:
    """Print what each costs."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    parts = {name: make() for name, make in PARTS.items()}
    tune_memory()
    microseconds: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(rounds):
        for name, work in parts.items():
            started = time.process_time()
            count = work()
            microseconds[name].append((time.process_time() - started) / count * 1e6)
    for name, each in microseconds.items():
        print(f"{statistics.median(each):8.3f} us  {name}  (from {min(each):.3f} on)")


if __name__ == "__main__":
    main()
