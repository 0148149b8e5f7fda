"""One worker for each room that somebody is in: begun when it is occupied, ended when vacated.

    python docs/examples/room_worker.py KAFKA [PREFIX]

The bridge writes `occupied` and `vacated` to `{prefix}.lifecycle`. This program keeps a task for
every room that is occupied; here each task sends the time to its room every second, through Kafka,
and stands for whatever costs too much to be done for nobody: a poll, a query, a subscription.

Several of these programs may run: they share the group, and Kafka gives the lifecycle topic, which
has one partition, to one of them. It begins with what the topic still has (a day by default), so
that a restart finds the rooms that are occupied now.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

TOPIC = "ticks"


async def work(room: str, producer: AIOKafkaProducer) -> None:
    """Do what is worth doing while somebody is in `room`."""
    while True:
        event = {"type": "tick", "rooms": [room], "data": {"room": room, "now": time.time()}}
        await producer.send(TOPIC, json.dumps(event).encode(), key=room.encode())
        await asyncio.sleep(1)


async def main(kafka: str, prefix: str) -> None:
    """Start and stop workers until this program is ended."""
    workers: dict[str, asyncio.Task[None]] = {}
    consumer = AIOKafkaConsumer(
        f"{prefix}.lifecycle",
        bootstrap_servers=kafka,
        group_id="room-workers",
        enable_auto_commit=False,  # what is occupied is known from the beginning of the topic on
        auto_offset_reset="earliest",
        isolation_level="read_committed",  # the bridge writes some of it in transactions
    )
    producer = AIOKafkaProducer(bootstrap_servers=kafka, enable_idempotence=True)
    await producer.start()
    await consumer.start()
    try:
        async for record in consumer:
            notice = json.loads(record.value)
            room = notice["data"].get("room")
            if notice["type"] == "occupied" and room is not None and room not in workers:
                print(f"occupied: {room}", flush=True)
                workers[room] = asyncio.create_task(work(room, producer))
            elif notice["type"] == "vacated" and room in workers:
                print(f"vacated: {room}", flush=True)
                workers.pop(room).cancel()
    finally:
        for worker in workers.values():
            worker.cancel()
        await consumer.stop()
        await producer.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "push-bridge"))
