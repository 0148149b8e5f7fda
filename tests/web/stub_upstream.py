"""Kafka as a test wants it to be: what it has, when it answers, and whether it does at all.

Who comes back is caught up by the bridge's own replayer, from the journal; what a test decides is
what the brokers say of it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from bridge.core.protocol.cursor import TopicOffsets
from bridge.core.replay.retention import LogBounds
from bridge.core.sessions.positions import waiting_partitions
from bridge.kafka.replay.scheduler import ReplayScheduler, ScanLimits
from bridge.web.upstream import MetricSample

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable

    from bridge.core.protocol.cursor import Cursor
    from bridge.core.replay.catchup import CatchUp
    from bridge.core.sessions.hub import Hub
    from bridge.core.sessions.session import Session
    from bridge.kafka.replay.scan import ScanSource


class StubBrokers:
    """What the brokers say; each of `starts`, `ends` and `then` is by topic and partition.

    What is not said is what the hub knows: a log begins where it was begun, and ends where it was
    read to. `then` is what `since` finds.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._start_offsets = {
            topic: dict(log.next_offsets) for topic, log in hub.topic_positions.items()
        }
        self.starts: dict[str, dict[int, int]] = {}
        self.ends: dict[str, dict[int, int]] = {}
        self.since_offsets: dict[str, dict[int, int]] = {}
        self.is_reachable = True
        self.may_respond = asyncio.Event()
        self.may_respond.set()
        self.bounds_requests: list[frozenset[str]] = []
        self.since_requests: list[int] = []

    async def log_bounds(self, topics: Iterable[str]) -> dict[str, LogBounds]:
        self.bounds_requests.append(frozenset(topics))
        await self._respond()
        return {topic: self._bounds(topic) for topic in topics}

    async def cursor_at(self, topics: Iterable[str], timestamp_ms: int) -> Cursor:
        self.since_requests.append(timestamp_ms)
        await self._respond()
        logs = self._hub.topic_positions
        return {
            topic: TopicOffsets(
                logs[topic].topic_id, self.since_offsets.get(topic, logs[topic].next_offsets)
            )
            for topic in topics
        }

    async def _respond(self) -> None:
        await self.may_respond.wait()
        if not self.is_reachable:
            raise TimeoutError("no broker answers")

    def _bounds(self, topic: str) -> LogBounds:
        log = self._hub.topic_positions[topic]
        start = {**self._start_offsets[topic], **self.starts.get(topic, {})}
        end = {**log.next_offsets, **self.ends.get(topic, {})}
        return LogBounds(log.topic_id, start, end, start)


class StubUpstream:
    """What the entrance is told of reading."""

    def __init__(
        self,
        catch_up: CatchUp,
        hub: Hub,
        *,
        wait_seconds: float,
        flush: Callable[[], Awaitable[None]],
        overloaded: Callable[[Session], None],
    ) -> None:
        self.reports_ready = True
        self.stale_for: float | None = None
        self.hub, self.wait_seconds = hub, wait_seconds
        self.brokers = StubBrokers(hub)
        self.replayer = ReplayScheduler(
            catch_up,
            cast("Any", self.brokers),
            cast("ScanSource", None),  # there is nothing below the journal
            ScanLimits(max_scans=2, max_wait_seconds=wait_seconds),
            flush=flush,
            on_overloaded=overloaded,
        )

    def is_ready(self) -> bool:
        return self.reports_ready

    def waiting_partitions(self) -> list[str]:
        return waiting_partitions(self.hub.topic_positions, self.hub.topic_positions)

    def stale_seconds(self) -> float | None:
        return self.stale_for

    def start_replay(self, session: Session) -> None:
        self.replayer.add(session)

    async def wait_until_active(self, topics: Collection[str]) -> bool:
        """Wait for what a test wakes by `hub.begin`."""
        try:
            async with asyncio.timeout(self.wait_seconds):
                while self.hub.on_demand.idle_topics(topics):  # noqa: ASYNC110 - it has no event
                    await asyncio.sleep(0.005)
        except TimeoutError:
            return False
        return True

    def cursor_at(self, topics: Collection[str], timestamp_ms: int) -> Awaitable[Cursor | None]:
        return self.replayer.cursor_at(topics, timestamp_ms)


class UnusedUpstream:
    """For what asks Kafka nothing."""

    def is_ready(self) -> bool:
        return True

    def waiting_partitions(self) -> list[str]:
        return []

    def stale_seconds(self) -> None:
        return None

    def start_replay(self, session: Session) -> None:
        raise AssertionError(f"nobody was expected to come back: {session.id}")

    async def wait_until_active(self, topics: Collection[str]) -> bool:
        raise AssertionError(f"nobody was expected to wait: {topics}")

    def cursor_at(self, topics: Collection[str], timestamp_ms: int) -> Awaitable[Cursor | None]:
        raise AssertionError(f"nobody was expected to ask: {topics} {timestamp_ms}")

    def samples(self) -> Iterable[MetricSample]:
        return [MetricSample("lag", "Records that have not been read.", {"orders": 0}, "topic")]
