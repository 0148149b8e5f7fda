"""Follower fetch (KIP-392) on three brokers in three racks, by a bridge and a client of it."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from tests.harness.admin import RecordToProduce, create_topic, fresh_name, produce
from tests.harness.bridge_process import BridgeProcess
from tests.harness.kafka_cluster import KafkaCluster
from tests.harness.recording_client import RecordingClient

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

RACKS = ("east", "west", "north")
PARTITIONS = 6
RECORDS = int(os.environ.get("FOLLOWER_RECORDS", "1200"))
OWN = 0  # the broker in the rack of the bridge
SETTLE_SECONDS = 60


@pytest.fixture(scope="module")
def racked_kafka() -> Iterator[KafkaCluster]:
    with KafkaCluster(brokers=3, racks=RACKS) as cluster:
        yield cluster


async def produce_numbers(cluster: KafkaCluster, topic: str, numbers: range) -> None:
    records = [
        RecordToProduce(
            json.dumps({"id": str(n), "all": True, "data": "x" * 1000}).encode(),
            partition=n % PARTITIONS,
        )
        for n in numbers
    ]
    await produce(cluster.bootstrap, topic, records)


async def wait_for_numbers(client: RecordingClient, numbers: range) -> None:
    """Wait for the last of `numbers`; each must have come once, in order per partition."""
    async with asyncio.timeout(SETTLE_SECONDS):
        while len(client.events()) < len(numbers):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    came = [int(event["id"]) for event in client.events()]
    assert sorted(came) == list(numbers)
    for partition in range(PARTITIONS):
        own = [n for n in came if n % PARTITIONS == partition]
        assert own == sorted(own)


async def own_rack_share(cluster: KafkaCluster, topic: str) -> float:
    """The share of the bytes that consumers of `topic` read from the broker in the own rack."""
    name = f"kafka.server:type=BrokerTopicMetrics,name=BytesOutPerSec,topic={topic}"
    out = [await asyncio.to_thread(cluster.metric, broker, name, "Count") for broker in range(3)]
    assert sum(out) > 0, "brokers count what they send"
    print(f"{topic}: bytes sent by broker {out}")  # noqa: T201 - for `-s`
    return out[OWN] / sum(out)


async def test_bytes_come_from_the_own_rack_and_nothing_is_lost_when_it_dies(
    racked_kafka: KafkaCluster,
) -> None:
    bootstrap, shares = racked_kafka.bootstrap, {}
    for rack in ("", RACKS[OWN]):
        topic = fresh_name("racked")
        await create_topic(bootstrap, topic, PARTITIONS, replication_factor=3)
        settings = {"KAFKA__CLIENT_RACK": rack} if rack else {}
        async with AsyncExitStack() as stack:
            bridge = BridgeProcess("blue", [topic], bootstrap, **settings)
            await stack.enter_async_context(bridge)
            await bridge.wait_ready()
            client = RecordingClient(bridge.url, name="ann", account="ann", topics=[topic])
            await stack.enter_async_context(client)
            await asyncio.sleep(1)  # leaders name the replica in answer to a first fetch
            await produce_numbers(racked_kafka, topic, range(RECORDS))
            await wait_for_numbers(client, range(RECORDS))
            shares[rack] = await own_rack_share(racked_kafka, topic)
            if rack:
                await asyncio.to_thread(racked_kafka.kill, OWN)
                await produce_numbers(racked_kafka, topic, range(RECORDS, 2 * RECORDS))
                await wait_for_numbers(client, range(2 * RECORDS))
                await asyncio.to_thread(racked_kafka.start, OWN)
                await asyncio.to_thread(racked_kafka.wait_in_sync)
                await produce_numbers(racked_kafka, topic, range(2 * RECORDS, 3 * RECORDS))
                await wait_for_numbers(client, range(3 * RECORDS))
            assert not [frame for frame in client.frames() if frame["op"] == "gap"]
            assert await bridge.terminate() == 0
            assert "Traceback" not in bridge.stderr()
    assert shares[""] < 0.5, "leaders are spread over the racks"
    assert shares[RACKS[OWN]] > 0.6, "but for what came before the leaders named the replica"
