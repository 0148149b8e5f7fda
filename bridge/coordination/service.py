"""One instance's part among all instances: what it says, what it is told, what it does for all.

Rule: it is built here and joined to nothing but the hub and Kafka; `app` starts and ends it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from bridge.coordination.commands import Office, Orders
from bridge.coordination.leader import Duties
from bridge.coordination.leader_tasks import Steward
from bridge.coordination.presence import Herald
from bridge.coordination.state_writer import Scribe
from bridge.coordination.topics import create
from bridge.core.coordination.directory import Directory
from bridge.core.coordination.membership import Backend, Members
from bridge.core.coordination.presence import Census
from bridge.kafka.client.client import LATEST, OUT_OF_REACH, Partition

if TYPE_CHECKING:
    from bridge.coordination.commands import Means
    from bridge.coordination.dead_letters import Letters
    from bridge.coordination.topics import Own
    from bridge.core.sessions.hub import Hub
    from bridge.kafka.client.client import Access, Cluster
    from bridge.kafka.consumer import Feed

_log = logging.getLogger(__name__)

_RETRY_SECONDS = 1.0


class Staff:
    """The parts that deal with the bridge's own topics."""

    def __init__(
        self,
        own: Own,
        hub: Hub,
        access: Access,
        feed: Feed,
        cluster: Cluster,
        letters: Letters,
        means: Means,
        *,
        letters_per_second: int,
    ) -> None:
        self._access = access
        self._cluster = cluster
        self.own = own
        self.members = Members()
        self.census = Census()
        self.backend = Backend(hub, self.members)
        self.scribe = Scribe(access)
        self.herald = Herald(hub, self.scribe, self.own, ready=feed.ready.is_set)
        self.steward = Steward(
            access,
            cluster,
            self.own,
            self.census,
            letters,
            letters_per_second=letters_per_second,
            current=self.herald.current,
            feed=feed.partitions,
        )
        self.orders = Orders(access, self.own.control)
        self.directory = Directory(hub, self.census.roster, self.members)
        self.duties = Duties(access, self.own, self.steward)
        self.office = Office(self.own, self.backend, self.census, self.herald, self.steward, means)

    def minds(self, topic: str) -> bool:
        """Whether this instance is on duty for `topic`, which somebody follows somewhere."""
        return self.duties.on_duty and ("topic", topic) in self.census.roster.by_place

    async def prepare(self) -> None:
        """See to it that the bridge's own topics are there, however long that takes.

        Cancellation: safe.
        """
        await create(self._cluster, self._access, self.own)
        control = self.own.control
        while True:
            with contextlib.suppress(*OUT_OF_REACH):
                found = (await self._cluster.describe([control])).get(control)
                if found is not None:
                    leaders = {Partition(control, n): node for n, node in found.leaders.items()}
                    ends = await self._cluster.offsets(dict.fromkeys(leaders, LATEST), leaders)
                    if len(ends) == len(leaders):
                        self.office.live_from({p.number: offset for p, offset in ends.items()})
                        return
            await asyncio.sleep(_RETRY_SECONDS)

    async def run(self) -> None:
        """Say who is here, and do the duties, until cancelled; everything of Kafka was read once.

        Cancellation: what is to be said of the end has some seconds to be written.
        """
        self.members.settle()
        writing = asyncio.create_task(self.scribe.run(), name="scribe")
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.herald.run(), name="herald")
                tasks.create_task(self.duties.run(), name="duties")
                tasks.create_task(self.steward.look(), name="steward")
                await asyncio.shield(writing)  # it outlives all of them, or something is wrong
        finally:
            writing.cancel()
            await asyncio.wait([writing])
