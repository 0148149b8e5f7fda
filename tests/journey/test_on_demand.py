"""Topics on demand, on bridges as operators run them: asleep while nobody is there, and no loss."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.harness.admin import RecordToProduce, create_topic, produce
from tests.harness.bridge_process import BridgeProcess
from tests.harness.ports import HOST
from tests.harness.recording_client import RecordingClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.harness.kafka_cluster import KafkaCluster

pytestmark = pytest.mark.kafka

ADMIN = "a-token-of-operators"
PATIENCE = 60.0


def said(start: int, end: int) -> list[RecordToProduce]:
    """Events for all, which say their numbers; every other one in the other partition."""
    return [
        RecordToProduce(json.dumps({"all": True, "data": n}).encode(), partition=n % 2)
        for n in range(start, end)
    ]


def heard(client: RecordingClient) -> list[int]:
    return sorted(each["data"] for each in client.events())


async def got(client: RecordingClient, count: int) -> None:
    await client.wait_until(lambda: len(client.events()) >= count)


class Bridge(BridgeProcess):
    """One whose topic is read on demand, and lingers for a second."""

    def __init__(self, name: str, topic: str, bootstrap: str) -> None:
        entry = {"name": topic, "on_demand": True, "linger_seconds": 1}
        more = {"TOPICS": json.dumps([entry]), "ADMIN_TOKENS": json.dumps([ADMIN])}
        super().__init__(name, [], bootstrap, **more)
        self._http = httpx.AsyncClient(
            base_url=f"http://{HOST}:{self.port}",
            headers={"Authorization": f"Bearer {ADMIN}"},
            trust_env=False,
            timeout=PATIENCE,
        )

    async def __aexit__(self, *why: object) -> None:
        await self._http.aclose()
        await super().__aexit__(*why)

    async def topic(self) -> dict[str, Any]:
        """What it says of the topic."""
        (it,) = (await self._http.get("/v1/topics")).json()["items"]
        return dict(it)

    async def until(self, state: str) -> dict[str, Any]:
        """Wait until it says that the topic is so."""
        async with asyncio.timeout(PATIENCE):
            while (it := await self.topic())["state"] != state:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        return it

    async def counts(self, metric: str) -> float:
        """The value of a metric that has no labels, or the sum over them."""
        lines = (await self._http.get("/metrics")).text.splitlines()
        found = [line for line in lines if line.startswith(f"push_bridge_{metric}")]
        assert found, metric
        return sum(float(line.rpartition(" ")[2]) for line in found)


@pytest.fixture
async def bridge(kafka: KafkaCluster, topic_name: str) -> AsyncIterator[Bridge]:
    await create_topic(kafka.bootstrap, topic_name, 2)
    await produce(kafka.bootstrap, topic_name, said(0, 4))
    async with Bridge("blue", topic_name, kafka.bootstrap) as bridge:
        await bridge.wait_ready()
        yield bridge
        assert await bridge.terminate() == 0
        assert "Traceback" not in bridge.stderr()


async def test_a_topic_sleeps_while_nobody_follows_it_and_nobody_misses_anything_for_it(
    bridge: Bridge, kafka: KafkaCluster, topic_name: str
) -> None:
    asleep = await bridge.topic()
    assert (asleep["state"], asleep["partitions"]) == ("asleep", [])
    assert await bridge.counts("feed_awake") == 0
    first, second = (
        RecordingClient(bridge.url, name="first"),
        RecordingClient(bridge.url, name="second"),
    )
    async with first, second:
        await produce(kafka.bootstrap, topic_name, said(4, 10))
        for each in (first, second):
            await got(each, 6)
        awake = await bridge.topic()
        assert [p["position"] for p in awake["partitions"]] == [5, 5]
        assert (awake["state"], awake["subscribers"]) == ("reading", 2)
    cursor = ",".join([first.frames()[0]["cursor"], *(each["at"] for each in first.events())])
    assert heard(first) == heard(second) == [*range(4, 10)]
    await bridge.until("asleep")

    await produce(kafka.bootstrap, topic_name, said(10, 300))
    await asyncio.sleep(2.5)
    assert (await bridge.topic())["partitions"] == []
    assert await bridge.counts("records_read_total") == 6
    assert await bridge.counts("lag") == 0

    new = RecordingClient(bridge.url, name="new", topics=[topic_name])
    back = RecordingClient(bridge.url, name="back", topics=[topic_name], cursor=cursor)
    async with new, back:
        await produce(kafka.bootstrap, topic_name, said(300, 302))
        await got(back, 292)
        await got(new, 2)
        await back.wait_for_text('"op":"live"', 1)
    assert heard(back) == [*range(10, 302)]
    assert heard(new) == [300, 301]
    assert [each["op"] for each in (*back.frames(), *new.frames()) if each["op"] == "gap"] == []


async def test_whoever_comes_just_as_it_goes_to_sleep_misses_nothing(
    bridge: Bridge, kafka: KafkaCluster, topic_name: str
) -> None:
    """Clients come and go about when it is tired; each gets what happens after its welcome."""
    for n in range(6):
        async with RecordingClient(bridge.url) as client:
            await produce(kafka.bootstrap, topic_name, said(n, n + 1))
            await client.wait_until(client.events)
            assert heard(client) == [n]
        await asyncio.sleep(0.8 + 0.4 * n)


async def test_a_cursor_of_one_bridge_resumes_on_another_where_the_topic_is_asleep(
    bridge: Bridge, kafka: KafkaCluster, topic_name: str
) -> None:
    async with RecordingClient(bridge.url) as left:
        pass
    await produce(kafka.bootstrap, topic_name, said(4, 9))
    async with Bridge("green", topic_name, kafka.bootstrap) as other:
        await other.wait_ready()
        async with RecordingClient(other.url, cursor=left.frames()[0]["cursor"]) as back:
            await back.wait_for_text('"op":"live"', 1)
        assert heard(back) == [*range(4, 9)]
        assert (await bridge.topic())["state"] in {"reading", "asleep"}
        assert await other.terminate() == 0
