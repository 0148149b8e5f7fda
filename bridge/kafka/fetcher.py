"""Reads what one broker leads, one request after another, and hands it on.

Rule: no record or batch stops the ones behind it, and what the sink has not taken yet delays the
next request: that is the back-pressure.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final, Protocol

from bridge.core.protocol.envelope import Batch
from bridge.kafka.client.client import EARLIEST, LATEST, OUT_OF_REACH, Code
from bridge.kafka.client.record_batches import CHUNK_RECORDS, Aborted, Corrupt, unpack

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from bridge.kafka.client.client import Cluster, Fetched, Partition
    from bridge.kafka.partitions import Partitions, Reading


class Sink(Protocol):
    """Topics are the public ones."""

    def begin(self, topic: str, identity: bytes, offsets: Mapping[int, int]) -> None:
        """Reading starts at `offsets`; or these partitions were added, or it is another topic."""

    def skip(self, topic: str, reason: str, offsets: Mapping[int, int]) -> None:
        """What is below `offsets` can not be read; `reason` is a gap's."""

    def sleep(self, topic: str, identity: bytes) -> None:
        """This topic, read on demand, is not read now, and is of this identity."""

    def deliver(self, batches: Sequence[Batch]) -> Awaitable[None]:
        """Records, in order per partition. The feed waits for it: that is its back-pressure."""


