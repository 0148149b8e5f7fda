"""Kafka as far as the bridge asks it, in memory: for what a real broker does only by chance.

The rule kept here: it answers as a broker does, in Kafka's own bytes. What is told of both is in
`test_replay.py`, which runs on this and on a real one.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, NamedTuple

from aiokafka.errors import UnknownTopicOrPartitionError
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from bridge.kafka.client.client import EARLIEST, LATEST, Cluster, Code, Description, Fetched, Lane
from bridge.kafka.client.client import Partition as Place

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    Headers = Sequence[tuple[str, bytes]]

#: Records in a batch, of those that are put in at a time.
PER_BATCH = 100
NOW = 1_795_000_000_000
_UNKNOWN_TOPIC_ID = 100


class Batch(NamedTuple):
    """Some consecutive records, as they would lie on a disk."""

    first: int
    next: int
    time: int
    data: bytes


class MemoryLog:
    """One partition."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.start = self.end = 0


def packed(values: Sequence[bytes], first: int, time: int, headers: Headers) -> bytes:
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=0,
        is_transactional=False,
        producer_id=-1,
        producer_epoch=0,
        base_sequence=0,
        batch_size=10**9,
    )
    for n, value in enumerate(values):
        builder.append(n, time, None, value, list(headers))
    data = bytearray(builder.build())
    data[:8] = first.to_bytes(8, "big")
    return bytes(data)


class MemoryCluster(Cluster):
    """One broker, node 0. `down` makes it deaf; `leaderless` are partitions that nobody leads.

    `errors` are answered to whoever fetches these partitions.
    """

    def __init__(self) -> None:
        self.logs: dict[Place, MemoryLog] = {}
        self.ids: dict[str, uuid.UUID] = {}
        self.leaderless: set[Place] = set()
        self.errors: dict[Place, int] = {}
        self.down = False
        self.asked: list[str] = []
        self._grown = asyncio.Event()

    # -- what a test does to it ------------------------------------------------------------------

    def create(self, topic: str, partitions: int = 1) -> None:
        self.ids[topic] = uuid.uuid4()
        for number in range(partitions):
            self.logs[Place(topic, number)] = MemoryLog()

    def delete(self, topic: str) -> None:
        del self.ids[topic]
        for place in [place for place in self.logs if place.topic == topic]:
            del self.logs[place]

    def put(
        self,
        topic: str,
        partition: int,
        values: Sequence[bytes],
        time: int = NOW,
        headers: Headers = (),
    ) -> int:
        """Append these, each with `headers`; return the offset of the first."""
        log = self.logs[Place(topic, partition)]
        began = log.end
        for at in range(0, len(values), PER_BATCH):
            some = values[at : at + PER_BATCH]
            data = packed(some, log.end, time, headers)
            log.batches.append(Batch(log.end, log.end + len(some), time, data))
            log.end += len(some)
        self._grown.set()
        return began

    def spoil(self, topic: str, partition: int, offset: int) -> range:
        """Flip a byte in the batch at `offset`; return the offsets that it has."""
        log = self.logs[Place(topic, partition)]
        at = next(n for n, batch in enumerate(log.batches) if batch.next > offset)
        batch = log.batches[at]
        data = bytearray(batch.data)
        data[-1] ^= 0xFF
        log.batches[at] = batch._replace(data=bytes(data))
        return range(batch.first, batch.next)

    def cut(self, topic: str, partition: int, end: int) -> None:
        """Lose what is at `end` and above, as an unclean election of a leader does."""
        log = self.logs[Place(topic, partition)]
        assert end in {0, *(batch.next for batch in log.batches)}, "cut between two batches"
        log.batches = [batch for batch in log.batches if batch.next <= end]
        log.end = end

    # -- what the bridge asks --------------------------------------------------------------------

    async def connect(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def describe(self, topics: Iterable[str]) -> dict[str, Description]:
        await self._hear("describe")
        return {
            topic: Description(
                self.ids[topic],
                {
                    place.number: -1 if place in self.leaderless else 0
                    for place in self.logs
                    if place.topic == topic
                },
            )
            for topic in topics
            if topic in self.ids
        }

    async def offsets(
        self, at: Mapping[Place, int], leaders: Mapping[Place, int]
    ) -> dict[Place, int]:
        kinds = {EARLIEST: "earliest", LATEST: "latest"}
        for kind in sorted({kinds.get(timestamp, "by time") for timestamp in at.values()}):
            await self._hear(kind)
        return {
            place: self._offset(self.logs[place], timestamp)
            for place, timestamp in at.items()
            if leaders[place] >= 0 and place in self.logs and place not in self.leaderless
        }

    def _offset(self, log: MemoryLog, timestamp: int) -> int:
        if timestamp == EARLIEST:
            return log.start
        if timestamp == LATEST:
            return log.end
        young = (b for b in log.batches if b.time >= timestamp and b.next > log.start)
        return next((max(batch.first, log.start) for batch in young), -1)

    async def fetch(
        self,
        node: int,
        wanted: Mapping[Place, int],
        ids: Mapping[str, uuid.UUID | None],
        *,
        max_bytes: int,
        wait_ms: int | None = None,
        lane: Lane = Lane.FEED,
    ) -> list[Fetched]:
        assert node == 0
        wanted = dict(wanted)
        named = {place.topic: ids.get(place.topic) for place in wanted}
        await self._hear(f"fetch {lane.name.lower()}")
        answers = self._answers(wanted, named, max_bytes)
        if wait_ms != 0 and not any(each.data or each.error for each in answers):
            self._grown.clear()
            try:
                async with asyncio.timeout(0.2):
                    await self._grown.wait()
            except TimeoutError:
                pass
            answers = self._answers(wanted, named, max_bytes)
        return answers

    def _answers(
        self, wanted: Mapping[Place, int], ids: Mapping[str, uuid.UUID | None], max_bytes: int
    ) -> list[Fetched]:
        answers, left = [], max_bytes
        for place, offset in wanted.items():
            log = self.logs.get(place)
            if place in self.errors:
                answers.append(Fetched(place, offset, self.errors[place], -1, [], b""))
            elif log is None or ids[place.topic] not in {None, self.ids[place.topic]}:
                answers.append(Fetched(place, offset, _UNKNOWN_TOPIC_ID, -1, [], b""))
            elif not log.start <= offset <= log.end:
                error = Code.OFFSET_OUT_OF_RANGE
                answers.append(Fetched(place, offset, error, log.end, [], b""))
            else:
                data = self._data(log, offset, min(left, max(max_bytes // 8, 65536)))
                left -= len(data)
                answers.append(Fetched(place, offset, 0, log.end, [], data))
        return answers

    def _data(self, log: MemoryLog, offset: int, most: int) -> bytes:
        data = b""
        for batch in log.batches:
            if batch.next > offset:
                if data and len(data) + len(batch.data) > most:
                    break
                if most > 0:
                    data += batch.data
        return data

    async def compacts(self, topic: str) -> bool:
        await self._hear("compacts")
        if topic not in self.ids:
            raise UnknownTopicOrPartitionError(topic)
        return False

    async def commit(self, group: str, offsets: Mapping[Place, int]) -> None:
        await self._hear(f"commit {group} {len(offsets)}")

    async def _hear(self, request: str) -> None:
        self.asked.append(request)
        await asyncio.sleep(0)
        if self.down:
            raise TimeoutError("no broker answers")
