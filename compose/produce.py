# noqa: INP001 - a script, mounted by itself
"""Writes an event each second for as long as it runs: what any backend with a Kafka producer does.

    python produce.py ACKNOWLEDGED

Events go in turn to the account `alice`, the account `bob`, the room `news` and everybody. The file
ACKNOWLEDGED is touched each time Kafka has acknowledged one, so that a health check can see it.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer

TOPIC = "demo"
EVERY_SECONDS = 1.0
AUDIENCES: list[dict[str, Any]] = [
    {"accounts": ["alice"]},
    {"accounts": ["bob"]},
    {"rooms": ["news"]},
    {"all": True},
]


def event(number: int) -> dict[str, Any]:
    """Return the native envelope of one event."""
    audience = AUDIENCES[number % len(AUDIENCES)]
    return {**audience, "type": "demo.tick", "data": {"number": number, "for": audience}}


async def produce(brokers: str, acknowledged: Path) -> None:
    """Write events until cancelled."""
    async with AIOKafkaProducer(bootstrap_servers=brokers, enable_idempotence=True) as producer:
        for number in itertools.count(1):
            record = json.dumps(event(number)).encode()
            # The key decides the partition: the events of one order, say, stay in order.
            await producer.send_and_wait(TOPIC, record, key=str(number % 8).encode())
            acknowledged.touch()  # noqa: ASYNC240 - in memory, and nothing else waits
            await asyncio.sleep(EVERY_SECONDS)


if __name__ == "__main__":
    asyncio.run(produce(os.environ["BRIDGE_KAFKA__BOOTSTRAP_SERVERS"], Path(sys.argv[1])))
