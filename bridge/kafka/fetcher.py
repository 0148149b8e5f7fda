"""Reads what one broker leads, one request after another, and hands it on.

Rule: no record or batch stops the ones behind it, and what the sink has not taken yet delays the
next request: that is the back-pressure.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from bridge.core.protocol.router import Batch
from bridge.kafka.client.client import OUT_OF_REACH
from bridge.kafka.client.record_batches import Aborted, Corrupt, unpack
from bridge.kafka.load import Load

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bridge.kafka.client.client import Cluster, Fetched, Partition
    from bridge.kafka.partitions import Partitions, Reading
    from bridge.kafka.sink import Sink
    from bridge.kafka.trouble import Trouble

_log = logging.getLogger(__name__)

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
