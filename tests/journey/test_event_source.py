"""An `EventSource` of a real Chromium, left to itself: whatever happens to the bridges, it misses
nothing and gets nothing twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import defaultdict
from typing import TYPE_CHECKING

import pytest

from tests.harness.admin import RecordToProduce, create_topic, produce
from tests.harness.bridge_process import BridgeProcess
from tests.harness.ports import HOST
from tests.journey.browser import Browser, running_browser
from tests.journey.compose_stack import BRIDGES, NginxProcess
from tests.journey.event_source_page import CONNECTING, OPEN, open_event_source

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.harness.kafka_cluster import KafkaCluster
    from tests.journey.event_source_page import EventSourcePage

pytestmark = [pytest.mark.browser, pytest.mark.kafka, pytest.mark.timeout(300)]

PARTITIONS = 3


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with running_browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


class Producer:
    """Writes numbered events for alice, and as many for somebody else."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._bootstrap, self._topic = bootstrap, topic
        self.written = 0

    async def write(self, count: int) -> None:
        records = []
        for number in range(self.written, self.written + count):
            for account in "alice", "bob":
                value = json.dumps({"accounts": [account], "data": number}).encode()
                records.append(RecordToProduce(value, partition=number % PARTITIONS))
        await produce(self._bootstrap, self._topic, records)
        self.written += count

    async def goes_on(self, count: int) -> None:
        """Wait until so many more are written."""
        until = self.written + count
        while self.written < until:  # noqa: ASYNC110 - it is `all_the_while` that writes
            await asyncio.sleep(0.02)

    @contextlib.asynccontextmanager
    async def all_the_while(self) -> AsyncIterator[None]:
        """Write a few at a time until the end of this."""
        enough = asyncio.Event()

        async def run() -> None:
            while not enough.is_set():
                await self.write(5)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(run())
            try:
                yield
            finally:
                enough.set()


async def check(page: EventSourcePage, written: int) -> None:
    """Every event came once and in order, as the browser gave them to the page."""
    events = await page.wait_for_frames("event", written)
    assert sorted(event["data"] for event in events) == list(range(written))
    offsets = defaultdict(list)
    for event in events:
        _, partition, offset = event["at"].split(":")
        offsets[partition].append(int(offset))
    assert len(offsets) == PARTITIONS
    for found in offsets.values():
        assert found == sorted(found)
    assert await page.frames("gap") == []
    assert await page.evaluate("source.readyState") == OPEN


async def test_a_bridge_that_is_killed_and_started_again_is_come_back_to(
    browser: Browser, kafka: KafkaCluster, topic_name: str
):
    await create_topic(kafka.bootstrap, topic_name, PARTITIONS)
    producer = Producer(kafka.bootstrap, topic_name)
    async with BridgeProcess("killed", [topic_name], kafka.bootstrap) as bridge:
        await bridge.wait_ready()
        page = await open_event_source(
            browser, f"http://{HOST}:{bridge.port}", "/events?account=alice"
        )
        await page.wait_for_frames("welcome", 1)
        for times in (1, 2):
            async with producer.all_the_while():
                await page.wait_for_frames("event", producer.written + 30)
                await bridge.kill()
                await page.wait_for_condition(f"doors.at(-1) === {CONNECTING}")
                await producer.goes_on(40)
                bridge.start()
                await page.wait_for_frames("live", times)
            await page.wait_for_frames("event", producer.written)
        await check(page, producer.written)
        assert all(live["replayed"] >= 40 for live in await page.frames("live"))


async def test_a_bridge_that_comes_up_before_its_kafka_loses_no_browser(
    browser: Browser, kafka: KafkaCluster, topic_name: str
):
    await create_topic(kafka.bootstrap, topic_name, PARTITIONS)
    producer = Producer(kafka.bootstrap, topic_name)
    async with BridgeProcess("early", [topic_name], kafka.bootstrap) as bridge:
        await bridge.wait_ready()
        page = await open_event_source(
            browser, f"http://{HOST}:{bridge.port}", "/events?account=alice"
        )
        await page.wait_for_frames("welcome", 1)
        await producer.write(10)
        await page.wait_for_frames("event", 10)
        await bridge.kill()
        nowhere = {"BRIDGE_KAFKA__BOOTSTRAP_SERVERS": f"{HOST}:1"}
        bridge.start(**nowhere)
        (closing, *_) = await page.wait_for_frames("closing", 1)
        assert (closing["code"], closing["reconnect"]) == (4006, True)
        await bridge.kill()
        await producer.write(10)
        bridge.start()
        await page.wait_for_frames("live", 1)
        await check(page, 20)


@pytest.mark.nginx
async def test_behind_nginx_another_instance_takes_over(
    browser: Browser, kafka: KafkaCluster, topic_name: str, tmp_path: Path
):
    await create_topic(kafka.bootstrap, topic_name, PARTITIONS)
    producer = Producer(kafka.bootstrap, topic_name)
    async with contextlib.AsyncExitStack() as stack:
        bridges = {
            name: await stack.enter_async_context(
                BridgeProcess(name, [topic_name], kafka.bootstrap)
            )
            for name in BRIDGES
        }
        for bridge in bridges.values():
            await bridge.wait_ready()
        upstreams = {f"{name}:8080": f"{HOST}:{bridge.port}" for name, bridge in bridges.items()}
        nginx = await stack.enter_async_context(NginxProcess(tmp_path, upstreams))
        url = "/events?account=alice"
        page = await open_event_source(browser, f"http://{nginx.address}", url)
        (welcome,) = await page.wait_for_frames("welcome", 1)
        first = welcome["instance"]
        async with producer.all_the_while():
            await page.wait_for_frames("event", 30)
            await bridges[first].kill()
            await page.wait_for_frames("live", 1)
            second = (await page.frames("welcome"))[-1]["instance"]
            assert second != first
            # Then both are away, and nginx alone answers.
            await bridges[second].kill()
            await page.wait_for_condition(f"doors.at(-1) === {CONNECTING} && doors.push('noted')")
            await page.wait_for_condition(
                "doors.slice(doors.lastIndexOf('noted')).includes('open')"
            )
            await producer.goes_on(20)
            bridges[first].start()
            await page.wait_for_frames("live", 2)
            # One that is told to leave says so, and it is the other that is come back to.
            bridges[second].start()
            await bridges[second].wait_ready()
            await bridges[first].terminate()
            await page.wait_for_frames("live", 3)
        await page.wait_for_frames("event", producer.written)
        *of_nginx, closing = await page.frames("closing")
        assert {(each["code"], each["reconnect"]) for each in of_nginx} == {(4006, True)}
        assert (closing["code"], closing["reconnect"]) == (4001, True)
        assert (await page.frames("welcome"))[-1]["instance"] == second
        await check(page, producer.written)
        assert "account=" not in nginx.read_log()
