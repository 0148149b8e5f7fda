"""What the tests of those who return write and wait for, and a Kafka that may be slow."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from bridge.kafka.cluster import Cluster, Lane

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bridge.kafka.cluster import Partition


PATIENCE = 60.0


def envelope(n: int = 0, *, to: str | None = None, size: int = 0) -> bytes:
    """An event for the account `to`, or for all."""
    audience = {"all": True} if to is None else {"accounts": [to]}
    return json.dumps({**audience, "data": f"{n}{'.' * size}"}).encode()


def envelopes(count: int, start: int = 0, **more: Any) -> list[bytes]:
    return [envelope(n, **more) for n in range(start, start + count)]


async def until(condition: Callable[[], object]) -> None:
    """Wait for what has no event of its own."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.002)


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

    async def fetch(self, node, wanted, ids, *, max_bytes, wait_ms=None, lane=Lane.FEED):
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
