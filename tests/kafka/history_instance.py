"""An instance whose past is asked for by pages, and a cluster that a test can hold up.

The rule kept here: it is the bridge's own from Kafka to the page; only HTTP is missing.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from bridge.core.protocol.cursor import decode_cursor, encode_cursor, parse_position
from bridge.core.protocol.event import TypeFilter
from bridge.core.replay.history import HistoryRequest
from bridge.core.replay.retention import ReplayLimits
from bridge.core.sessions.permissions import Permissions
from bridge.core.sessions.session import Session
from bridge.kafka.client.client import BrokerConnection, KafkaClient
from bridge.kafka.offsets import LogOffsets
from bridge.kafka.replay.history import HistoryDependencies, KafkaHistoryReader
from bridge.kafka.replay.scheduler import ScanLimits
from tests.core.history_model import read_written_page
from tests.kafka.headless_instance import running_instance
from tests.kafka.held_replays import TIMEOUT_SECONDS, wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping

    from bridge.kafka.client.client import TopicPartition
    from tests.harness.history_pages import ReceivedPage
    from tests.kafka.headless_instance import HeadlessInstance


class HeldFetchClient(KafkaClient):
    """A cluster that a test holds up. `fetched` are the places that pages asked Kafka for."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.fetched_offsets: list[Mapping[TopicPartition, int]] = []
        self.max_concurrent_fetches = 0  #: the most fetches for pages that were under way together
        self._running_by_lane: Counter[BrokerConnection] = Counter()
        self._held_by_lane: Counter[BrokerConnection] = Counter()
        self._held_lanes = frozenset[BrokerConnection]()
        self._free_fetches = 0

    def hold(self, *lanes: BrokerConnection, free_fetches: int = 0) -> None:
        """Answer no fetch on these lanes; for pages, but the first ones since the beginning."""
        self._held_lanes, self._free_fetches = frozenset(lanes), free_fetches

    def release(self) -> None:
        self.hold()

    async def wait_until_held(
        self, lane: BrokerConnection = BrokerConnection.HISTORY, count: int = 1
    ) -> None:
        """Wait until so many fetches are held up."""
        await wait_until(lambda: self._held_by_lane[lane] >= count)

    async def wait_until_free(self) -> None:
        """Wait until nothing is held up any more, because nobody wants it."""
        await wait_until(lambda: not self._held_by_lane.total())

    async def fetch(
        self,
        node,
        offsets,
        topic_ids,
        *,
        max_bytes,
        wait_ms=None,
        connection=BrokerConnection.CONSUMER,
        **options,
    ):
        if connection is BrokerConnection.HISTORY:
            self.fetched_offsets.append(dict(offsets))
        self._running_by_lane[connection] += 1
        self.max_concurrent_fetches = max(
            self.max_concurrent_fetches, self._running_by_lane[BrokerConnection.HISTORY]
        )
        try:
            if connection in self._held_lanes and (
                connection is BrokerConnection.CONSUMER
                or len(self.fetched_offsets) > self._free_fetches
            ):
                self._held_by_lane[connection] += 1
                try:
                    await wait_until(lambda: connection not in self._held_lanes)
                finally:
                    self._held_by_lane[connection] -= 1
            return await super().fetch(
                node,
                offsets,
                topic_ids,
                max_bytes=max_bytes,
                wait_ms=wait_ms,
                connection=connection,
                **options,
            )
        finally:
            self._running_by_lane[connection] -= 1


class HistoryInstance:
    """The past as an instance tells it; `wall` tells it the time."""

    def __init__(
        self,
        instance: HeadlessInstance,
        *,
        limits: ReplayLimits | None = None,
        age: float = 10.0**9,
        passes: int = 2,
        wait: float = TIMEOUT_SECONDS,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.instance = instance
        self.hub = instance.hub
        self.hub.wall_clock = wall
        self._log_offsets = LogOffsets(
            instance.cluster,
            {topic: topic for topic in instance.hub.topic_positions},
            max_age_seconds=age,
            wall_clock=wall,
            waiting=lambda topic: instance.hub.topic_positions[topic].waiting,
        )
        dependencies = HistoryDependencies(
            instance.hub, self._log_offsets, instance.source, instance.feed.stale_seconds
        )
        self.history = KafkaHistoryReader(
            dependencies, ScanLimits(passes, wait), limits or ReplayLimits(10**9, 1 << 40, age)
        )

    async def page(
        self,
        cursor: str | None = None,
        *,
        since: int | None = None,
        limit: int = 100,
        account: str | None = "ann",
        topics: Iterable[str] | None = None,
        types: Iterable[str] | None = None,
    ) -> ReceivedPage:
        """Return one page."""
        reader = Session("reader", Permissions(account), bytes)
        self.hub.subscribe(reader, self.hub.topic_positions if topics is None else topics, ())
        reader.type_filter = None if types is None else TypeFilter(types)
        position = None if cursor is None else decode_cursor(cursor)
        return read_written_page(
            await self.history.read_page(HistoryRequest(reader, position, since, limit))
        )

    async def pages(self, cursor: str | None = None, **asked: Any) -> list[ReceivedPage]:
        """Page on to the end."""
        found = [await self.page(cursor, **asked)]
        asked.pop("since", None)
        while found[-1].more:
            found.append(await self.page(found[-1].cursor, **asked))
            assert found[-1].cursor != found[-2].cursor, "a page that does not get on"
        return found

    def cursor_at(self, *offsets_by_topic: Mapping[int, int]) -> str:
        """The cursor at these places in the topics, in their order."""
        return encode_cursor(self.instance.cursor_at(*offsets_by_topic))

    async def wait_caught_up(self) -> None:
        """Wait until the feed has read everything that there is now."""
        bounds = await self._log_offsets.log_bounds(self.hub.topic_positions)
        ends = {topic: log_bounds.end_offsets for topic, log_bounds in bounds.items()}
        await wait_until(
            lambda: (
                {topic: log.next_offsets for topic, log in self.hub.topic_positions.items()} == ends
            )
        )


@contextlib.asynccontextmanager
async def running_history(
    cluster: KafkaClient,
    *topics: str,
    journal: int = 1 << 26,
    **options: Any,
) -> AsyncIterator[HistoryInstance]:
    """Run an instance, and tell its past."""
    async with running_instance(cluster, *topics, journal=journal) as instance:
        yield HistoryInstance(instance, **options)


def offsets_by_partition(pages: list[ReceivedPage]) -> dict[int, list[int]]:
    """The offsets that came, by partition, whatever the topic."""
    offsets: dict[int, list[int]] = {}
    for each in pages:
        for at in each.positions:
            position = parse_position(at)
            offsets.setdefault(position.partition, []).append(position.offset)
    return offsets


def data(pages: list[ReceivedPage]) -> list[Any]:
    return [event["data"] for each in pages for event in each.events]


def gaps(pages: list[ReceivedPage]) -> list[tuple[str, str]]:
    return [(gap["topic"], gap["reason"]) for each in pages for gap in each.gaps]
