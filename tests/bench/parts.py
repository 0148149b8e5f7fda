"""What each part of the hot path costs: `python -m tests.bench.parts [ROUNDS]`.

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

from bridge.cli.runner import settle
from bridge.core.journal import Journal
from bridge.core.protocol import frames
from bridge.core.protocol.envelope import Batch, Router
from bridge.core.sessions.permissions import everything
from bridge.core.sessions.session import Hand, Session
from bridge.kafka.client.record_batches import Aborted, unpack
from bridge.web.connections.connection import Phase
from bridge.web.connections.websocket import Socket
from bridge.web.transport import ws_framing
from tests.bench.journal import BUDGET, CHUNK, TOPIC, NoJournal, batches, instance

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.core.protocol.envelope import Routed
    from bridge.core.protocol.event import Event
    from bridge.core.sessions.hub import Hub

    #: Does a part's work once; returns how many units that were.
    Work = Callable[[], int]

ROOMS = 1, 10, 100, 1_000
LOAD = 40
PORTION = 256 * 1024


def chunks() -> list[Batch]:
    """What the feed hands on: a broker's batches, unpacked."""
    return [
        Batch(TOPIC, it.partition, chunk.records, chunk.next)
        for it in batches()[:LOAD]
        for chunk in unpack(it.data, it.first, it.first + CHUNK, Aborted([]))
    ]


def unpacking() -> Work:
    """Bytes to records."""
    made = batches()[:LOAD]

    def work() -> int:
        return sum(
            len(chunk.records)
            for it in made
            for chunk in unpack(it.data, it.first, it.first + CHUNK, Aborted([]))
        )

    return work


def routing() -> Work:
    """Records to events."""
    made, router = chunks(), Router(1 << 20)
    return lambda: sum(len(router.route(batch).events) for batch in made)


def routed() -> list[Routed]:
    """The same, done."""
    router = Router(1 << 20)
    return [router.route(batch) for batch in chunks()]


def publishing_to_nobody() -> Work:
    """Events that are for nobody here, without a journal."""
    made, hub = routed(), instance(NoJournal(0))

    def work() -> int:
        for each in made:
            hub.publish(each)
        return sum(len(each.events) for each in made)

    return work


def keeping() -> Work:
    """Events into the journal."""
    made, journal = routed(), Journal(BUDGET)
    for each in made:
        journal.begin(TOPIC, each.partition, 0)

    def work() -> int:
        for each in made:
            journal.keep(TOPIC, each.partition, each.events, each.next)
        return sum(len(each.events) for each in made)

    return work


def members(hub: Hub, room: str, count: int) -> list[Session]:
    """Let so many clients be in `room`."""
    sessions = []
    for number in range(count):
        session = Session(f"{number:032x}", everything(None), ws_framing.text, None)
        hub.follow(session, [TOPIC], [])
        hub.give(session, room, Hand.OWN)
        hub.attach(session)
        sessions.append(session)
    for session in hub.flushable():
        session.outbox.clear()
    return sessions


def for_room(event: Event) -> Event:
    """Let it be for the room of the benchmark instead."""
    event.accounts, event.rooms, event.all = (), ["bench"], False
    return event


def publishing_to_room(count: int) -> Work:
    """Events for a room, one batch of 20 at a time, into the outboxes and out of them again."""
    hub = instance(NoJournal(0))
    members(hub, "bench", count)
    each = routed()[0]
    some = each._replace(events=[for_room(event) for event in each.events[:20]])

    def work() -> int:
        hub.publish(some)
        for session in hub.flushable():
            session.outbox.take(PORTION)
        return len(some.events) * count

    return work


class Nowhere(asyncio.Transport):
    """A transport that takes everything."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Forget it."""


def flushing(count: int) -> Work:
    """One frame each into outboxes, and from there to transports."""
    sessions = []
    for number in range(count):
        socket = Socket(cast("Any", None))
        socket.transport, socket.phase = Nowhere(), Phase.OPEN
        socket.session = Session(f"{number:032x}", everything(None), ws_framing.text, socket)
        sessions.append(socket.session)
    frame = bytes(300)

    def work() -> int:
        for session in sessions:
            session.outbox.force(frame)
        for session in sessions:
            session.pipe.flush()
        return count

    return work


def framing_one() -> Work:
    """An event to the bytes that a socket carries."""
    events = [for_room(event) for event in routed()[0].events]
    to = frames.to_room("bench")

    def work() -> int:
        for event in events:
            ws_framing.text(frames.event_frame(TOPIC, 0, event).text(to))
        return len(events)

    return work


PARTS: dict[str, Callable[[], Work]] = {
    "unpack, per record": unpacking,
    "route, per record": routing,
    "publish for nobody here, per event": publishing_to_nobody,
    "journal, per event": keeping,
    "frame, per event": framing_one,
    **{
        f"publish and join, room of {count:,}, per delivery": partial(publishing_to_room, count)
        for count in ROOMS
    },
    "queue and flush, per connection of 5,000": partial(flushing, 5_000),
}


def main() -> None:
    """Print what each costs."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    parts = {name: make() for name, make in PARTS.items()}
    settle()
    took: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(rounds):
        for name, work in parts.items():
            began = time.process_time()
            done = work()
            took[name].append((time.process_time() - began) / done * 1e6)
    for name, each in took.items():
        print(f"{statistics.median(each):8.3f} us  {name}  (from {min(each):.3f} on)")


if __name__ == "__main__":
    main()
