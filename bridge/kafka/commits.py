"""How far an instance has read, written into its own consumer group.

Rule: commits are for Kafka's tools, which show the lag by them; nobody reads them back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from bridge.kafka.client.client import OUT_OF_REACH

if TYPE_CHECKING:
    from bridge.kafka.client.client import Cluster
    from bridge.kafka.partitions import Partitions

_log = logging.getLogger(__name__)

COMMIT_SECONDS = 1.0
_LAST_COMMIT_SECONDS = 3.0


class Commits:
    """Commits the positions of `partitions` into `group`."""

    def __init__(self, cluster: Cluster, group: str, partitions: Partitions) -> None:
        self._cluster = cluster
        self._group = group
        self._partitions = partitions

    async def run(self) -> None:
        """Commit every second, until cancelled."""
        while True:
            await asyncio.sleep(COMMIT_SECONDS)
            await self._commit()

    async def last(self) -> None:
        """Commit once more, if Kafka takes it soon."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_COMMIT_SECONDS):
                await self._commit()

    async def _commit(self) -> None:
        offsets = self._partitions.uncommitted()
        if not offsets:
            return
        try:
            await self._cluster.commit(self._group, offsets)
        except OUT_OF_REACH as error:
            _log.debug("not committed: %r", error)
        else:
            self._partitions.committed(offsets)
