"""The feed: has every partition of the topics read, for as long as the instance runs.

Rules: no outage ends it, however long and from the first second on; no record or batch stops
the ones behind it; and what can not be read is told, never passed over in silence.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING

from bridge.core.protocol.cursor import IDENTITY_BYTES
from bridge.kafka.client.client import EARLIEST, LATEST, OUT_OF_REACH, Partition
from bridge.kafka.fetcher import Reader, Trouble
from bridge.kafka.on_demand import Sleepers
from bridge.kafka.partitions import Partitions

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Collection, Mapping, Sequence

    from bridge.kafka.client.client import Cluster
    from bridge.kafka.fetcher import Sink

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


WATCH_SECONDS = 2.0
_PAUSE = 0.2
#: So long the first who wakes a topic waits for others.
_GATHER = 0.02


class Feed:
    """Reads `topics`, Kafka's names mapped to the public ones, and tells `sink`.

    Its commits into `group` are for Kafka's tools; they are never read back. It reads the last
    `warm_seconds` of what exists at the start before it is ready; of the topics that are `whole`,
    everything; of the `sleepers` only what happens while somebody follows them.
    """

    def __init__(
        self,
        cluster: Cluster,
        group: str,
        topics: Mapping[str, Sequence[str]],
        sink: Sink,
        *,
        warm_seconds: float = 0,
        whole: Collection[str] = (),
        sleepers: Sleepers | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._cluster = cluster
        self._names = topics
        self._sink = sink
        self.sleepers = sleepers or Sleepers({}, {}, bool, wait_seconds=0)
        self.sleepers.look = self.look
        self.partitions = Partitions(topics, self.sleepers.asleep)
        self._commits = Commits(cluster, group, self.partitions)
        self._warm_seconds = warm_seconds
        self._whole = frozenset(whole)
        self._wall = wall
        self._wake = asyncio.Event()
        self._readers: dict[int, asyncio.Task[None]] = {}
        self._reached: float | None = None
        self._failing = False
        self._begun: dict[str, uuid.UUID | None] = {}
        self._reader = Reader(
            cluster,
            self.partitions,
            topics,
            sink,
            Trouble(cluster, topics, sink, self._wake),
            reached=self._succeeded,
            lost=self.look,
            took=self._look_whether_ready,
        )
        self.ready = asyncio.Event()
        self.outages = 0
        self.reconnects = 0  #: how often the bootstrap servers were asked again

    def stale(self) -> float | None:
        """Seconds since Kafka was last reached; None while it is."""
        if not self._failing or self._reached is None:
            return None
        return round(asyncio.get_running_loop().time() - self._reached, 3)

    def lag(self) -> dict[str, int]:
        """Return the records that Kafka has and that are still to be read, by public topic."""
        lag = {topic: 0 for topics in self._names.values() for topic in topics}
        for partition, reading in self.partitions.readings.items():
            for topic in self._names[partition.topic]:
                lag[topic] += max(0, reading.end - reading.offset)
        return lag

    @property
    def failures(self) -> int:
        """Bugs of ours that reading met, and went on."""
        return self._reader.failures

    @property
    def ids(self) -> Mapping[str, uuid.UUID | None]:
        """The ids of the topics as the sink knows them, by Kafka's names."""
        return self._begun

    def look(self) -> None:
        """Look soon which topics, partitions and leaders there are."""
        self._wake.set()

    async def run(self) -> None:
        """Read until cancelled.

        Cancellation: safe. The last positions are committed if Kafka takes them soon.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._watch(tasks), name="feed: watch")
                tasks.create_task(self._commits.run(), name="feed: commit")
        finally:
            await self._commits.last()

    # -- which partitions there are --------------------------------------------------------------

    async def _watch(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            self._wake.clear()
            self._put_to_sleep()
            try:
                await self._look()
            except OUT_OF_REACH as error:
                self._failed(error)
                await self._reconnect()
            for node in self.partitions.leaders():
                if node not in self._readers or self._readers[node].done():
                    self._readers[node] = tasks.create_task(
                        self._reader.read(node), name=f"feed: {node}"
                    )
            try:
                async with asyncio.timeout(WATCH_SECONDS):
                    await self._wake.wait()
                # Many may call for one look.
                await asyncio.sleep(_GATHER if self.sleepers.wanted() else _PAUSE)
            except TimeoutError:
                pass

    def _put_to_sleep(self) -> None:
        for topic in self.sleepers.tired(asyncio.get_running_loop().time()):
            _log.info("reading %s no more: nobody follows it", topic)
            self.partitions.drop(topic)
            self.sleepers.sleep(topic)
            self._say_asleep(topic)

    def _say_asleep(self, topic: str) -> None:
        for name in self._names[topic]:
            self._sink.sleep(name, _identity(self._begun.get(topic)))

    async def _look(self) -> None:
        waking = self.sleepers.wanted()
        found = await self._cluster.describe(self.partitions.topics)
        self._succeeded()
        # A broker may not have heard of a topic that was there a moment ago.
        waking = {t for t in waking if t in found or not self.partitions.is_known(t)}
        new = set(self.partitions.recreated(found))
        asked = self.partitions.follow(found, waking)
        leaders = {
            Partition(topic, number): leader
            for topic, description in found.items()
            for number, leader in description.leaders.items()
        }
        ends = await self._cluster.offsets(asked, leaders) if asked else {}
        # Of a partition that began later than its topic woke, something would be missed.
        woken = {t for t in waking if all(p in ends for p in asked if p.topic == t)}
        ends = {p: end for p, end in ends.items() if p.topic not in waking - woken}
        late = {p for p, at in asked.items() if at == LATEST and p.topic not in waking}
        answers = await self._warmed(ends, late, leaders)
        for topic in self.sleepers.asleep & found.keys():
            if topic not in self._begun or self._begun[topic] != found[topic].id:
                self._begun[topic] = found[topic].id
                self._say_asleep(topic)
        new -= self.sleepers.asleep
        for topic in [*found, *(woken - found.keys())]:
            begun = {p.number: offset for p, offset in answers.items() if p.topic == topic}
            if begun or topic in new | woken:
                if topic in found:
                    self._begun[topic] = found[topic].id
                for name in self._names[topic]:
                    self._sink.begin(name, _identity(self._begun.get(topic)), begun)
        for partition, offset in answers.items():
            _log.info("reading %s:%d from offset %d", *partition, offset)
            self.partitions.begin(partition, offset, leaders[partition], ends[partition])
        self.sleepers.wake(woken)
        self._look_whether_ready()

    def _look_whether_ready(self) -> None:
        if not self.ready.is_set() and self.partitions.complete:
            self.ready.set()

    async def _warmed(
        self, ends: dict[Partition, int], late: set[Partition], leaders: Mapping[Partition, int]
    ) -> dict[Partition, int]:
        """Return where to begin instead, so that the last seconds of `late` are read again."""
        asked = late & ends.keys()
        ms = int((self._wall() - self._warm_seconds) * 1000)
        since = {p: EARLIEST if p.topic in self._whole else ms for p in asked}
        wanted = since if self._warm_seconds else {p: at for p, at in since.items() if at != ms}
        began = await self._cluster.offsets(wanted, leaders) if wanted else {}
        return ends | {p: offset for p, offset in began.items() if 0 <= offset < ends[p]}

    async def _reconnect(self) -> None:
        self.reconnects += 1
        # The brokers that were known may be gone for good: ask the bootstrap servers again.
        try:
            await self._cluster.connect()
        except OUT_OF_REACH as error:
            _log.debug("no bootstrap server answers: %s", error)

    def _succeeded(self) -> None:
        if self._failing:
            _log.warning("Kafka is back after %.1f s", self.stale() or 0)
        self._failing = False
        self._reached = asyncio.get_running_loop().time()

    def _failed(self, error: BaseException) -> None:
        if not self._failing:
            self.outages += 1
            _log.warning("Kafka is out of reach, will keep trying: %r", error)
        self._failing = True
        if self._reached is None:
            self._reached = asyncio.get_running_loop().time()


def _identity(id: uuid.UUID | None) -> bytes:
    return b"" if id is None else id.bytes[:IDENTITY_BYTES]
