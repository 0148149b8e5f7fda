"""One instance's part on duty, on a real Kafka: its feed of the state topic, and its steward.

The rule kept here: what it knows of others is what its own feed has read.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import TYPE_CHECKING, Any

from bridge.coordination.dead_letters import Letter, Letters
from bridge.coordination.leader_tasks import Steward
from bridge.coordination.topics import Own, create
from bridge.core.coordination import state_records
from bridge.core.coordination.presence import Census
from bridge.kafka.client.client import OUT_OF_REACH, Cluster, Lane, Partition
from bridge.kafka.consumer import Feed
from tests.harness.admin import Record, fresh_name, produce
from tests.kafka.pacing import until
from tests.kafka.reading import records
from tests.kafka.tape import plain

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from bridge.core.coordination.state_records import Fact
    from bridge.core.protocol.envelope import Batch
    from bridge.kafka.client.client import Access


class HeldCluster(Cluster):
    """One whose feed reads nothing while it is held."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.free = asyncio.Event()
        self.free.set()

    async def fetch(self, *arguments: Any, lane: Lane = Lane.FEED, **more: Any) -> Any:
        answer = await super().fetch(*arguments, lane=lane, **more)
        await self.free.wait()
        return answer


class Deputy:
    """An instance that keeps the census and letters, and may be on duty."""

    def __init__(self, access: Access, own: Own, *topics: str, letters_per_second: int) -> None:
        self.own = own
        self.cluster = HeldCluster(access)
        self.census = Census()
        self.letters = Letters()
        self.asked = 0  #: how often it was asked how far the state was read
        self.is_current = True
        names = {topic: [topic] for topic in (own.state, *topics)}
        group = fresh_name("group")
        self.feed = Feed(self.cluster, group, names, self, whole=(own.state,))
        self.steward = Steward(
            access,
            self.cluster,
            own,
            self.census,
            self.letters,
            letters_per_second=letters_per_second,
            current=lambda: self.is_current,
            feed=self,
        )

    # -- what the steward asks ------------------------------------------------------------------

    def leader(self, partition: Partition) -> int:
        return self.feed.partitions.leader(partition)

    def position(self, partition: Partition) -> int:
        self.asked += 1
        return self.feed.partitions.position(partition)

    # -- what the feed says ---------------------------------------------------------------------

    def begin(self, topic: str, identity: bytes, offsets: Mapping[int, int]) -> None:
        pass

    def skip(self, topic: str, reason: str, offsets: Mapping[int, int]) -> None:
        raise AssertionError((topic, reason, offsets))

    def sleep(self, topic: str, identity: bytes) -> None:
        raise AssertionError((topic, identity))

    async def deliver(self, batches: Sequence[Batch]) -> None:
        for batch in batches:
            for record in batch.records if batch.topic == self.own.state else ():
                fact = state_records.read(record)
                if isinstance(fact, state_records.Folded):
                    self.steward.folded(fact.offset)
                self.census.load(fact, time.monotonic())


@contextlib.asynccontextmanager
async def listening(
    at: str | Access, own: Own, *topics: str, letters_per_second: int = 1000
) -> AsyncIterator[Deputy]:
    """A deputy that reads, and is not on duty; the bridge's own topics are there."""
    access = plain(at) if isinstance(at, str) else at
    it = Deputy(access, own, *topics, letters_per_second=letters_per_second)
    await it.cluster.connect()
    await create(it.cluster, access, own)
    task = asyncio.create_task(it.feed.run())
    try:
        async with asyncio.timeout(60):
            await it.feed.ready.wait()
        yield it
    finally:
        it.cluster.free.set()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, *OUT_OF_REACH):
            await task
        await it.cluster.close()


@contextlib.asynccontextmanager
async def on_duty(it: Deputy) -> AsyncIterator[asyncio.Task[None]]:
    """Let it be on duty."""
    task = asyncio.create_task(it.steward.run())
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def dead(topic: str, offset: int, value: bytes | None = b"?", key: bytes | None = b"key") -> Letter:
    headers: list[tuple[str, bytes | None]] = [("x", None), ("dead-reason", b"bad_id")]
    return Letter(Partition(topic, 0), offset, key, value, headers)


async def say(bootstrap: str, own: Own, *facts: Fact) -> None:
    """Write facts, as instances do."""
    told = [
        Record(state_records.write(fact), state_records.key(fact), partition=0) for fact in facts
    ]
    await produce(bootstrap, own.state, told)


async def told(bootstrap: str, own: Own) -> list[str]:
    """What backends were told: `disconnected c1`, `occupied hall`."""
    found = [json.loads(it.value) for it in await records(bootstrap, own.lifecycle)]
    words = ("connection", "room", "topic")
    return [
        f"{it['type']} {next(it['data'][word] for word in words if word in it['data'])}"
        for it in found
    ]


async def buried(bootstrap: str, own: Own) -> list[bytes | None]:
    """The values of the dead letters."""
    return [it.value for it in await records(bootstrap, own.dead_letters)]


async def idle(it: Deputy) -> None:
    """Wait until it has done what there was, and read it back."""
    rounds = 0
    due = it.census.due

    def counted(now: float) -> Any:
        nonlocal rounds
        findings = due(now)
        rest = any(findings) or it.steward._lasting or it.letters.next(1) or it.census._awaited
        rounds = 0 if rest else rounds + 1
        return findings

    it.census.due = counted  # type: ignore[method-assign]
    try:
        await until(lambda: rounds >= 3)
    finally:
        it.census.due = due  # type: ignore[method-assign]
