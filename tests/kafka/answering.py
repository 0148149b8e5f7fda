"""A broker in memory whose answers a test holds up, or changes on their way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.kafka.client.client import Fetched, Lane
from tests.kafka.memory import MemoryCluster
from tests.kafka.pacing import Paced, until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bridge.kafka.client.client import Partition


class AnsweringKafka(Paced, MemoryCluster):
    """Topics `t` and `u`, of one partition each; a fetch of a replay brings some 100 records."""

    def __init__(self) -> None:
        super().__init__()
        self.create("t")
        self.create("u")
        self.most_bytes = 1 << 13
        self.holding: set[int] = set()  #: no question of these times is answered
        self.asking = 0
        self.asking_most = 0
        self.on_answer: Callable[[list[Fetched]], list[Fetched]] = lambda answers: answers

    async def fetch(self, *arguments: Any, **more: Any) -> list[Fetched]:
        answers: list[Fetched] = await super().fetch(*arguments, **more)
        return self.on_answer(answers) if more.get("lane") is Lane.REPLAY else answers

    async def offsets(
        self, at: Mapping[Partition, int], leaders: Mapping[Partition, int]
    ) -> dict[Partition, int]:
        self.asking += 1
        self.asking_most = max(self.asking_most, self.asking)
        try:
            found = await super().offsets(at, leaders)
            await until(lambda: self.holding.isdisjoint(at.values()))
            return found
        finally:
            self.asking -= 1
