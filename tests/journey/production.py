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

from tests.harness.deliveries import Produced

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

    from confluent_kafka import Message

TICK_SECONDS = 0.02
ANSWER_SECONDS = 5.0


class Production:
    """Produces into the partitions of `topics`, a number of them for each name."""

    def __init__(self, bootstrap: str, topics: dict[str, int], chance: Random) -> None:
        self.partitions = dict(topics)
        self.acknowledged: list[Produced] = []
        self.complaints: list[str] = []
        self._chance = chance
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
        began, said = now(), 0
        names = sorted(self.partitions)
        while True:
            while said < (now() - began) * per_second:
                topic = self._chance.choice(names)
                number = self._chance.randrange(self.partitions[topic])
                self.say(topic, number, next(envelopes))
                said += 1
            self._producer.poll(0)
            await asyncio.sleep(TICK_SECONDS)

    def say(self, topic: str, partition: int, envelope: dict[str, Any]) -> None:
        """Produce one event."""
        self._producer.produce(
            topic,
            json.dumps(envelope).encode(),
            partition=partition,
            on_delivery=partial(self._delivered, envelope),
        )

    async def widen(self, topic: str, partitions: int) -> None:
        """Produce into all `partitions` of `topic` from now on, which has been given some more."""
        known = 0
        while known < partitions:
            try:
                told = await asyncio.to_thread(self._producer.list_topics, timeout=ANSWER_SECONDS)
            except KafkaException:  # the broker is away
                await asyncio.sleep(TICK_SECONDS)
            else:
                known = len(told.topics[topic].partitions)
        self.partitions[topic] = partitions

    async def finish(self, seconds: float) -> None:
        """Wait until everything was acknowledged."""
        left = await asyncio.to_thread(self._producer.flush, seconds)
        assert left == 0, f"{left} events were never acknowledged"

    def _delivered(
        self, envelope: dict[str, Any], error: KafkaError | None, message: Message
    ) -> None:
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        if error is not None or topic is None or partition is None or offset is None or offset < 0:
            self.complaints.append(f"{envelope['id']}: {error}, offset {offset}")
            return
        self.acknowledged.append(
            Produced(
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
