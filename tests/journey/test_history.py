"""`GET /history` of bridges as operators run them, on a real broker."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.harness.admin import RecordToProduce, create_topic, fresh_name, produce
from tests.harness.bridge_process import BridgeProcess
from tests.harness.history_pages import ReceivedPage, read_page
from tests.harness.kafka_cluster import KafkaCluster
from tests.harness.ports import HOST, free_ports
from tests.web.publish_api import check_problem
from tests.web.token_signing import SECRET, sign_token
from tests.web.websocket_client import WebSocketClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.kafka

PARTITIONS = 4
COUNT = 4000
ADMIN = "a-token-of-operators"


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False, timeout=120) as client:
        yield client


def story(n: int) -> dict[str, Any]:
    audience: dict[str, Any] = {"accounts": ["alice"]} if n % 10 else {"rooms": ["r"]}
    return {**({"accounts": ["bob"]} if n % 3 else audience), "data": n}


def records(start: int, end: int) -> list[RecordToProduce]:
    return [
        RecordToProduce(json.dumps(story(n)).encode(), partition=n * n % PARTITIONS)
        for n in range(start, end)
    ]


async def get(http: httpx.AsyncClient, bridge: BridgeProcess, **asked: Any) -> httpx.Response:
    """Ask as alice, by her token."""
    return await http.get(
        f"http://{HOST}:{bridge.port}/history",
        params=asked,
        headers={"Authorization": f"Bearer {sign_token(rooms=['r'])}"},
    )


async def page(http: httpx.AsyncClient, bridge: BridgeProcess, **asked: Any) -> ReceivedPage:
    answer = await get(http, bridge, **asked)
    assert answer.status_code == 200, answer.text
    return read_page(answer.content)


def data(turned: list[ReceivedPage]) -> list[Any]:
    return [event["data"] for each in turned for event in each.events]


TOKENS = {"AUTH__MODE": "jwt", "AUTH__SECRET": SECRET, "ADMIN_TOKENS": json.dumps([ADMIN])}
COLD = {"REPLAY__WARM_SECONDS": "0"}


async def test_a_client_pages_on_at_any_instance_and_then_connects_to_one(
    kafka: KafkaCluster, topic_name: str, http: httpx.AsyncClient
) -> None:
    await create_topic(kafka.bootstrap, topic_name, PARTITIONS)
    await produce(kafka.bootstrap, topic_name, records(0, COUNT))
    mine = {n for n in range(COUNT + 500) if n % 3 == 0}
    async with AsyncExitStack() as stack:
        bridges = [
            await stack.enter_async_context(
                BridgeProcess(name, [topic_name], kafka.bootstrap, **TOKENS, **more)
            )
            for name, more in (("blue", COLD), ("green", {}))
        ]
        for bridge in bridges:
            await bridge.wait_ready()
        await produce(kafka.bootstrap, topic_name, records(COUNT, COUNT + 500))
        turned = [await page(http, bridges[0], rooms="r", limit=150)]
        while turned[-1].more and len(turned) < 8:
            bridge = bridges[len(turned) % 2]
            turned.append(await page(http, bridge, rooms="r", limit=150, cursor=turned[-1].cursor))
        assert [len(each.events) for each in turned] == [150] * 8
        times = [event["time"] for each in turned for event in each.events]
        assert times == sorted(times)
        query = f"rooms=r&token={sign_token(rooms=['r'])}&cursor={turned[-1].cursor}"
        async with WebSocketClient(f"{bridges[0].url}?{query}") as client:
            await client.expect("welcome")
            rest = [(await client.expect("event"))["data"] for _ in range(len(mine) - 1200)]
            await client.expect("live")
    assert sorted(data(turned) + rest) == sorted(mine)


async def test_what_a_page_may_read_is_bounded_and_counted(
    kafka: KafkaCluster, topic_name: str, http: httpx.AsyncClient
) -> None:
    await create_topic(kafka.bootstrap, topic_name, PARTITIONS)
    await produce(kafka.bootstrap, topic_name, records(0, COUNT))
    bounded = {**TOKENS, **COLD, "REPLAY__MAX_RECORDS": "300"}
    async with BridgeProcess("blue", [topic_name], kafka.bootstrap, **bounded) as bridge:
        await bridge.wait_ready()
        turned = [await page(http, bridge, rooms="r", limit=1000)]
        while turned[-1].more:
            turned.append(await page(http, bridge, rooms="r", cursor=turned[-1].cursor, limit=1000))
        metrics = (await http.get(f"http://{HOST}:{bridge.port}/metrics")).text
    assert sorted(data(turned)) == [n for n in range(COUNT) if n % 3 == 0]
    assert len(turned) >= COUNT / 300
    (line,) = [s for s in metrics.splitlines() if "replay_records_read_total " in s and s[0] != "#"]
    assert COUNT <= float(line.split()[1]) <= 300 * len(turned)


async def test_operators_ask_for_anybodys_past_at_their_own_port_only(
    kafka: KafkaCluster, topic_name: str, http: httpx.AsyncClient
) -> None:
    await create_topic(kafka.bootstrap, topic_name, PARTITIONS)
    (admin_port,) = free_ports(1)
    settings = {**TOKENS, "ADMIN_PORT": str(admin_port)}
    async with BridgeProcess("blue", [topic_name], kafka.bootstrap, **settings) as bridge:
        await bridge.wait_ready()
        await produce(kafka.bootstrap, topic_name, records(0, 30))
        bearer = {"Authorization": f"Bearer {ADMIN}"}

        async def ask(port: int, **asked: str) -> httpx.Response:
            url = f"http://{HOST}:{port}/history"
            return await http.get(url, params=asked, headers=bearer)

        answer = await ask(admin_port, account="bob", rooms="r")
        bobs = [n for n in range(30) if n % 3 or n % 10 == 0]
        assert sorted(data([read_page(answer.content)])) == bobs
        check_problem(await ask(bridge.port, account="bob"), 400)
        check_problem(await ask(bridge.port), 401)
        check_problem(await get(http, bridge, rooms="r,s"), 403)
        assert data([await page(http, bridge, rooms="r", topics=topic_name, limit=1000)])


async def test_while_kafka_is_away_it_is_a_503_and_then_it_is_told_again(
    http: httpx.AsyncClient,
) -> None:
    topic = fresh_name()
    with KafkaCluster() as own:
        await create_topic(own.bootstrap, topic, PARTITIONS)
        await produce(own.bootstrap, topic, records(0, 60))
        settings = {**TOKENS, **COLD, "REPLAY__WAIT_SECONDS": "2"}
        async with BridgeProcess("blue", [topic], own.bootstrap, **settings) as bridge:
            await bridge.wait_ready()
            first = await page(http, bridge, limit=5)
            await asyncio.to_thread(own.kill, 0)
            answer = await get(http, bridge, cursor=first.cursor)
            assert "Kafka" in check_problem(answer, 503)["detail"]
            assert int(answer.headers["retry-after"]) >= 1
            await asyncio.to_thread(own.start, 0)
            async with asyncio.timeout(60):
                while (await get(http, bridge, cursor=first.cursor)).status_code == 503:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            rest = await page(http, bridge, cursor=first.cursor)
            alices = [n for n in range(60) if n % 3 == 0 and n % 10]
            assert sorted(data([first, rest])) == alices
