"""`GET /history` end to end, on the embedded broker: one instance in this process, real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from bridge.app.access import build_kafka_access
from bridge.app.instance import Instance
from bridge.config.settings import Settings
from bridge.kafka.client.client import BrokerConnection
from bridge.kafka.client.embedded import EmbeddedBroker, EmbeddedKafkaClient
from tests.harness.admin import RecordToProduce, fresh_name, produce
from tests.harness.history_pages import ReceivedPage, read_page
from tests.harness.ports import HOST
from tests.kafka.held_replays import wait_until
from tests.kafka.history_instance import HeldFetchClient, data
from tests.web.publish_api import check_problem
from tests.web.websocket_client import WebSocketClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bridge.kafka.client.client import KafkaAccess


class Cluster(HeldFetchClient, EmbeddedKafkaClient):
    """The embedded broker, which a test may hold up."""


class Bridge:
    """An instance of `orders` on a broker of its own, and what a client does with it."""

    cluster: Cluster
    instance: Instance

    def __init__(self, broker: EmbeddedBroker, port: int, http: httpx.AsyncClient) -> None:
        self.bootstrap = broker.bootstrap_servers
        self.port = port
        self.http = http

    async def put(self, *records: tuple[int, dict[str, Any]], time: int) -> None:
        """Write envelopes into partitions of `orders`, a millisecond apart."""
        written = [
            RecordToProduce(
                json.dumps(envelope).encode(), partition=partition, timestamp_ms=time + n
            )
            for n, (partition, envelope) in enumerate(records)
        ]
        await produce(self.bootstrap, "orders", written, enable_idempotence=False)

    async def page(self, **parameters: Any) -> ReceivedPage:
        answer = await self.http.get("/history", params=parameters)
        assert answer.status_code == 200, answer.text
        return read_page(answer.content)

    async def pages(self, **parameters: Any) -> list[ReceivedPage]:
        """Page on to the end."""
        found = [await self.page(**parameters)]
        while found[-1].more:
            parameters = {**parameters, "cursor": found[-1].cursor}
            parameters.pop("since", None)
            found.append(await self.page(**parameters))
        return found

    def connect(self, query: str) -> WebSocketClient:
        return WebSocketClient(f"ws://{HOST}:{self.port}/ws?{query}")


@contextlib.asynccontextmanager
async def serving(broker: EmbeddedBroker, topics: list[Any], **more: Any) -> AsyncIterator[Bridge]:
    """Run an instance with authentication off."""
    servers = {"bootstrap_servers": broker.bootstrap_servers}
    settings = Settings(topics=topics, auth={"mode": "none"}, kafka=servers, **more)
    listening = socket.create_server((HOST, 0))
    url = f"http://{HOST}:{listening.getsockname()[1]}"
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as http:
        bridge = Bridge(broker, listening.getsockname()[1], http)

        def cluster(access: KafkaAccess) -> Cluster:
            bridge.cluster = Cluster(access)
            return bridge.cluster

        reach = build_kafka_access(settings.kafka, may_create_topics=True, fetch_wait_ms=10)
        bridge.instance = instance = Instance(settings, access=reach, client_factory=cluster)
        ready = asyncio.Event()
        running = asyncio.create_task(instance.run(listening, on_ready=ready.set))
        try:
            await wait_until(lambda: ready.is_set() or running.done())
            yield bridge
        finally:
            instance._server.should_exit = True
            await running


def story(n: int) -> tuple[int, dict[str, Any]]:
    audience: dict[str, Any] = [{"accounts": ["alice"]}, {"rooms": ["r"]}, {"accounts": ["bob"]}][
        n % 3
    ]
    return n % 4, {**audience, "type": f"kind.{n % 2}", "data": n}


async def test_a_client_pages_through_its_past_and_goes_on_live() -> None:
    broker = EmbeddedBroker(["orders"])
    now = int(time.time() * 1000) - 60_000
    async with serving(broker, ["orders"], replay={"warm_seconds": 0}) as bridge:
        await bridge.put(*map(story, range(400)), time=now)
    async with serving(broker, ["orders"], replay={"warm_seconds": 0}) as bridge:
        await bridge.put(*map(story, range(400, 700)), time=now + 400)
        mine = [n for n in range(700) if n % 3 < 2]
        turned = await bridge.pages(account="alice", rooms="r", limit=90)
        assert data(turned) == mine
        assert {len(page.events) for page in turned[:-1]} == {90}
        assert data(await bridge.pages(account="alice")) == [*range(0, 700, 3)]
        assert data(await bridge.pages(account="bob", types="kind.1", limit=1000)) == [
            n for n in range(700) if n % 3 == 2 and n % 2
        ]
        async with bridge.connect(f"account=alice&rooms=r&cursor={turned[2].cursor}") as client:
            await client.expect("welcome")
            came = [(await client.expect("event"))["data"] for _ in mine[270:]]
            assert sorted(came) == mine[270:]
            live = await client.expect("live")
        assert (await bridge.page(account="alice", rooms="r", cursor=live["cursor"])).events == []


async def test_since_a_time() -> None:
    broker = EmbeddedBroker(["orders"])
    now = int(time.time() * 1000) // 1000 * 1000 - 60_000
    async with serving(broker, ["orders"]) as bridge:
        await bridge.put(*map(story, range(40)), time=now)
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 1000)) + ".020Z"
        turned = await bridge.pages(account="alice", rooms="r", since=when, limit=7)
        assert data(turned) == [n for n in range(20, 40) if n % 3 < 2]


async def test_what_was_published_just_now_is_in_it() -> None:
    broker = EmbeddedBroker(["orders"])
    async with serving(broker, ["orders"], admin_tokens=["an-admin-token-of-the-tests"]) as bridge:
        for n in range(20):
            event = {"topic": "orders", "accounts": ["alice"], "data": n}
            bearer = {"Authorization": "Bearer an-admin-token-of-the-tests"}
            answer = await bridge.http.post("/v1/events", json=event, headers=bearer)
            assert answer.status_code == 202
            assert data([await bridge.page(account="alice")]).count(n) == 1


async def test_a_large_page_arrives_whole() -> None:
    broker = EmbeddedBroker(["orders"])
    async with serving(broker, ["orders"]) as bridge:
        texts = [str(n) * 150_000 for n in range(5)]
        now = int(time.time() * 1000) - 1000
        await bridge.put(*((0, {"all": True, "data": text}) for text in texts), time=now)
        assert data([await bridge.page()]) == texts


async def test_for_a_client_that_goes_away_kafka_is_not_read_any_more() -> None:
    broker = EmbeddedBroker(["orders"])
    now = int(time.time() * 1000) - 60_000
    async with serving(broker, ["orders"], replay={"warm_seconds": 0}) as bridge:
        await bridge.put(*map(story, range(40)), time=now)
    replay = {"warm_seconds": 0, "passes": 1}
    async with serving(broker, ["orders"], replay=replay) as bridge:
        bridge.cluster.hold(BrokerConnection.HISTORY)
        _, writer = await asyncio.open_connection(HOST, bridge.port)
        writer.write(b"GET /history?account=alice HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await bridge.cluster.wait_until_held()
        writer.close()
        await bridge.cluster.wait_until_free()
        fetched = len(bridge.cluster.fetched_offsets)
        bridge.cluster.release()
        assert len((await bridge.page(account="alice")).events) == 14, "it has the turn"
        assert len(bridge.cluster.fetched_offsets) > fetched


async def test_an_instance_that_drains_keeps_nobody_waiting() -> None:
    broker = EmbeddedBroker(["orders"])
    async with serving(broker, ["orders"], replay={"warm_seconds": 0}) as bridge:
        await bridge.put(*map(story, range(40)), time=int(time.time() * 1000) - 60_000)
    async with serving(broker, ["orders"], replay={"warm_seconds": 0}) as bridge:
        bridge.cluster.hold(BrokerConnection.HISTORY)
        asking = asyncio.create_task(bridge.http.get("/history", params={"account": "alice"}))
        await bridge.cluster.wait_until_held()
        bridge.instance._web.pool.drain_started.set()
        check_problem(await asking, 503)


@pytest.mark.parametrize("query", ["limit=0", "topics=", "cursor=nonsense"])
async def test_a_bad_request_is_a_400(query: str) -> None:
    async with serving(EmbeddedBroker(["orders"]), ["orders", fresh_name()]) as bridge:
        check_problem(await bridge.http.get(f"/history?{query}"), 400)
