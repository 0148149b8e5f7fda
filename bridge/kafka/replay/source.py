"""What is read again is read from here: the brokers, and what the feed knows of them.

Rule: whatever was read, to replay it or to show it, is counted once, here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Mapping, Sequence

    from bridge.core.protocol.router import Batch, Routed
    from bridge.kafka.client.client import Cluster, Partition


class Source:
    """What passes read from: the brokers, and what the feed knows of them. Counts what it costs."""

    def __init__(
        self,
        cluster: Cluster,
        names: Mapping[str, Sequence[str]],
        ids: Mapping[str, uuid.UUID | None],
        leader: Callable[[Partition], int],
        route: Callable[[Batch], Routed],
    ) -> None:
        """`names` maps Kafka's topics to the public ones; `ids` and `leader` are the feed's."""
        self.cluster = cluster
        self.names = names
        self.ids = ids
        self.leader = leader
        self.route = route
        self.records = self.bytes = self.passes = 0
        self._compacted: set[str] = set()
        self.kafka = {name: topic for topic, public in names.items() for name in public}

    async def has_holes(self, topic: str) -> bool:
        """Whether offsets may be missing between two batches of Kafka's `topic`.

        Raises:
            One of `OUT_OF_REACH`.
        """
        if topic not in self._compacted and await self.cluster.compacts(topic):
            self._compacted.add(topic)
        return topic in self._compacted
