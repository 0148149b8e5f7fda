"""Clusters whose answers to replays a test holds up, and how it looks at what comes of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from bridge.kafka.client.client import Cluster, Lane

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Mapping

    from bridge.core.sessions.session import Session
    from bridge.kafka.client.client import Fetched, Partition
    from bridge.kafka.replay.scheduler import Replayer

PATIENCE = 60.0


async def until(condition: Callable[[], object]) -> None:
    """Wait for what has no event of its own."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.002)


def places(of: Replayer, session: Session) -> list[str]:
    """Wherever `session` is looked after: it must be one place."""
    found = ["turn"] * of._turns.count(session)
    found += ["reading"] * (session in of._reading)
    found += ["unjudged"] * (session in of._court.waiting)
    found += ["waiting"] * (session in of._waiting)
    found += ["pass"] * sum(session in journey.sessions for journey in of._passes)
    return found


class Paced(Cluster):
    """A cluster whose replays a test holds up; `fetched` has the places that they asked for."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.fetched: list[Mapping[Partition, int]] = []
        self.most_bytes = 1 << 30
        self.at_a_time = 0  #: the most fetches that were under way together
        self._fetching = 0
        self._held: Callable[[Mapping[Partition, int]], object] = lambda _: False

    def hold(self, held: Callable[[Mapping[Partition, int]], object] = lambda _: True) -> None:
        """Let no fetch of a replay be answered of which this is true."""
        self._held = held

    def let_go(self) -> None:
        self.hold(lambda _: False)

    async def until_held(self) -> None:
        """Wait until a replay is held up."""
        await until(lambda: self.fetched and self._held(self.fetched[-1]))

    async def fetch(
        self,
        node: int,
        wanted: Mapping[Partition, int],
        ids: Mapping[str, uuid.UUID | None],
        *,
        max_bytes: int,
        wait_ms: int | None = None,
        lane: Lane = Lane.FEED,
    ) -> list[Fetched]:
        if lane is not Lane.REPLAY:
            return await super().fetch(node, wanted, ids, max_bytes=max_bytes, wait_ms=wait_ms)
        wanted = dict(wanted)
        self.fetched.append(wanted)
        self._fetching += 1
        self.at_a_time = max(self.at_a_time, self._fetching)
        try:
            await until(lambda: not self._held(wanted))
            return await super().fetch(
                node,
                wanted,
                ids,
                max_bytes=min(max_bytes, self.most_bytes),
                wait_ms=wait_ms,
                lane=lane,
            )
        finally:
            self._fetching -= 1