class Load:
    """What was read and is handed on together."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._batches: list[Batch] = []
        self._records = 0
        self.taken = 0  #: records, from the start on

    def add(self, batch: Batch) -> None:
        """Take in a batch."""
        self._batches.append(batch)
        self._records += len(batch.records)
        self.taken += len(batch.records)

    @property
    def full(self) -> bool:
        """Whether it should be handed on before more is added."""
        return self._records >= CHUNK_RECORDS

    async def hand_on(self) -> None:
        """Hand on what there is; return when it was taken."""
        if self._batches:
            batches, self._batches, self._records = self._batches, [], 0
            await self._sink.deliver(batches)


_log = logging.getLogger(__name__)

#: Failures in a row to read one batch before it is given up.
STRIKES = 3


class Trouble:
    """Answers what a fetch can go wrong with. `wake` asks for a new look at the topics."""

    def __init__(
        self,
        cluster: Cluster,
        names: Mapping[str, Sequence[str]],
        sink: Sink,
        wake: asyncio.Event,
    ) -> None:
        self._cluster = cluster
        self._names = names
        self._sink = sink
        self._wake = wake
        self._compacted: set[str] = set()

    async def meet(self, fetched: Fetched, reading: Reading) -> None:
        """Answer an error that the broker told."""
        match fetched.error:
            case Code.OFFSET_OUT_OF_RANGE:
                await self._out_of_range(fetched.partition, reading)
            case Code.CORRUPT:
                self.strike(fetched, reading, None, "the broker calls a batch corrupt")
            case _:
                # Leaders move, topics go: a look at the topics tells which.
                _log.debug("%s:%d: error %d", *fetched.partition, fetched.error)
                self._pause(reading, _PAUSE)
                self._wake.set()

    def strike(
        self,
        fetched: Fetched,
        reading: Reading,
        next: int | None,
        why: str,
        *,
        most: int | None = None,
    ) -> None:
        """Count a failure to read the batch at `reading.offset`; pass it after some.

        `next` is the offset that follows it. Where that can not be told, ever longer steps look
        for what can be read again, up to `most`.
        """
        reading.strikes += 1
        if reading.strikes < STRIKES:
            self._pause(reading, _PAUSE * 2**reading.strikes)
            return
        step = 2 ** (reading.strikes - STRIKES)
        after = next if next is not None else reading.offset + step
        if most is None and fetched.end > reading.offset:
            most = fetched.end
        after = after if most is None else min(after, most)
        _log.error(
            "%s:%d: %s; passing offsets %d to %d",
            *fetched.partition,
            why,
            reading.offset,
            after - 1,
        )
        self._skip(fetched.partition, reading, "corrupt", after)

    async def passes(self, fetched: Fetched, reading: Reading, first: int) -> bool:
        """Whether the hole from `reading.offset` to `first`, between two batches, is no loss.

        Compaction leaves holes, and nothing else does: where a topic is not compacted, a damaged
        batch has hidden others from the broker, or `first` itself is damaged.
        """
        partition = fetched.partition
        if partition.topic in self._compacted:
            return True
        try:
            compacted = await self._cluster.compacts(partition.topic)
        except OUT_OF_REACH as error:
            _log.debug("%s:%d: not known whether it is compacted: %r", *partition, error)
            self._pause(reading, _PAUSE)
            return False
        if compacted:
            self._compacted.add(partition.topic)
        else:
            self.strike(fetched, reading, None, "the broker leaves out a batch", most=first)
        return compacted

    async def _out_of_range(self, partition: Partition, reading: Reading) -> None:
        leaders = {partition: reading.leader}
        try:
            start = (await self._cluster.offsets({partition: EARLIEST}, leaders)).get(partition)
            end = (await self._cluster.offsets({partition: LATEST}, leaders)).get(partition)
        except OUT_OF_REACH:
            start = end = None
        if start is not None and reading.offset < start:
            _log.error("%s:%d: offsets below %d have expired unread", *partition, start)
            self._skip(partition, reading, "expired", start)
        elif end is not None and reading.offset > end:
            _log.error("%s:%d: the log was cut off at %d", *partition, end)
            self._skip(partition, reading, "truncated", end)
        else:
            self._pause(reading, _PAUSE)

    def _skip(self, partition: Partition, reading: Reading, reason: str, offset: int) -> None:
        if reading.dropped:
            return  # while it was asked what is the matter
        reading.offset, reading.between = offset, False
        if reason == "truncated":  # what was to be caught up with is no more
            reading.until = min(reading.until, offset)
        for name in self._names[partition.topic]:
            self._sink.skip(name, reason, {partition.number: offset})

    def _pause(self, reading: Reading, seconds: float) -> None:
        reading.pause_until = asyncio.get_running_loop().time() + seconds


FETCH_BYTES: Final = 8 * 1024 * 1024
#: So long at least from one request to the next: what comes in between comes together.
LINGER_SECONDS: Final = 0.004
#: After fewer records than this, rest for as long as the sink took for them, but no longer than
#: this: ten frames joined cost a socket hardly more than one.
FEW_RECORDS: Final = 10
MOST_SECONDS: Final = 0.005
_PAUSE: Final = 0.2


def linger(request: float, taking: float, records: int) -> float:
    """Return the seconds to wait before the next request, if they are more than none.

    The last one took `request` seconds, of which `taking` were the sink's, for its `records`.
    """
    least = LINGER_SECONDS - request
    return max(least, min(taking, MOST_SECONDS)) if records < FEW_RECORDS else least


class Reader:
    """Reads `partitions`; `names` maps Kafka's names of topics to the public ones."""

    def __init__(
        self,
        cluster: Cluster,
        partitions: Partitions,
        names: Mapping[str, Sequence[str]],
        sink: Sink,
        trouble: Trouble,
        *,
        reached: Callable[[], None],
        lost: Callable[[], None],
        took: Callable[[], None],
    ) -> None:
        """`reached` and `lost` are told of the broker, `took` that the sink has taken something."""
        self._cluster = cluster
        self._partitions = partitions
        self._names = names
        self._sink = sink
        self._trouble = trouble
        self._reached = reached
        self._lost = lost
        self._took = took
        self._turn = 0
        self.failures = 0  #: bugs of ours that reading met, and went on

    async def read(self, node: int) -> None:
        """Read what `node` leads until it leads nothing of it any more.

        Cancellation: safe; what was fetched and not handed on is fetched again by whoever goes on.
        """
        try:
            await self._read_on(node)
        except Exception:  # noqa: BLE001 - logged, counted and begun anew
            # A bug of ours must not end the stream; the next look at the topics starts anew.
            _log.exception("reading from node %d failed", node)
            self.failures += 1

    async def _read_on(self, node: int) -> None:
        now = asyncio.get_running_loop().time
        while led := self._partitions.led_by(node):
            asked = now()
            wanted = {p: r.offset for p, r in led.items() if r.pause_until <= asked}
            if not wanted:
                await asyncio.sleep(_PAUSE / 2)
                continue
            try:
                answers = await self._cluster.fetch(
                    node, self._rotated(wanted), self._partitions.ids, max_bytes=FETCH_BYTES
                )
            except OUT_OF_REACH as error:
                _log.debug("node %d: %r", node, error)
                self._lost()
                await asyncio.sleep(_PAUSE)
                continue
            self._reached()
            came = now()
            records = await self._take(answers)
            done = now()
            if (rest := linger(done - asked, done - came, records)) > 0:
                await asyncio.sleep(rest)

    def _rotated(self, wanted: dict[Partition, int]) -> dict[Partition, int]:
        """A broker fills its answer in the order of the request: let each be first in turn."""
        self._turn += 1
        turn = self._turn % len(wanted)
        items = list(wanted.items())
        return dict(items[turn:] + items[:turn])

    async def _take(self, answers: Sequence[Fetched]) -> int:
        """Hand on what came; return how many records it was."""
        load = Load(self._sink)
        for fetched in answers:
            reading = self._partitions.readings.get(fetched.partition)
            if reading is None or reading.offset != fetched.offset:
                continue  # the topic was recreated while the answer was on its way
            reading.end = max(fetched.end, reading.offset)
            if fetched.error:
                await load.hand_on()
                await self._trouble.meet(fetched, reading)
                continue
            try:
                await self._unpack(fetched, reading, load)
            except Corrupt as corrupt:
                await load.hand_on()
                self._trouble.strike(fetched, reading, corrupt.next, str(corrupt))
        await load.hand_on()
        self._took()
        return load.taken

    async def _unpack(self, fetched: Fetched, reading: Reading, load: Load) -> None:
        partition, aborted = fetched.partition, Aborted(fetched.aborted)
        for chunk in unpack(
            fetched.data, reading.offset, fetched.end, aborted, between=reading.between
        ):
            if chunk.first > reading.offset:
                await load.hand_on()
                if not await self._trouble.passes(fetched, reading, chunk.first):
                    return
                if self._partitions.readings.get(partition) is not reading:
                    return
            reading.offset, reading.between, reading.strikes = chunk.next, chunk.whole, 0
            for name in self._names[partition.topic]:
                load.add(Batch(name, partition.number, chunk.records, chunk.next))
            if load.full:
                await load.hand_on()
                if self._partitions.readings.get(partition) is not reading:
                    return  # recreated meanwhile: the rest is of its former life
