"""A Kafka of two topics that a test holds up where it likes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.kafka.cluster import Partition
from tests.kafka.memory import MemoryCluster
from tests.kafka.written import Paced, until

if TYPE_CHECKING:
    from collections.abc import Mapping


T, U = Partition("t", 0), Partition("u", 0)
NOT_THE_LEADER = 6


class Kafka(Paced, MemoryCluster):
    """Topics `t` and `u`, of one partition each; a fetch of a replay brings some 100 records."""

    def __init__(self) -> None:
        super().__init__()
        self.create("t")
        self.create("u")
        self.most_bytes = 1 << 13
        self.holding: set[int] = set()  #: no question of these times is answered
        self.asking = 0
        self.asking_most = 0

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
