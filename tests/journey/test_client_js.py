"""The JavaScript client in a real Chromium: whatever happens to the bridge, the page misses nothing
and gets nothing twice.
"""

from __future__ import annotations

import asyncio
import functools
import json
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from tests.client_js.npm_project import EXAMPLES
from tests.harness.admin import RecordToProduce, create_topic, produce
from tests.harness.bridge_process import BridgeProcess
from tests.harness.ports import HOST
from tests.journey.browser import Browser, running_browser

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.harness.kafka_cluster import KafkaCluster

pytestmark = [pytest.mark.browser, pytest.mark.kafka, pytest.mark.timeout(300)]

PARTITIONS = 3


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with running_browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """The example page on an origin of its own, as an application would serve it."""
    handler = functools.partial(_Quiet, directory=str(EXAMPLES / "page"))
    with ThreadingHTTPServer((HOST, 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://{HOST}:{server.server_port}"
        server.shutdown()
        thread.join()


async def write(kafka: KafkaCluster, topic: str, numbers: range) -> None:
    records = [
        RecordToProduce(
            json.dumps({"accounts": [account], "type": "order", "data": number}).encode(),
            partition=number % PARTITIONS,
        )
        for number in numbers
        for account in ("alice", "bob")
    ]
    await produce(kafka.bootstrap, topic, records)


@pytest.mark.parametrize("transport", ["websocket", "sse"])
async def test_a_page_of_another_origin_comes_back_to_a_bridge_that_was_killed(
    browser: Browser, site: str, kafka: KafkaCluster, topic_name: str, transport: str
) -> None:
    await create_topic(kafka.bootstrap, topic_name, PARTITIONS)
    origins = json.dumps([site])
    async with BridgeProcess("c", [topic_name], kafka.bootstrap, ALLOWED_ORIGINS=origins) as bridge:
        await bridge.wait_ready()
        url = f"{site}/?bridge=http://{HOST}:{bridge.port}&account=alice"

        def numbers() -> list[int]:
            lines = browser.texts("#orders li")
            return [int(line.split()[1]) for line in lines if line.startswith("order ")]

        async def until_shown(count: int) -> None:
            await asyncio.to_thread(
                browser.wait_until, lambda: len(numbers()) >= count, f"{count} orders: {numbers()}"
            )

        def begin() -> None:
            browser.visit(f"{site}/nothing")
            browser.run_script("sessionStorage.clear()")
            browser.visit(url + ("&transport=sse" if transport == "sse" else ""))
            browser.wait_for_text("#state", "live")

        await asyncio.to_thread(begin)
        await write(kafka, topic_name, range(50))
        await until_shown(50)
        await bridge.kill()
        await asyncio.to_thread(browser.wait_for_text, "#state", "waiting")
        await write(kafka, topic_name, range(50, 100))
        bridge.start()
        await until_shown(100)
        await asyncio.to_thread(browser.wait_for_text, "#state", "live")
        await write(kafka, topic_name, range(100, 120))
        await until_shown(120)
        assert sorted(numbers()) == list(range(120))
        assert any("50 were caught up with" in line for line in browser.texts("#orders li"))

        # A tab that is loaded again goes on where it was: what it had shown does not come again.
        await write(kafka, topic_name, range(120, 121))
        await until_shown(121)

        def again() -> None:
            browser.run_script("location.reload()")
            browser.wait_for_text("#orders li", "0 were caught up with")

        await asyncio.to_thread(again)
        await write(kafka, topic_name, range(121, 131))
        await until_shown(10)
        assert sorted(numbers()) == list(range(121, 131))
