"""A producer that outlives its broker, and a record of what Kafka has acknowledged, and where.

The rule kept here: only what was acknowledged was produced. Each event is produced once, in order
per partition, whatever happens to the broker meanwhile.
"""

from __future__ import annotations

import asyncio
import json
from functools import partial
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError, KafkaException, Producer

from tests.harness.deliveries import ProducedEvent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

    from confluent_kafka import Message

POLL_SECONDS = 0.02
METADATA_TIMEOUT_SECONDS = 5.0


class AcknowledgedProducer:
    """Produces into the partitions of `topics`, a number of them for each name."""

    def __init__(self, bootstrap: str, topics: dict[str, int], rng: Random) -> None:
        self.partitions = dict(topics)
        self.acknowledged: list[ProducedEvent] = []
        self.errors: list[str] = []
        self._rng = rng
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,  # acks of all, and as many retries as it takes
                "message.timeout.ms": 0,  # for ever
                "linger.ms": 5,
                "reconnect.backoff.max.ms": 500,
                "log_level": 0,  # that the broker is gone is nothing to report
            }
        )

    async def run(self, envelopes: Iterator[dict[str, Any]], per_second: float) -> None:
        """Produce `envelopes` at this rate into partitions at random, until cancelled."""
        now = asyncio.get_running_loop().time
        started, produced_count = now(), 0
        names = sorted(self.partitions)
        while True:
            while produced_count < (now() - started) * per_second:
                topic = self._rng.choice(names)
                number = self._rng.randrange(self.partitions[topic])
                self.produce(topic, number, next(envelopes))
                produced_count += 1
            self._producer.poll(0)
            await asyncio.sleep(POLL_SECONDS)

    def produce(self, topic: str, partition: int, envelope: dict[str, Any]) -> None:
        """Produce one event."""
        self._producer.produce(
            topic,
            json.dumps(envelope).encode(),
            partition=partition,
            on_delivery=partial(self._delivered, envelope),
        )

    async def add_partitions(self, topic: str, partitions: int) -> None:
        """Produce into all `partitions` of `topic` from now on, which has been given some more."""
        known = 0
        while known < partitions:
            try:
                metadata = await asyncio.to_thread(
                    self._producer.list_topics, timeout=METADATA_TIMEOUT_SECONDS
                )
            except KafkaException:  # the broker is away
                await asyncio.sleep(POLL_SECONDS)
            else:
                known = len(metadata.topics[topic].partitions)
        self.partitions[topic] = partitions

    async def flush(self, seconds: float) -> None:
        """Wait until everything was acknowledged."""
        left = await asyncio.to_thread(self._producer.flush, seconds)
        assert left == 0, f"{left} events were never acknowledged"

    def _delivered(
        self, envelope: dict[str, Any], error: KafkaError | None, message: Message
    ) -> None:
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        if error is not None or topic is None or partition is None or offset is None or offset < 0:
            self.errors.append(f"{envelope['id']}: {error}, offset {offset}")
            return
        self.acknowledged.append(
            ProducedEvent(
                topic=topic,
                partition=partition,
                offset=offset,
                id=envelope["id"],
                type=envelope["type"],
                accounts=tuple(envelope.get("accounts", ())),
                rooms=tuple(envelope.get("rooms", ())),
                all=envelope.get("all", False),
                content={"data": envelope.get("data")},
            )
        )
