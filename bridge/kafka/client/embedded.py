"""A broker for development inside this process: librdkafka's mock cluster.

It supports produce, fetch, commit and the creation of a topic by its first use, but no admin calls.
It keeps nothing on disk and drops old records after a few megabytes. It is no proof for Kafka.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException, Producer

from bridge.kafka.client.client import (
    EARLIEST,
    LATEST,
    BrokerConnection,
    KafkaClient,
    TopicPartition,
)
from bridge.kafka.client.records.record_batches import AbortedTransactions, decode_batches

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

_TIMEOUT_SECONDS = 10.0


async def serve_bootstrap(listener: socket.socket, bootstrap_servers: str) -> asyncio.Server:
    """Forward connections to `listener` to the embedded broker, whose own port cannot be chosen.

    A client that begins there is told the broker's own port, and goes on with that.
    """
    host, _, port = bootstrap_servers.split(",", maxsplit=1)[0].rpartition(":")

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            broker_reader, broker_writer = await asyncio.open_connection(host, int(port))
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_copy(reader, broker_writer))
                tasks.create_task(_copy(broker_reader, writer))
        except* OSError:
            writer.close()

    return await asyncio.start_server(forward, sock=listener)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


class EmbeddedBroker:
    """One broker on its own loopback port. It ends with this object."""

    def __init__(self, topics: list[str]) -> None:
        """Start the broker, with four partitions in each of `topics`.

        Raises:
            RuntimeError: If the broker does not start.
        """
        self._client = Producer(
            {"bootstrap.servers": "unused", "test.mock.num.brokers": 1, "log_level": 0}
        )
        try:
            brokers = self._client.list_topics(timeout=_TIMEOUT_SECONDS).brokers.values()
            for topic in topics:
                self._client.list_topics(topic, timeout=_TIMEOUT_SECONDS)
        except KafkaException as error:
            raise RuntimeError(f"the embedded broker did not start: {error}") from None
        self.bootstrap_servers = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)


class EmbeddedKafkaClient(KafkaClient):
    """Searches offsets by time itself: the embedded broker cannot look them up."""

    async def list_offsets(
        self, timestamps: Mapping[TopicPartition, int], leaders: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, int]:
        """Return the offsets that a real broker would return."""
        by_time = {
            partition: timestamp_ms
            for partition, timestamp_ms in timestamps.items()
            if timestamp_ms >= 0
        }
        offsets = await super().list_offsets(
            {p: timestamp_ms for p, timestamp_ms in timestamps.items() if timestamp_ms < 0}, leaders
        )
        if by_time:
            starts = await super().list_offsets(dict.fromkeys(by_time, EARLIEST), leaders)
            ends = await super().list_offsets(dict.fromkeys(by_time, LATEST), leaders)
            for partition, timestamp_ms in by_time.items():
                low, high = starts[partition], ends[partition]
                while low < high:
                    middle = (low + high) // 2
                    if (
                        await self._record_timestamp(partition, middle, leaders[partition])
                        < timestamp_ms
                    ):
                        low = middle + 1
                    else:
                        high = middle
                offsets[partition] = low if low < ends[partition] else -1
        return offsets

    async def _record_timestamp(self, partition: TopicPartition, offset: int, node: int) -> int:
        """Return when the record at `offset` was written, in milliseconds since 1970."""
        fetched_partitions = await self.fetch(
            node, {partition: offset}, {}, max_bytes=1, connection=BrokerConnection.REPLAY
        )
        for fetched in fetched_partitions:
            for chunk in decode_batches(
                fetched.data, offset, fetched.high_watermark, AbortedTransactions([])
            ):
                if chunk.records:
                    return chunk.records[0].timestamp
        return 0
