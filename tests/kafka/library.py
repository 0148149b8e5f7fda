"""An instance whose past is asked for by pages, and a cluster that a test can hold up.

The rule kept here: it is the bridge's own from Kafka to the page; only HTTP is missing.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from bridge.core.protocol.cursor import read_cursor, read_position, write_cursor
from bridge.core.protocol.event import Types
from bridge.core.replay.history import Asked
from bridge.core.replay.retention import Limits
from bridge.core.sessions.permissions import Grant
from bridge.core.sessions.session import Session
from bridge.kafka.client.client import Cluster, Lane
from bridge.kafka.offsets import Horizon
from bridge.kafka.replay.history import History, Shelf
from bridge.kafka.replay.scheduler import Rules
from tests.core.past import written
from tests.kafka.pacing import PATIENCE, until
from tests.kafka.returning import running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping

    from bridge.kafka.client.client import Partition
    from tests.harness.pages import Turned
    from tests.kafka.returning import Instance


class Held(Cluster):
    """A cluster that a test holds up. `fetched` are the places that pages asked Kafka for."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.fetched: list[Mapping[Partition, int]] = []
        self.at_a_time = 0  #: the most fetches for pages that were under way together
        self._under_way: Counter[Lane] = Counter()
        self._waiting: Counter[Lane] = Counter()
        self._held = frozenset[Lane]()
        self._after = 0

    def hold(self, *lanes: Lane, after: int = 0) -> None:
        """Answer no fetch on these lanes; for pages, but the first ones since the beginning."""
        self._held, self._after = frozenset(lanes), after

    def let_go(self) -> None:
        self.hold()

    async def until_held(self, lane: Lane = Lane.HISTORY, count: int = 1) -> None:
        """Wait until so many fetches are held up."""
        await until(lambda: self._waiting[lane] >= count)

    async def until_free(self) -> None:
        """Wait until nothing is held up any more, because nobody wants it."""
        await until(lambda: not self._waiting.total())

    async def fetch(self, node, wanted, ids, *, max_bytes, wait_ms=None, lane=Lane.FEED):
        if lane is Lane.HISTORY:
            self.fetched.append(dict(wanted))
        self._under_way[lane] += 1
        self.at_a_time = max(self.at_a_time, self._under_way[Lane.HISTORY])
        try:
            if lane in self._held and (lane is Lane.FEED or len(self.fetched) > self._after):
                self._waiting[lane] += 1
                try:
                    await until(lambda: lane not in self._held)
                finally:
                    self._waiting[lane] -= 1
            return await super().fetch(
                node, wanted, ids, max_bytes=max_bytes, wait_ms=wait_ms, lane=lane
            )
        finally:
            self._under_way[lane] -= 1


class Library:
    """The past as an instance tells it; `wall` tells it the time."""

    def __init__(
        self,
        instance: Instance,
        *,
        limits: Limits | None = None,
        age: float = 10.0**9,
        passes: int = 2,
        wait: float = PATIENCE,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.instance = instance
        self.hub = instance.hub
        self._horizon = Horizon(
            instance.cluster,
            {topic: topic for topic in instance.hub.logs},
            max_age_seconds=age,
            wall=wall,
        )
        shelf = Shelf(instance.hub, self._horizon, instance.source, instance.feed.stale)
        self.history = History(shelf, Rules(passes, wait), limits or Limits(10**9, 1 << 40))

    async def page(
        self,
        cursor: str | None = None,
        *,
        since: int | None = None,
        limit: int = 100,
        account: str | None = "ann",
        topics: Iterable[str] | None = None,
        types: Iterable[str] | None = None,
    ) -> Turned:
        """Return one page."""
        reader = Session("reader", Grant(account), bytes, None)
        self.hub.follow(reader, self.hub.logs if topics is None else topics, ())
        reader.types = None if types is None else Types(types)
        place = None if cursor is None else read_cursor(cursor)
        return written(await self.history.page(Asked(reader, place, since, limit)))

    async def pages(self, cursor: str | None = None, **asked: Any) -> list[Turned]:
        """Page on to the end."""
        found = [await self.page(cursor, **asked)]
        asked.pop("since", None)
        while found[-1].more:
            found.append(await self.page(found[-1].cursor, **asked))
            assert found[-1].cursor != found[-2].cursor, "a page that does not get on"
        return found

    def at(self, *places: Mapping[int, int]) -> str:
        """The cursor at these places in the topics, in their order."""
        return write_cursor(self.instance.at(*places))

    async def read_up(self) -> None:
        """Wait until the feed has read everything that there is now."""
        bounds = await self._horizon.bounds(self.hub.logs)
        ends = {topic: told.end for topic, told in bounds.items()}
        await until(lambda: {topic: log.next for topic, log in self.hub.logs.items()} == ends)


@contextlib.asynccontextmanager
async def library(
    cluster: Cluster,
    *topics: str,
    journal: int = 1 << 26,
    **options: Any,
) -> AsyncIterator[Library]:
    """Run an instance, and tell its past."""
    async with running(cluster, *topics, journal=journal) as instance:
        yield Library(instance, **options)


def places(turned: list[Turned]) -> dict[int, list[int]]:
    """The offsets that came, by partition, whatever the topic."""
    found: dict[int, list[int]] = {}
    for each in turned:
        for at in each.ats:
            position = read_position(at)
            found.setdefault(position.partition, []).append(position.offset)
    return found


def data(turned: list[Turned]) -> list[Any]:
    return [event["data"] for each in turned for event in each.events]


def gaps(turned: list[Turned]) -> list[tuple[str, str]]:
    return [(gap["topic"], gap["reason"]) for each in turned for gap in each.gaps]
