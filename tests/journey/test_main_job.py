"""The main job: an event that is produced to Kafka reaches exactly the right sockets.

On a real broker, two instances, 8 partitions, 200 clients of 100 accounts in 20 rooms. Here it is
20,000 events, for time; `MAIN_JOB_EVENTS=100000` makes it as many as are promised.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest

from tests.harness.admin import RecordToProduce, create_topic, produce
from tests.harness.bridge_process import BridgeProcess
from tests.harness.deliveries import ExpectedRange, ProducedEvent
from tests.harness.delivery_checker import check
from tests.harness.recording_client import RecordingClient

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.kafka_cluster import KafkaCluster

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

EVENTS = int(os.environ.get("MAIN_JOB_EVENTS", "20000"))
PARTITIONS, CLIENTS, ACCOUNTS, ROOMS = 8, 200, 100, 20
AT_A_TIME = 2_000
LAST = "the last one"


def audiences(seed: int) -> Iterator[dict[str, Any]]:
    """Mixed audiences without end: most are small, some overlap, a few are everybody or nobody."""
    chance = random.Random(seed)

    def accounts(most: int) -> list[str]:
        return [f"account-{chance.randrange(ACCOUNTS)}" for _ in range(chance.randint(1, most))]

    def rooms(most: int) -> list[str]:
        return [f"room-{chance.randrange(ROOMS)}" for _ in range(chance.randint(1, most))]

    while True:
        match chance.randrange(100):
            case n if n < 50:
                yield {"accounts": accounts(2)}
            case n if n < 80:
                yield {"rooms": rooms(2)}
            case n if n < 96:
                yield {"accounts": accounts(3), "rooms": rooms(2)}
            case n if n < 97:
                yield {"all": True}
            case n if n < 98:
                yield {"accounts": accounts(1), "all": True}
            case n if n < 99:
                yield {"accounts": ["nobody-who-is-here"], "rooms": ["an-empty-room"]}
            case _:
                yield {}


def stories() -> list[dict[str, Any]]:
    """The envelopes, and one for everybody at the end of each partition."""
    said = [
        {"id": f"e-{n}", "type": f"kind-{n % 7}", "data": {"n": n}, **audience}
        for n, audience in zip(range(EVENTS), audiences(2026), strict=False)
    ]
    last = [{"id": f"last-{p}", "type": LAST, "all": True} for p in range(PARTITIONS)]
    return [*said, *last]


def as_produced(topic: str, partition: int, offset: int, story: dict[str, Any]) -> ProducedEvent:
    return ProducedEvent(
        topic=topic,
        partition=partition,
        offset=offset,
        id=story["id"],
        type=story["type"],
        accounts=tuple(story.get("accounts", ())),
        rooms=tuple(story.get("rooms", ())),
        all=story.get("all", False),
        content={"data": story.get("data")},
    )


async def test_every_event_reaches_whom_it_is_for_once_in_order_and_nobody_else(
    kafka: KafkaCluster, topic_name: str
) -> None:
    await create_topic(kafka.bootstrap, topic_name, PARTITIONS)
    async with AsyncExitStack() as stack:
        started = [
            await stack.enter_async_context(BridgeProcess(name, [topic_name], kafka.bootstrap))
            for name in ("blue", "green")
        ]
        bridges = [await bridge.wait_ready() for bridge in started]
        # The two clients of an account are on different instances, and in different rooms.
        clients = [
            RecordingClient(
                bridges[(n // ACCOUNTS) % 2].url,
                name=f"client-{n}",
                account=f"account-{n % ACCOUNTS}",
                rooms=[f"room-{n % ROOMS}", f"room-{(n * 7 + n // ACCOUNTS) % ROOMS}"],
                topics=[topic_name],
            )
            for n in range(CLIENTS)
        ]
        for client in clients:
            await stack.enter_async_context(client)

        told = stories()
        places: list[tuple[int, int]] = []
        for at in range(0, len(told), AT_A_TIME):
            records = [
                RecordToProduce(json.dumps(story).encode(), partition=(at + n) % PARTITIONS)
                for n, story in enumerate(told[at : at + AT_A_TIME])
            ]
            places += await produce(kafka.bootstrap, topic_name, records)
        async with asyncio.timeout(500):
            for client in clients:
                await client.wait_for_text(LAST, PARTITIONS, 500)

        produced = [
            as_produced(topic_name, *place, story)
            for place, story in zip(places, told, strict=True)
        ]
        counts = [sum(place[0] == p for place in places) for p in range(PARTITIONS)]
        owed = [ExpectedRange(topic_name, p, first=0, end=counts[p]) for p in range(PARTITIONS)]
        observations = [client.observation(owed) for client in clients]
        delivered = sum(len(client.events()) for client in clients)
        print(f"{len(produced)} events, {delivered} deliveries")  # noqa: T201 - for `-s`
        assert check(produced, observations) == []
        assert delivered > EVENTS, "the audiences were not empty"
        assert [await bridge.terminate() for bridge in bridges] == [0, 0]
        assert all("Traceback" not in bridge.stderr() for bridge in bridges)
