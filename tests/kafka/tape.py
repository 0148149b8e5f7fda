"""A feed that runs, and the sink that writes down what it is told."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from bridge.kafka.client.client import OUT_OF_REACH, Access, Cluster
from bridge.kafka.consumer import Feed
from tests.harness.admin import fresh_name

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence

    from bridge.core.protocol.envelope import Batch
    from bridge.kafka.client.client import Description

PATIENCE = 90.0


class Begun(NamedTuple):
    """The feed said `begin`."""

    topic: str
    identity: bytes
    offsets: dict[int, int]


class Skipped(NamedTuple):
    """The feed said `skip`."""

    topic: str
    reason: str
    offsets: dict[int, int]


class Got(NamedTuple):
    """The feed delivered this record."""

    topic: str
    partition: int
    offset: int
    value: bytes | None


class Tape:
    """A sink. `said` is everything in its order; while it is held, `deliver` does not return."""

    def __init__(self) -> None:
        self.said: list[Begun | Skipped | Got] = []
        self.next: dict[tuple[str, int], int] = {}
        self._changed = asyncio.Event()
        self._free = asyncio.Event()
        self._free.set()

    def begin(self, topic: str, identity: bytes, offsets: Mapping[int, int]) -> None:
        self._say(Begun(topic, identity, dict(offsets)))

    def skip(self, topic: str, reason: str, offsets: Mapping[int, int]) -> None:
        self._say(Skipped(topic, reason, dict(offsets)))

    def sleep(self, topic: str, identity: bytes) -> None:
        raise AssertionError(f"{topic} is not read on demand: {identity!r}")

    async def deliver(self, batches: Sequence[Batch]) -> None:
        for batch in batches:
            for record in batch.records:
                self._say(Got(batch.topic, batch.partition, record.offset, record.value))
            self.next[batch.topic, batch.partition] = batch.next
        self._changed.set()
        await self._free.wait()

    def hold(self) -> None:
        self._free.clear()

    def let_go(self) -> None:
        self._free.set()

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for `condition` of what is said; fail with all of it where it does not come."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"waited in vain; it was said: {self.said}") from None

    async def until_got(self, count: int) -> None:
        await self.until(lambda: len(self.got()) >= count)

    def got(self) -> list[Got]:
        return [each for each in self.said if isinstance(each, Got)]

    def begun(self) -> list[Begun]:
        return [each for each in self.said if isinstance(each, Begun)]

    def skipped(self) -> list[Skipped]:
        return [each for each in self.said if isinstance(each, Skipped)]

    def values(self) -> list[bytes | None]:
        return [each.value for each in self.got()]

    def places(self) -> dict[int, list[int]]:
        """The offsets that came, by partition, in the order in which they came."""
        places: dict[int, list[int]] = defaultdict(list)
        for each in self.got():
            places[each.partition].append(each.offset)
        return dict(places)

    def lives(self) -> dict[bytes, dict[int, int]]:
        """Where each partition was begun, by the topic's identity, oldest first.

        Leaders of a young topic may answer one after the other: one life, begun in several steps.
        """
        lives: dict[bytes, dict[int, int]] = {}
        for each in self.begun():
            begun = lives.setdefault(each.identity, {})
            assert not begun.keys() & each.offsets.keys(), f"begun twice: {self.begun()}"
            begun.update(each.offsets)
        return lives

    def _say(self, it: Begun | Skipped | Got) -> None:
        self.said.append(it)
        self._changed.set()


class BlinkingCluster(Cluster):
    """A cluster whose topics are not looked at while its eyes are shut.

    Readers go on meanwhile: so a topic can live several lives between two looks.
    """

    def __init__(self, access: Access) -> None:
        super().__init__(access)
        self._open = asyncio.Event()
        self._open.set()
        self._begun = self._ended = 0
        self._looked = asyncio.Event()

    async def shut_eyes(self) -> None:
        """Return once no look is on its way."""
        self._open.clear()
        await self._until_ended(self._begun)

    def open_eyes(self) -> None:
        self._open.set()

    async def look(self) -> None:
        """Return once the topics were looked at anew."""
        await self._until_ended(self._begun + 1)

    async def _until_ended(self, looks: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while self._ended < looks:
                self._looked.clear()
                await self._looked.wait()

    async def describe(self, topics: Iterable[str]) -> dict[str, Description]:
        await self._open.wait()
        self._begun += 1
        try:
            return await super().describe(topics)
        finally:
            self._ended += 1
            self._looked.set()


class Followed(NamedTuple):
    """A feed that is ready, and what it is made of."""

    feed: Feed
    tape: Tape
    cluster: BlinkingCluster
    group: str


def plain(bootstrap: str) -> Access:
    return Access(bootstrap, {"client_id": "test"})


@contextlib.asynccontextmanager
async def following(
    access: Access, *topics: str, group: str | None = None
) -> AsyncIterator[Followed]:
    """Run a feed of `topics`, under their own names, as an instance would."""
    cluster, tape = BlinkingCluster(access), Tape()
    group = group or fresh_name("group")
    feed = Feed(cluster, group, {topic: [topic] for topic in topics}, tape)
    await cluster.connect()
    task = asyncio.create_task(feed.run())
    try:
        async with asyncio.timeout(PATIENCE):
            await feed.ready.wait()
        yield Followed(feed, tape, cluster, group)
        assert feed.failures == 0, "reading failed, and was begun anew"
        assert not task.done(), "the feed has ended"
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, *OUT_OF_REACH):
            await task
        await cluster.close()
