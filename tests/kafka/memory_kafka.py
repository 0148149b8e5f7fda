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

from bridge.kafka.client.client import (
    EARLIEST,
    LATEST,
    BrokerConnection,
    FetchedPartition,
    FetchErrorCode,
    KafkaClient,
    TopicDescription,
)
from bridge.kafka.client.client import TopicPartition as Place

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bridge.kafka.client.fetch_sessions import FetchSession

    Headers = Sequence[tuple[str, bytes]]

#: Records in a batch, of those that are put in at a time.
BATCH_RECORDS = 100
NOW_MS = 1_795_000_000_000
_UNKNOWN_TOPIC_ID = 100


class StoredBatch(NamedTuple):
    """Some consecutive records, as they would lie on a disk."""

    first_offset: int
    next_offset: int
    time_ms: int
    data: bytes


class MemoryLog:
    """One partition."""

    def __init__(self) -> None:
        self.batches: list[StoredBatch] = []
        self.start = self.end = 0


def encode_batch(
    values: Sequence[bytes], first_offset: int, time_ms: int, headers: Headers
) -> bytes:
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
        builder.append(n, time_ms, None, value, list(headers))
    data = bytearray(builder.build())
    data[:8] = first_offset.to_bytes(8, "big")
    return bytes(data)


class MemoryKafkaClient(KafkaClient):
    """One broker, node 0. `down` makes it deaf; `leaderless` are partitions that nobody leads.

    `errors` are answered to whoever fetches these partitions.
    """

    def __init__(self) -> None:
        self.logs: dict[Place, MemoryLog] = {}
        self.ids: dict[str, uuid.UUID] = {}
        self.leaderless: set[Place] = set()
        self.errors: dict[Place, int] = {}
        self.is_down = False
        self.requests: list[str] = []
        self._appended = asyncio.Event()

    # -- what a test does to it ------------------------------------------------------------------

    def create(self, topic: str, partitions: int = 1) -> None:
        self.ids[topic] = uuid.uuid4()
        for number in range(partitions):
            self.logs[Place(topic, number)] = MemoryLog()

    def delete(self, topic: str) -> None:
        del self.ids[topic]
        for place in [place for place in self.logs if place.topic == topic]:
            del self.logs[place]

    def append(
        self,
        topic: str,
        partition: int,
        values: Sequence[bytes],
        time_ms: int = NOW_MS,
        headers: Headers = (),
    ) -> int:
        """Append these, each with `headers`; return the offset of the first."""
        log = self.logs[Place(topic, partition)]
        first_offset = log.end
        for start in range(0, len(values), BATCH_RECORDS):
            chunk = values[start : start + BATCH_RECORDS]
            data = encode_batch(chunk, log.end, time_ms, headers)
            log.batches.append(StoredBatch(log.end, log.end + len(chunk), time_ms, data))
            log.end += len(chunk)
        self._appended.set()
        return first_offset

    def corrupt(self, topic: str, partition: int, offset: int) -> range:
        """Flip a byte in the batch at `offset`; return the offsets that it has."""
        log = self.logs[Place(topic, partition)]
        index = next(n for n, batch in enumerate(log.batches) if batch.next_offset > offset)
        batch = log.batches[index]
        data = bytearray(batch.data)
        data[-1] ^= 0xFF
        log.batches[index] = batch._replace(data=bytes(data))
        return range(batch.first_offset, batch.next_offset)

    def truncate(self, topic: str, partition: int, end: int) -> None:
        """Lose what is at `end` and above, as an unclean election of a leader does."""
        log = self.logs[Place(topic, partition)]
        assert end in {0, *(batch.next_offset for batch in log.batches)}, "cut between two batches"
        log.batches = [batch for batch in log.batches if batch.next_offset <= end]
        log.end = end

    # -- what the bridge asks --------------------------------------------------------------------

    async def connect(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def describe_topics(self, topics: Iterable[str]) -> dict[str, TopicDescription]:
        await self._receive("describe")
        return {
            topic: TopicDescription(
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

    async def list_topics(self) -> list[str]:
        await self._receive("list topics")
        return sorted(self.ids)

    async def list_offsets(
        self, timestamps: Mapping[Place, int], leaders: Mapping[Place, int]
    ) -> dict[Place, int]:
        kinds = {EARLIEST: "earliest", LATEST: "latest"}
        for kind in sorted({kinds.get(timestamp, "by time") for timestamp in timestamps.values()}):
            await self._receive(kind)
        return {
            place: self._offset(self.logs[place], timestamp)
            for place, timestamp in timestamps.items()
            if leaders[place] >= 0 and place in self.logs and place not in self.leaderless
        }

    def _offset(self, log: MemoryLog, timestamp: int) -> int:
        if timestamp == EARLIEST:
            return log.start
        if timestamp == LATEST:
            return log.end
        candidates = (
            b for b in log.batches if b.time_ms >= timestamp and b.next_offset > log.start
        )
        return next((max(batch.first_offset, log.start) for batch in candidates), -1)

    async def fetch(
        self,
        node: int,
        offsets: Mapping[Place, int],
        topic_ids: Mapping[str, uuid.UUID | None],
        *,
        max_bytes: int,
        wait_ms: int | None = None,
        connection: BrokerConnection = BrokerConnection.CONSUMER,
        session: FetchSession[Place] | None = None,  # noqa: ARG002 - each response has all partitions
        rack: str = "",  # noqa: ARG002 - there is one broker
    ) -> list[FetchedPartition]:
        assert node == 0
        offsets = dict(offsets)
        ids_by_topic = {place.topic: topic_ids.get(place.topic) for place in offsets}
        await self._receive(f"fetch {connection.name.lower()}")
        responses = self._responses(offsets, ids_by_topic, max_bytes)
        if wait_ms != 0 and not any(each.data or each.error_code for each in responses):
            self._appended.clear()
            try:
                async with asyncio.timeout(0.2):
                    await self._appended.wait()
            except TimeoutError:
                pass
            responses = self._responses(offsets, ids_by_topic, max_bytes)
        return responses

    def _responses(
        self, wanted: Mapping[Place, int], ids: Mapping[str, uuid.UUID | None], max_bytes: int
    ) -> list[FetchedPartition]:
        responses, remaining_bytes = [], max_bytes
        for place, offset in wanted.items():
            log = self.logs.get(place)
            if place in self.errors:
                responses.append(FetchedPartition(place, offset, self.errors[place], -1, [], b""))
            elif log is None or ids[place.topic] not in {None, self.ids[place.topic]}:
                responses.append(FetchedPartition(place, offset, _UNKNOWN_TOPIC_ID, -1, [], b""))
            elif not log.start <= offset <= log.end:
                error = FetchErrorCode.OFFSET_OUT_OF_RANGE
                responses.append(FetchedPartition(place, offset, error, log.end, [], b""))
            else:
                data = self._read_batches(
                    log, offset, min(remaining_bytes, max(max_bytes // 8, 65536))
                )
                remaining_bytes -= len(data)
                responses.append(FetchedPartition(place, offset, 0, log.end, [], data))
        return responses

    def _read_batches(self, log: MemoryLog, offset: int, max_bytes: int) -> bytes:
        data = b""
        for batch in log.batches:
            if batch.next_offset > offset:
                if data and len(data) + len(batch.data) > max_bytes:
                    break
                if max_bytes > 0:
                    data += batch.data
        return data

    async def is_compacted(self, topic: str) -> bool:
        await self._receive("compacts")
        if topic not in self.ids:
            raise UnknownTopicOrPartitionError(topic)
        return False

    async def commit(self, group: str, offsets: Mapping[Place, int]) -> None:
        await self._receive(f"commit {group} {len(offsets)}")

    async def committed(self, group: str) -> dict[Place, int]:
        await self._receive(f"committed {group}")
        return {}

    async def delete_group(self, group: str) -> None:
        await self._receive(f"delete {group}")

    async def _receive(self, request: str) -> None:
        self.requests.append(request)
        await asyncio.sleep(0)
        if self.is_down:
            raise TimeoutError("no broker answers")
