"""What joins the banks, which never meet: from the feed through the hub to the sockets, and back.

Rule: nothing is decided here. Records go down, questions go up.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bridge.app.status import NO_PARTS, figures
from bridge.core.protocol import close_codes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence

    from bridge.app.status import Parts
    from bridge.coordination.commands import Office
    from bridge.coordination.dead_letters import Casualties
    from bridge.core.protocol.cursor import Cursor
    from bridge.core.protocol.envelope import Batch, Casualty, Router
    from bridge.core.protocol.event import Event
    from bridge.core.sessions.session import Session
    from bridge.kafka.consumer import Feed
    from bridge.kafka.replay.scheduler import Replayer
    from bridge.web.connections.admission import Entrance
    from bridge.web.connections.pool import Sockets
    from bridge.web.upstream import Figure


class Switch:
    """Takes what the feed reads."""

    #: Set once it exists, for it needs the feed, which needs this.
    office: Office

    def __init__(self, span: Span) -> None:
        self._span = span

    def begin(self, topic: str, identity: bytes, offsets: Mapping[int, int]) -> None:
        """Say where reading starts."""
        if topic in self.office.topics:
            self.office.begin(topic, identity)
        else:
            self._span.begin(topic, identity, offsets)

    def skip(self, topic: str, reason: str, offsets: Mapping[int, int]) -> None:
        """Say what can not be read."""
        if topic in self.office.topics:
            self.office.skip(topic, reason)
        else:
            self._span.skip(topic, reason, offsets)

    def sleep(self, topic: str, identity: bytes) -> None:
        """Say that a topic is not read until somebody follows it again."""
        self._span.sleep(topic, identity)

    async def deliver(self, batches: Sequence[Batch]) -> None:
        """Hand on what was read."""
        own = self.office.topics
        for batch in batches:
            if batch.topic in own:
                self.office.take(batch)
        await self._span.deliver([batch for batch in batches if batch.topic not in own])


#: Of a batch with more records than these, the latency of the first and the last is observed.
_ENDS = 3


class Span:
    """Joins the banks: from the feed through the router and the hub to the sockets."""

    def __init__(
        self,
        router: Router,
        entrance: Entrance,
        sockets: Sockets,
        bury: Callable[[Casualty], None],
        *,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`bury` takes what can not be used.

        `wall` tells the seconds since 1970, which records' timestamps are of.
        """
        self._router = router
        self._entrance = entrance
        self._hub = entrance.hub
        self._sockets = sockets
        self._bury = bury
        self._wall = wall

    def begin(self, topic: str, identity: bytes, offsets: Mapping[int, int]) -> None:
        """Tell the hub where reading starts."""
        self._hub.begin(topic, identity, offsets)
        self._sockets.flush()

    def skip(self, topic: str, reason: str, offsets: Mapping[int, int]) -> None:
        """Tell the hub what can not be read."""
        self._hub.skip(topic, reason, offsets)
        self._sockets.flush()

    def sleep(self, topic: str, identity: bytes) -> None:
        """Say that a topic is not read until somebody follows it again."""
        self._hub.demand.sleep(topic, identity)

    async def deliver(self, batches: Sequence[Batch]) -> None:
        """Route, publish, and write to the sockets: each of them once."""
        self._entrance.expire()
        written: list[Event] = []
        for batch in batches:
            routed = self._router.route(batch)
            for casualty in routed.casualties:
                self._bury(casualty)
            before, events = self._hub.delivered, routed.events
            self._hub.publish(routed)
            if self._hub.delivered > before:
                written += events if len(events) < _ENDS else (events[0], events[-1])
        await self._sockets.flush_in_slices()
        now = self._wall()
        for event in written:
            self._hub.tally.latency.observe(max(0.0, now - event.timestamp / 1000))

    def overloaded(self, session: Session) -> None:
        """Hang up on a client that has waited too long for its turn."""
        self._hub.hang_up(session, close_codes.OVERLOADED)
        self._sockets.flush()


class Reading:
    """What the sockets and the metrics may ask of the bank that reads."""

    def __init__(
        self, feed: Feed, replayer: Replayer, casualties: Casualties, parts: Parts = NO_PARTS
    ) -> None:
        self._feed = feed
        self._replayer = replayer
        self._casualties = casualties
        self._parts = parts

    def figures(self) -> Iterable[Figure]:
        """What was counted."""
        dead = self._casualties.by_reason
        return figures(self._feed, self._replayer, dead, self._parts)

    def ready(self) -> bool:
        """Whether the feed has caught up once."""
        return self._feed.ready.is_set()

    def stale(self) -> float | None:
        """Seconds without Kafka."""
        return self._feed.stale()

    def replay(self, session: Session) -> None:
        """Catch up `session`."""
        self._replayer.add(session)

    def awake(self, topics: Collection[str]) -> Awaitable[bool]:
        """Whether all of these topics are read by now."""
        return self._feed.sleepers.awake(topics)

    def since(self, topics: Collection[str], ms: int) -> Awaitable[Cursor | None]:
        """The cursor of these topics at a time."""
        return self._replayer.since(topics, ms)
