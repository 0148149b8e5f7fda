"""What stands in the way of a partition: offsets that are gone, bytes that are damaged.

Rule: what can not be read is passed after some tries, counted, and told as a gap. A flaw on the
way or a leader on the move would not last, so the first tries wait.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from bridge.kafka.client.client import EARLIEST, LATEST, OUT_OF_REACH, Code

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bridge.kafka.client.client import Cluster, Fetched, Partition
    from bridge.kafka.partitions import Reading
    from bridge.kafka.sink import Sink

_log = logging.getLogger(__name__)

#: Failures in a row to read one batch before it is given up.
STRIKES = 3
_PAUSE = 0.2


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
