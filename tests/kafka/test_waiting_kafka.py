"""Contract 2, section 0, on a real Kafka: a broker of three dies, and with it some partitions.

The whole bridge as a process, and clients of it over sockets.
"""

from __future__ import annotations

import asyncio
import contextlib

import httpx
import pytest
import websockets

from bridge.kafka.client.client import REQUEST_ERRORS, KafkaAccess, KafkaClient
from tests.harness.admin import RecordToProduce, create_topic, fresh_name, produce
from tests.harness.bridge_process import BridgeProcess
from tests.harness.kafka_cluster import KafkaCluster
from tests.kafka.headless_instance import envelope

pytestmark = pytest.mark.kafka

PARTITIONS = 6


async def lost_partitions(bootstrap: str, topic: str) -> list[int]:
    client = KafkaClient(KafkaAccess(bootstrap, {"client_id": "test"}))
    await client.connect()
    try:
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(*REQUEST_ERRORS):  # it may have asked the dead one
                    leaders = (await client.describe_topics([topic]))[topic].leaders
                    if lost := sorted(number for number, node in leaders.items() if node < 0):
                        return lost
                await asyncio.sleep(0.5)
    finally:
        await client.close()


async def get(bridge: BridgeProcess, path: str) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
        return await http.get(f"http://127.0.0.1:{bridge.port}{path}")


async def test_an_instance_starts_serves_and_catches_up_without_one_of_three_brokers() -> None:
    topic = fresh_name()
    with KafkaCluster(3) as three:
        await create_topic(three.bootstrap, topic, PARTITIONS, replication_factor=1)
        records = [RecordToProduce(envelope(n), partition=n % PARTITIONS) for n in range(60)]
        await produce(three.bootstrap, topic, records)
        three.kill(2)
        lost = await lost_partitions(three.bootstrap, topic)
        waiting = [f"{topic}:{number}" for number in lost]
        async with BridgeProcess("i1", [topic], three.bootstrap) as bridge:
            await bridge.wait_ready()
            ready = (await get(bridge, "/readyz")).json()
            assert (ready["status"], ready["waiting"]) == ("ready", waiting)
            page = (await get(bridge, f"/history?topics={topic}&limit=1000")).json()
            assert page["waiting"] == waiting
            assert len(page["events"]) == 10 * (PARTITIONS - len(lost))
            url = f"{bridge.url}?topics={topic}&since=2020-01-01T00:00:00Z"
            async with websockets.connect(url, proxy=None) as socket, asyncio.timeout(120):
                await read_until_live(socket, waiting, 10 * (PARTITIONS - len(lost)))
                await asyncio.to_thread(three.start, 2)
                await read_until_live(socket, None, 10 * len(lost))
            again = (await get(bridge, f"/history?topics={topic}&cursor={page['cursor']}")).json()
            assert len(again["events"]) == 10 * len(lost)
            assert "waiting" not in (await get(bridge, "/readyz")).json()


async def read_until_live(
    socket: websockets.ClientConnection, waiting: list[str] | None, event_count: int
) -> None:
    """Read frames up to `live`, and check what came until then."""
    events: dict[str, list[int]] = {}
    async for text in socket:
        frame = httpx.Response(200, content=text).json()
        if frame["op"] == "event":
            _, partition, offset = frame["at"].split(":")
            events.setdefault(partition, []).append(int(offset))
        assert frame["op"] != "gap", frame
        if frame["op"] == "live":
            assert frame.get("waiting") == waiting
            break
    assert sum(map(len, events.values())) == event_count
    assert all(offsets == sorted(offsets) for offsets in events.values())
