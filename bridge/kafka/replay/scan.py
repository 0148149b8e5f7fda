"""One pass over a range of Kafka's records, for all the sessions that need it.

Rules: it reads from the lowest place of those who share it up to where the journal begins, keeps
what it reads for the journal, lets go of whoever has what it needs, and ends when the last of its
sessions has left. What keeps one partition from being read keeps no other.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol

from bridge.core.protocol.envelope import Batch
from bridge.core.replay.catchup import Scan
from bridge.kafka.client.client import OUT_OF_REACH, Code, Lane, Partition
from bridge.kafka.client.record_batches import Aborted, Corrupt, unpack
from bridge.kafka.fetcher import STRIKES

if TYPE_CHECKING:
    import uuid
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence

    from bridge.core.protocol.envelope import Record, Routed
    from bridge.core.replay.catchup import CatchUp
    from bridge.core.sessions.session import Session
    from bridge.kafka.client.client import Cluster, Fetched
    from bridge.kafka.client.record_batches import Chunk


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


_log = logging.getLogger(__name__)

FETCH_BYTES = 2 * 1024 * 1024
#: Frames that are handed out, at the most, before everything else has its turn.
PORTION = 10_000
_PAUSE = 0.2


class Release(Protocol):
    """Takes sessions back; `full` are those whose clients have to read first."""

    def __call__(self, sessions: Iterable[Session], *, full: bool) -> None: ...  # noqa: D102


class Pass:
    """A pass from `start` on, an offset by public topic and partition; sessions `enter` it."""

    def __init__(
        self,
        catch_up: CatchUp,
        source: Source,
        start: Mapping[tuple[str, int], int],
        *,
        apart: Release,
    ) -> None:
        self._catch_up = catch_up
        self._journal = catch_up.journal
        self._source = source
        self._release = apart
        # What the journal has by now is not needed any more.
        start = {key: place for key, place in start.items() if place < self._journal.floor(*key)}
        self._scan = Scan(start)
        self._tails = {key: self._journal.tail(*key) for key in start}
        for key, place in start.items():
            self._scan.stretches[key] = self._journal.stretch(place)
        self._topics = {topic for topic, _ in start}  # of which there is more to be read
        self._whole: dict[Partition, int] = {}  # where a batch is known to end
        self._strikes: dict[Partition, int] = {}
        self._pauses: dict[Partition, float] = {}
        self._moves = 0

    @property
    def sessions(self) -> Iterable[Session]:
        """Those who are in it now."""
        return tuple(self._scan.interest.everybody)

    @property
    def left(self) -> int:
        """About how many records are still to be read."""
        places = self._scan.next.items()
        return sum(max(0, self._journal.floor(*key) - place) for key, place in places)

    @property
    def keeps(self) -> bool:
        """Whether the journal has had room for all of it so far."""
        return all(map(self._journal.is_open, self._scan.stretches.values()))

    def takes(self, session: Session) -> bool:
        """Whether `session` can still enter."""
        return self._catch_up.fits(self._scan, session)

    def covers(self, missing: Mapping[tuple[str, int], tuple[int, int]]) -> bool:
        """Whether the journal will have all that is missing when this ends, as far as is known."""
        return all(
            key in self._scan.next
            and self._scan.start[key] <= place
            and self._journal.is_open(self._scan.stretches[key])
            for key, (place, _) in missing.items()
        )

    def enter(self, session: Session) -> None:
        """Serve `session` too, which is in the middle of its replay."""
        self._catch_up.enter(self._scan, session)

    async def run(self, flush: Callable[[], Awaitable[None]], patience: float) -> None:
        """Read until the journal has the rest, or nobody is left.

        Raises:
            TimeoutError: If nothing could be read for `patience` seconds.

        Cancellation: safe; the sessions stay where they are.
        """
        now = asyncio.get_running_loop().time
        moved = now()
        try:
            while wanted := self._wanted():
                moves = self._moves
                await self._read(wanted, flush)
                if self._moves > moves:
                    moved = now()
                elif now() - moved > patience:
                    raise TimeoutError(f"nothing could be read for {patience:g} s")
                else:
                    await asyncio.sleep(_PAUSE)
        finally:
            self._send_back_the_outdated()
            for key, stretch in self._scan.stretches.items():
                self._journal.prepend(*key, stretch)

    def _wanted(self) -> dict[Partition, int]:
        """The partitions that are still to be read, from where; those that end soonest first.

        Who needs none of them is let go.
        """
        self._send_back_the_outdated()
        missing = {key: self._journal.floor(*key) - place for key, place in self._scan.next.items()}
        keys = sorted((key for key in missing if missing[key] > 0), key=missing.__getitem__)
        topics = {topic for topic, _ in keys}
        if topics != self._topics:
            self._topics = topics
            done = [session for session in self.sessions if topics.isdisjoint(session.topics)]
            for session in done:
                self._catch_up.leave(session)
            self._release(done, full=False)
        if not self._scan.interest.everybody:
            return {}
        wanted: dict[Partition, int] = {}
        for topic, number in keys:
            partition = Partition(self._source.kafka[topic], number)
            place = self._scan.next[topic, number]
            wanted[partition] = min(place, wanted.get(partition, place))
        return wanted

    def _send_back_the_outdated(self) -> None:
        """Let go of logs that were begun anew: they may be other ones under the same names."""
        for key in tuple(self._scan.next):
            if not self._is_same(key):
                self._journal.drop(self._scan.stretches.pop(key))
                self._release(self._catch_up.give_up(self._scan, *key, None), full=False)

    def _is_same(self, key: tuple[str, int]) -> bool:
        return self._journal.holds(*key, self._tails[key])

    def _keys(self, partition: Partition) -> list[tuple[str, int]]:
        """What is still read of `partition`: as which public topics."""
        keys = [(name, partition.number) for name in self._source.names[partition.topic]]
        return [key for key in keys if key in self._scan.next and self._is_same(key)]

    async def _read(
        self, wanted: Mapping[Partition, int], flush: Callable[[], Awaitable[None]]
    ) -> None:
        now = asyncio.get_running_loop().time
        by_node: dict[int, dict[Partition, int]] = {}
        for partition, place in wanted.items():
            if self._pauses.get(partition, 0) <= now():
                by_node.setdefault(self._source.leader(partition), {})[partition] = place
        by_node.pop(-1, None)
        for node, places in by_node.items():
            try:
                answers = await self._source.cluster.fetch(
                    node,
                    places,
                    self._source.ids,
                    max_bytes=FETCH_BYTES,
                    wait_ms=0,
                    lane=Lane.REPLAY,
                )
            except OUT_OF_REACH as error:
                _log.debug("replay: node %d: %r", node, error)
                for partition in places:
                    self._pause(partition)
                continue
            for fetched in answers:
                self._source.bytes += len(fetched.data)
                for name, _ in self._keys(fetched.partition):
                    self._scan.bytes[name] += len(fetched.data)
                await self._take(fetched, flush)
            if spent := self._catch_up.spent(self._scan):
                for session in spent:
                    self._catch_up.limit(session)
                self._release(spent, full=False)

    async def _take(self, fetched: Fetched, flush: Callable[[], Awaitable[None]]) -> None:
        partition = fetched.partition
        if not self._keys(partition):
            return  # begun anew while the answer was on its way
        if fetched.error == Code.OFFSET_OUT_OF_RANGE:
            self._send_back(partition)
        elif fetched.error == Code.CORRUPT:
            self._strike(partition)
        elif fetched.error:
            _log.debug("replay: %s:%d: error %d", *partition, fetched.error)
            self._pause(partition)  # leaders move, topics go: the feed will know
        else:
            try:
                await self._unpack(fetched, flush)
            except Corrupt as corrupt:
                _log.debug("replay: %s:%d: %s", *partition, corrupt)
                self._strike(partition)
            except OUT_OF_REACH as error:
                _log.debug("replay: %s:%d: %r", *partition, error)
                self._pause(partition)

    async def _unpack(self, fetched: Fetched, flush: Callable[[], Awaitable[None]]) -> None:
        partition, offset = fetched.partition, fetched.offset
        chunks = unpack(
            fetched.data,
            offset,
            fetched.end,
            Aborted(fetched.aborted),
            between=self._whole.get(partition) == offset,
        )
        for chunk in chunks:
            if chunk.first > offset and not await self._source.has_holes(partition.topic):
                self._strike(partition)
                return
            self._strikes[partition] = 0
            if chunk.whole:
                self._whole[partition] = chunk.next
            self._moves += 1
            self._source.records += len(chunk.records)
            for records, following in self._portions(chunk):
                # What was left to a journal that now begins later has to be read again first.
                keys = [key for key in self._keys(partition) if self._scan.next[key] >= offset]
                for key in keys:
                    routed = self._source.route(Batch(*key, records, following))
                    if full := self._catch_up.scan(self._scan, routed):
                        self._release(full, full=True)
                offset = following
                await asyncio.sleep(0)
            await flush()
            if not (keys and self._scan.interest.everybody and self._lacks(partition)):
                return

    def _portions(self, chunk: Chunk) -> Iterator[tuple[Sequence[Record], int]]:
        """Yield the records of `chunk` in portions, each with the offset that follows it.

        Each record may be for every session, so the more there are, the smaller a portion is.
        """
        size = max(1, PORTION // max(1, len(self._scan.interest.everybody)))
        end = len(chunk.records)
        for at in range(size, end, size):
            yield chunk.records[at - size : at], chunk.records[at].offset
        yield chunk.records[(end - 1) // size * size if end else 0 :], chunk.next

    def _lacks(self, partition: Partition) -> bool:
        """Whether there is more of `partition` to be read."""
        places = self._scan.next
        return any(places[key] < self._journal.floor(*key) for key in self._keys(partition))

    def _pause(self, partition: Partition, seconds: float = _PAUSE) -> None:
        self._pauses[partition] = asyncio.get_running_loop().time() + seconds

    def _strike(self, partition: Partition) -> None:
        """Try again some times, then say that it can not be read."""
        self._strikes[partition] = self._strikes.get(partition, 0) + 1
        if self._strikes[partition] < STRIKES:
            self._pause(partition, _PAUSE * 2 ** self._strikes[partition])
            return
        _log.error("replay: %s:%d can not be read", *partition)
        for key in self._keys(partition):
            self._release(self._catch_up.give_up(self._scan, *key, "corrupt"), full=False)

    def _send_back(self, partition: Partition) -> None:
        """Let those who need `partition` be judged anew: their place is not in the log now."""
        for key in self._keys(partition):
            self._release(self._catch_up.give_up(self._scan, *key, None), full=False)
