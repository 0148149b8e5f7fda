"""Clusters whose answers to replays a test holds up, and how it looks at what comes of it."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from typing import TYPE_CHECKING, Any

from bridge.kafka.client.client import BrokerConnection, KafkaClient

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Mapping

    from bridge.core.sessions.session import Session
    from bridge.kafka.client.client import FetchedPartition, TopicPartition
    from bridge.kafka.replay.scheduler import ReplayScheduler

TIMEOUT_SECONDS = 60.0


async def wait_until(condition: Callable[[], object]) -> None:
    """Wait for what has no event of its own."""
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.002)


def session_counts(scheduler: ReplayScheduler) -> Counter[Session]:
    """In how many places each session is looked after, for what is checked at every step."""
    return Counter(
        itertools.chain(
            scheduler._runnable,
            scheduler._blocked,
            scheduler._admission.waiting,
            scheduler._awaiting_scan,
            *(scan.sessions for scan in scheduler._scans),
        )
    )


def session_stages(scheduler: ReplayScheduler, session: Session) -> list[str]:
    """Wherever `session` is looked after: it must be one place."""
    found = ["turn"] * scheduler._runnable.count(session)
    found += ["reading"] * (session in scheduler._blocked)
    found += ["unjudged"] * (session in scheduler._admission.waiting)
    found += ["waiting"] * (session in scheduler._awaiting_scan)
    found += ["pass"] * sum(session in scan.sessions for scan in scheduler._scans)
    return found


class HeldReplayClient(KafkaClient):
    """A cluster whose replays a test holds up; `fetched` has the places that they asked for."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.fetched_offsets: list[Mapping[TopicPartition, int]] = []
        self.fetch_max_bytes = 1 << 30
        self.max_concurrent_fetches = 0  #: the most fetches that were under way together
        self._concurrent_fetches = 0
        self._is_held: Callable[[Mapping[TopicPartition, int]], object] = lambda _: False

    def hold_fetches(
        self, is_held: Callable[[Mapping[TopicPartition, int]], object] = lambda _: True
    ) -> None:
        """Let no fetch of a replay be answered of which this is true."""
        self._is_held = is_held

    def release(self) -> None:
        self.hold_fetches(lambda _: False)

    async def wait_until_held(self) -> None:
        """Wait until a replay is held up."""
        await wait_until(lambda: self.fetched_offsets and self._is_held(self.fetched_offsets[-1]))

    async def fetch(
        self,
        node: int,
        offsets: Mapping[TopicPartition, int],
        topic_ids: Mapping[str, uuid.UUID | None],
        *,
        max_bytes: int,
        wait_ms: int | None = None,
        connection: BrokerConnection = BrokerConnection.CONSUMER,
        **options: Any,
    ) -> list[FetchedPartition]:
        if connection is not BrokerConnection.REPLAY:
            return await super().fetch(
                node, offsets, topic_ids, max_bytes=max_bytes, wait_ms=wait_ms, **options
            )
        offsets = dict(offsets)
        self.fetched_offsets.append(offsets)
        self._concurrent_fetches += 1
        self.max_concurrent_fetches = max(self.max_concurrent_fetches, self._concurrent_fetches)
        try:
            await wait_until(lambda: not self._is_held(offsets))
            return await super().fetch(
                node,
                offsets,
                topic_ids,
                max_bytes=min(max_bytes, self.fetch_max_bytes),
                wait_ms=wait_ms,
                connection=connection,
                **options,
            )
        finally:
            self._concurrent_fetches -= 1
