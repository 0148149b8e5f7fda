"""How far back Kafka's logs reach, and which place a time is.

Rule: of each topic the answer is whole or there is none, so that one partition without a leader
keeps nobody waiting for other topics; what is not known now is asked again.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from bridge.core.protocol.cursor import IDENTITY_BYTES, Cursor, Place
from bridge.core.replay.retention import NOWHERE, Bounds
from bridge.kafka.client.client import EARLIEST, LATEST, Partition

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from bridge.kafka.client.client import Cluster, Description


class Horizon:
    """Asks the brokers about the topics `names`, public ones mapped to Kafka's."""

    def __init__(
        self,
        cluster: Cluster,
        names: Mapping[str, str],
        *,
        max_age_seconds: float,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`wall` tells the seconds since 1970, which records' timestamps are of."""
        self._cluster = cluster
        self._names = names
        self._max_age = max_age_seconds
        self._wall = wall

    async def bounds(self, topics: Iterable[str], *, grace: float = 0) -> dict[str, Bounds]:
        """Return where the logs of these topics begin and end, of those that Kafka tells now.

        What may be replayed may be older by `grace` seconds.

        Raises:
            One of `OUT_OF_REACH`.
        """
        found = await self._describe(topics)
        leaders = _leaders(found)
        starts, ends = await self._at(leaders, EARLIEST), await self._at(leaders, LATEST)
        young, first = await self._at(leaders, self._oldest_ms(grace)), await self._at(leaders, 0)
        told = starts.keys() & ends.keys() & young.keys() & first.keys()
        # Below the first record of all is nothing, so nothing that is too old.
        aged = {p: starts[p] if young[p] == first[p] else young[p] for p in told}
        bounds: dict[str, Bounds] = {}
        for topic in topics:
            kafka = self._names[topic]
            partitions = [partition for partition in leaders if partition.topic == kafka]
            if kafka not in found:
                bounds[topic] = NOWHERE
            elif told.issuperset(partitions):
                bounds[topic] = Bounds(
                    _identity(found[kafka]),
                    {p.number: starts[p] for p in partitions},
                    {p.number: ends[p] for p in partitions},
                    {p.number: aged[p] if aged[p] >= 0 else ends[p] for p in partitions},
                )
        return bounds

    async def since(self, topics: Iterable[str], ms: int) -> Cursor:
        """Return the cursor of these topics at a time, in milliseconds since 1970.

        Where that is before what may be replayed, it is the beginning of that.

        Raises:
            One of `OUT_OF_REACH`; also where Kafka does not tell all of them.
        """
        found = await self._describe(topics)
        leaders = _leaders(found)
        # The ends first: else what is written between the two answers would be passed over.
        ends = await self._at(leaders, LATEST)
        at = await self._at(leaders, max(ms, self._oldest_ms()))
        if not leaders.keys() <= ends.keys() & at.keys():
            raise TimeoutError("some partitions have no leader now")
        cursor: Cursor = {}
        for topic in topics:
            if description := found.get(self._names[topic]):
                places = {
                    p.number: at[p] if at[p] >= 0 else ends[p]
                    for p in leaders
                    if p.topic == self._names[topic]
                }
                cursor[topic] = Place(_identity(description), places)
        return cursor

    def _oldest_ms(self, grace: float = 0) -> int:
        # Where nothing may be replayed there is nothing to be graceful about.
        return int((self._wall() - self._max_age - min(grace, self._max_age)) * 1000)

    async def _describe(self, topics: Iterable[str]) -> dict[str, Description]:
        return await self._cluster.describe({self._names[topic] for topic in topics})

    async def _at(self, leaders: Mapping[Partition, int], timestamp: int) -> dict[Partition, int]:
        return await self._cluster.offsets(dict.fromkeys(leaders, timestamp), leaders)


def _leaders(found: Mapping[str, Description]) -> dict[Partition, int]:
    return {
        Partition(topic, number): leader
        for topic, description in found.items()
        for number, leader in description.leaders.items()
    }


def _identity(description: Description) -> bytes:
    return b"" if description.id is None else description.id.bytes[:IDENTITY_BYTES]
