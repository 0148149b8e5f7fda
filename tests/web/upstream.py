"""Kafka as a test wants it to be: what it has, when it answers, and whether it does at all.

Who comes back is caught up by the bridge's own replayer, from the journal; what a test decides is
what the brokers say of it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from bridge.core.protocol.cursor import Place
from bridge.core.replay.retention import Bounds
from bridge.kafka.replay.scheduler import Replayer, Rules
from bridge.web.upstream import Figure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable

    from bridge.core.protocol.cursor import Cursor
    from bridge.core.replay.catchup import CatchUp
    from bridge.core.sessions.hub import Hub
    from bridge.core.sessions.session import Session
    from bridge.kafka.replay.scan import Source


class Brokers:
    """What the brokers say; each of `starts`, `ends` and `then` is by topic and partition.

    What is not said is what the hub knows: a log begins where it was begun, and ends where it was
    read to. `then` is what `since` finds.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._begun = {topic: dict(log.next) for topic, log in hub.logs.items()}
        self.starts: dict[str, dict[int, int]] = {}
        self.ends: dict[str, dict[int, int]] = {}
        self.then: dict[str, dict[int, int]] = {}
        self.answer = True
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.asked: list[frozenset[str]] = []
        self.times: list[int] = []

    async def bounds(self, topics: Iterable[str]) -> dict[str, Bounds]:
        self.asked.append(frozenset(topics))
        await self._answer()
        return {topic: self._bounds(topic) for topic in topics}

    async def since(self, topics: Iterable[str], ms: int) -> Cursor:
        self.times.append(ms)
        await self._answer()
        logs = self._hub.logs
        return {
            topic: Place(logs[topic].identity, self.then.get(topic, logs[topic].next))
            for topic in topics
        }

    async def _answer(self) -> None:
        await self.may_answer.wait()
        if not self.answer:
            raise TimeoutError("no broker answers")

    def _bounds(self, topic: str) -> Bounds:
        log = self._hub.logs[topic]
        start = {**self._begun[topic], **self.starts.get(topic, {})}
        end = {**log.next, **self.ends.get(topic, {})}
        return Bounds(log.identity, start, end, start)


class Upstream:
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
        self.is_ready = True
        self.stale_for: float | None = None
        self.hub, self.wait_seconds = hub, wait_seconds
        self.brokers = Brokers(hub)
        self.replayer = Replayer(
            catch_up,
            cast("Any", self.brokers),
            cast("Source", None),  # there is nothing below the journal
            Rules(passes=2, wait_seconds=wait_seconds),
            flush=flush,
            overloaded=overloaded,
        )

    def ready(self) -> bool:
        return self.is_ready

    def stale(self) -> float | None:
        return self.stale_for

    def replay(self, session: Session) -> None:
        self.replayer.add(session)

    async def awake(self, topics: Collection[str]) -> bool:
        """Wait for what a test wakes by `hub.begin`."""
        try:
            async with asyncio.timeout(self.wait_seconds):
                while self.hub.demand.asleep(topics):  # noqa: ASYNC110 - it has no event
                    await asyncio.sleep(0.005)
        except TimeoutError:
            return False
        return True

    def since(self, topics: Collection[str], ms: int) -> Awaitable[Cursor | None]:
        return self.replayer.since(topics, ms)


class NoKafka:
    """For what asks Kafka nothing."""

    def ready(self) -> bool:
        return True

    def stale(self) -> None:
        return None

    def replay(self, session: Session) -> None:
        raise AssertionError(f"nobody was expected to come back: {session.id}")

    async def awake(self, topics: Collection[str]) -> bool:
        raise AssertionError(f"nobody was expected to wait: {topics}")

    def since(self, topics: Collection[str], ms: int) -> Awaitable[Cursor | None]:
        raise AssertionError(f"nobody was expected to ask: {topics} {ms}")

    def figures(self) -> Iterable[Figure]:
        return [Figure("lag", "Records that have not been read.", {"orders": 0}, "topic")]
