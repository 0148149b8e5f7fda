"""The demo's topology without containers: real Kafka, two bridges, and nginx as compose starts it.

The bridges have the settings of `compose.yaml`, the tokens come from its `sign.py`, and the proxy
has its `nginx.conf`: only addresses differ.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import pytest
from aiokafka.errors import TopicAlreadyExistsError
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.harness.admin import RecordToProduce, create_topic, produce
from tests.harness.bridge_process import BridgeProcess
from tests.harness.event_stream_parser import EventStreamParser
from tests.harness.frame_schemas import read_frame
from tests.harness.ports import HOST, free_ports
from tests.journey.compose_stack import (
    BRIDGES,
    COMPOSE_FOLDER,
    TIMEOUT_SECONDS,
    NginxProcess,
    bridge_settings,
    signed_token,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.harness.kafka_cluster import KafkaCluster

pytestmark = [pytest.mark.nginx, pytest.mark.kafka]

TOPIC = "demo"
PARTITIONS = 4
CLIENTS = 12
RETRY_SECONDS = 0.05


class Stack(NamedTuple):
    """What runs."""

    kafka: str
    bridges: dict[str, BridgeProcess]
    nginx: NginxProcess

    def client(self, query: str, **more: Any) -> connect:
        url = f"ws://{self.nginx.address}/ws?{query}"
        return connect(url, proxy=None, compression=None, open_timeout=TIMEOUT_SECONDS, **more)

    async def send(self, **envelope: object) -> None:
        await produce(self.kafka, TOPIC, [RecordToProduce(json.dumps(envelope).encode())])

    async def comes_back(self, query: str, client: AsyncExitStack) -> tuple[Any, str]:
        """Connect until somebody welcomes; return the connection and the instance."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while True:
                with contextlib.suppress(OSError, InvalidStatus, ConnectionClosed):
                    connection = await client.enter_async_context(self.client(query))
                    first = read_frame(await connection.recv())
                    if first["op"] == "welcome":
                        return connection, first["instance"]
                await asyncio.sleep(RETRY_SECONDS)

    async def takes_in(self, query: str, instance: str) -> None:
        """Connect anew until this instance is the one."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while True:
                async with AsyncExitStack() as client:
                    if (await self.comes_back(query, client))[1] == instance:
                        return
                await asyncio.sleep(RETRY_SECONDS)

    def logs(self) -> dict[str, str]:
        told = {name: bridge.stderr() for name, bridge in self.bridges.items()}
        return {"nginx": self.nginx.read_log(), **told}


async def running(kafka: KafkaCluster, folder: Path, **more: str) -> AsyncIterator[Stack]:
    with contextlib.suppress(TopicAlreadyExistsError):
        await create_topic(kafka.bootstrap, TOPIC, PARTITIONS)
    async with AsyncExitStack() as stack:
        bridges = {}
        for name in BRIDGES:
            said = {key.removeprefix("BRIDGE_"): it for key, it in bridge_settings(name).items()}
            proxies = [*json.loads(said["TRUSTED_PROXIES"]), HOST]
            here = {
                "KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap,
                "ADMIN_PORT": str(free_ports(1)[0]),
                "TRUSTED_PROXIES": json.dumps(proxies),
                "AUTH__MODE": "jwt",
            }
            own = {key: it for key, it in said.items() if key not in {"INSTANCE", "TOPICS"}}
            process = BridgeProcess(name, [TOPIC], kafka.bootstrap, **{**own, **here, **more})
            bridges[name] = await stack.enter_async_context(process)
        for bridge in bridges.values():
            await bridge.wait_ready()
        upstreams = {f"{name}:8080": f"{HOST}:{bridge.port}" for name, bridge in bridges.items()}
        nginx = await stack.enter_async_context(NginxProcess(folder, upstreams))
        yield Stack(kafka.bootstrap, bridges, nginx)


@pytest.fixture
async def stack(kafka: KafkaCluster, tmp_path: Path) -> AsyncIterator[Stack]:
    async for each in running(kafka, tmp_path):
        yield each


@pytest.fixture
async def strict_stack(kafka: KafkaCluster, tmp_path: Path) -> AsyncIterator[Stack]:
    async for each in running(kafka, tmp_path, LIMITS__CONNECTIONS_PER_ADDRESS="1"):
        yield each


async def frame(client: Any, op: str) -> dict[str, Any]:
    """The next frame of `op`."""
    while True:
        found: dict[str, Any] = read_frame(await client.recv())
        if found["op"] == op:
            return found


async def test_events_come_to_clients_through_nginx_whichever_instance_they_are_on(
    stack, topic_name
):
    accounts = [f"{topic_name}-{number}" for number in range(CLIENTS)]
    async with AsyncExitStack() as clients:
        homes = {}
        for account in accounts:
            client = await clients.enter_async_context(
                stack.client(f"token={signed_token(account)}")
            )
            homes[account] = client, (await frame(client, "welcome"))["instance"]
        assert {instance for _, instance in homes.values()} == set(BRIDGES)
        for account in accounts:
            await stack.send(accounts=[account], data=account)
        await stack.send(accounts=accounts, data="all of you")
        for account, (client, _) in homes.items():
            assert (await frame(client, "event"))["data"] == account
            # The next one is for everybody here: nobody has got what was for another.
            assert (await frame(client, "event"))["data"] == "all of you"


async def test_the_demos_producer_writes_what_its_account_gets(stack, tmp_path):
    sign = f"token={signed_token('alice', 'news')}&rooms=news"
    acknowledged = tmp_path / "acknowledged"
    async with stack.client(sign) as client:
        await frame(client, "welcome")
        producer = await asyncio.create_subprocess_exec(
            sys.executable,
            str(COMPOSE_FOLDER / "produce.py"),
            str(acknowledged),
            env={"BRIDGE_KAFKA__BOOTSTRAP_SERVERS": stack.kafka},
        )
        try:
            reasons = {(await frame(client, "event"))["to"] for _ in range(3)}
        finally:
            producer.terminate()
            await producer.wait()
    assert reasons == {"account", "room:news", "all"}
    assert acknowledged.exists()


async def test_when_an_instance_is_killed_its_clients_come_back_to_the_other(stack, topic_name):
    query = f"token={signed_token(topic_name)}"
    async with AsyncExitStack() as clients:
        homes = [await stack.comes_back(query, clients) for _ in range(CLIENTS)]
        gone, left = BRIDGES
        await stack.bridges[gone].kill()
        for client, instance in homes:
            if instance == gone:
                with pytest.raises(ConnectionClosed):
                    await frame(client, "closing")
                again, home = await stack.comes_back(query, clients)
                assert home == left
                await stack.send(accounts=[topic_name], data="after")
                assert (await frame(again, "event"))["data"] == "after"
                break
        else:
            pytest.fail("nobody was on the instance that was killed")
        stack.bridges[gone].start()
        await stack.bridges[gone].wait_ready()
        await stack.takes_in(query, gone)
    assert " 502 " not in stack.nginx.read_log()


async def test_a_drain_is_told_through_nginx_and_the_client_goes_to_the_other(stack, topic_name):
    query = f"token={signed_token(topic_name)}"
    async with AsyncExitStack() as clients:
        client, home = await stack.comes_back(query, clients)
        ending = asyncio.create_task(stack.bridges[home].terminate())
        assert (await frame(client, "closing"))["code"] == 4001
        with pytest.raises(ConnectionClosed) as closed:
            await client.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4001
        assert (await stack.comes_back(query, clients))[1] != home
        assert await ending == 0


async def frames(
    answer: httpx.Response, source: EventStreamParser
) -> AsyncIterator[dict[str, Any]]:
    """The frames of an event stream, less heartbeats."""
    async for received in answer.aiter_bytes():
        for event in source.feed(received):
            if (found := read_frame(event.data))["op"] != "heartbeat":
                yield found


async def test_event_streams_come_through_nginx_and_go_over_to_the_other_instance(
    stack, topic_name
):
    url, source = f"http://{stack.nginx.address}/events", EventStreamParser()
    headers = {"Authorization": f"Bearer {signed_token(topic_name)}"}
    async with httpx.AsyncClient(trust_env=False, timeout=TIMEOUT_SECONDS, headers=headers) as http:
        async with http.stream("GET", url) as answer:
            told = frames(answer, source)
            home = (await anext(told))["instance"]
            await stack.send(accounts=[topic_name], data="live")
            assert (await anext(told))["data"] == "live"
            ending = asyncio.create_task(stack.bridges[home].terminate())
            assert [each["code"] async for each in told] == [4001]
        await stack.send(accounts=[topic_name], data="missed")
        back = {"Last-Event-ID": source.last_event_id}
        source.connect()
        async with http.stream("GET", url, headers=back) as answer:
            told = frames(answer, source)
            assert (await anext(told))["instance"] != home
            # Replayed where this instance had read it by then, else right after `live`.
            both = {each["op"]: each for each in (await anext(told), await anext(told))}
            assert both["event"]["data"] == "missed"
            assert both["live"]["replayed"] == (next(iter(both)) == "event")
        assert await ending == 0


async def test_no_token_is_in_any_log_whatever_went_wrong(stack, topic_name):
    right, wrong = signed_token(topic_name), "eyJ.not-a-token-but-as-secret.as-one"
    async with httpx.AsyncClient(trust_env=False, timeout=TIMEOUT_SECONDS) as http:
        site = f"http://{stack.nginx.address}"
        async with stack.client(f"token={right}") as client:
            await frame(client, "welcome")
        async with stack.client(f"token={wrong}") as client:
            assert (await frame(client, "closing"))["code"] == 4500
        with pytest.raises(InvalidStatus):
            await stack.client(f"token={right}&nonsense=1")
        referer = {"Referer": f"{site}/?token={right}", "Authorization": f"Bearer {right}"}
        for path in ("/ws", "/nowhere", "/readyz"):
            await http.get(f"{site}{path}", params={"token": right}, headers=referer)
        async with http.stream("GET", f"{site}/events?token={right}", headers=referer) as stream:
            await anext(stream.aiter_bytes())
        assert (await http.get(f"{site}/events", params={"token": wrong})).status_code == 401
        for bridge in stack.bridges.values():
            await bridge.kill()
        # What nginx says of an upstream that is gone has the whole request in it, by default.
        for path in ("/ws", "/events"):
            assert (await http.get(site + path, params={"token": right})).status_code == 502
        too_long = await http.get(f"{site}/ws", params={"token": right, "cursor": "c" * 40_000})
        assert too_long.status_code == 414
    told = stack.logs()
    assert told["nginx"].count(" /ws ") >= 5, told["nginx"]
    assert told["nginx"].count(" /events ") == 3, told["nginx"]
    assert " 502 " in told["nginx"]
    for name, log in told.items():
        for secret in (right, right.rpartition(".")[2], wrong):
            assert secret not in log, name
        assert "token=" not in log, name


async def test_a_client_can_not_say_that_it_comes_from_elsewhere(strict_stack, topic_name):
    query = f"token={signed_token(topic_name)}"
    async with AsyncExitStack() as clients:
        for _ in BRIDGES:  # one from this address fills each of them
            await strict_stack.comes_back(query, clients)
        elsewhere = {"X-Forwarded-For": "203.0.113.7"}
        async with strict_stack.client(query, additional_headers=elsewhere) as client:
            assert read_frame(await client.recv()).get("code") == 4006
        async with strict_stack.client(query, local_addr=("127.0.0.2", 0)) as client:
            assert read_frame(await client.recv())["op"] == "welcome"
