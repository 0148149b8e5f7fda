"""Who may use the API, and on which port: asked of the API alone, and of a whole instance."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from bridge.app.access import build_kafka_access
from bridge.app.instance import Instance
from bridge.config.settings import Settings
from bridge.kafka.client.embedded import EmbeddedBroker
from tests.web.in_process_bridge import HOST, wait_until
from tests.web.publish_api import BEARER, TOKEN, check_problem, publish_api
from tests.web.token_signing import SECRET, sign_token
from tests.web.websocket_client import WebSocketClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.web.publish_api import PublishApiClient

EVENT = {"topic": "orders", "accounts": ["alice"]}


@pytest.fixture
async def at() -> AsyncIterator[PublishApiClient]:
    async with publish_api() as opened:
        yield opened


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"Authorization": ""},
        {"Authorization": TOKEN},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": f"Bearer {TOKEN[:-1]}"},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": f"Bearer {TOKEN.upper()}"},
        {"Authorization": b"Bearer \xff\xfe"},
    ],
    ids=str,
)
async def test_without_an_admin_token_it_is_a_401(at: PublishApiClient, header: Any) -> None:
    answer = await at.post(EVENT, headers=header)
    check_problem(answer, 401)
    assert answer.headers["www-authenticate"] == "Bearer"
    assert at.publisher.records == []


async def test_any_of_the_admin_tokens_will_do() -> None:
    async with publish_api("first", "second") as at:
        for token in ("first", "second"):
            header = {"Authorization": f"bearer {token}"}
            assert (await at.post(EVENT, headers=header)).status_code == 202


async def test_a_token_in_the_query_is_none(at: PublishApiClient) -> None:
    check_problem(await at.post(EVENT, headers={}, params={"token": TOKEN}), 401)


async def test_another_method_is_a_405(at: PublishApiClient) -> None:
    for method in ("GET", "PUT", "DELETE", "PATCH"):
        answer = await at.http.request(method, "/v1/events", headers=BEARER)
        check_problem(answer, 405)
        assert answer.headers["allow"] == "POST"


async def test_no_admin_token_is_in_any_log(
    at: PublishApiClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await at.post(EVENT)
    await at.post(EVENT, headers={"Authorization": f"Bearer {TOKEN}x"})
    assert all(TOKEN not in record.getMessage() for record in caplog.records)


# -- a whole instance ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def broker() -> EmbeddedBroker:
    """A development broker for all tests here."""
    return EmbeddedBroker(["orders"])


class Running:
    """An instance that runs: its ports, and how it is asked."""

    def __init__(self, instance: Instance, port: int, admin_port: int) -> None:
        self.instance = instance
        self.port = port
        self.admin_port = admin_port

    async def ask(self, port: int, path: str, method: str = "GET", **more: Any) -> httpx.Response:
        async with httpx.AsyncClient(
            base_url=f"http://{HOST}:{port}", trust_env=False, verify=False
        ) as http:
            return await http.request(method, path, **more)


@contextlib.asynccontextmanager
async def running(
    broker: EmbeddedBroker, *, apart: bool, **settings: Any
) -> AsyncIterator[Running]:
    """Run an instance on the broker, with a port of its own for operators where `apart`."""
    auth = {"secret": SECRET}
    made = Settings(topics=["orders"], auth=auth, **settings)
    kafka = made.kafka.model_copy(update={"bootstrap_servers": broker.bootstrap_servers})
    reach = build_kafka_access(kafka, may_create_topics=True, fetch_wait_ms=10)
    listener = socket.create_server((HOST, 0))
    admin = socket.create_server((HOST, 0)) if apart else None
    instance = Instance(made, access=reach, admin=admin)
    ready = asyncio.Event()
    task = asyncio.create_task(instance.run(listener, on_ready=ready.set))
    port = listener.getsockname()[1]
    try:
        async with asyncio.timeout(60):
            await ready.wait()
        yield Running(instance, port, port if admin is None else admin.getsockname()[1])
    finally:
        instance._server.should_exit = True
        await task


async def published(bridge: Running, body: Any = EVENT) -> httpx.Response:
    """Publish on the port for it, once what writes is connected."""
    await wait_until(lambda: bridge.instance._kafka.publishers[0]._producer is not None)
    return await bridge.ask(bridge.admin_port, "/v1/events", "POST", json=body, headers=BEARER)


async def test_what_is_published_reaches_who_it_is_for(broker: EmbeddedBroker) -> None:
    async with running(broker, apart=False, admin_tokens=[TOKEN]) as bridge:
        async with WebSocketClient(f"ws://{HOST}:{bridge.port}/ws?token={sign_token()}") as client:
            await client.expect("welcome")
            answer = await published(bridge, {**EVENT, "data": 12345678901234567890, "id": "one"})
            assert answer.status_code == 202
            event = await client.next_of("event")
            assert (event["id"], event["at"]) == ("one", answer.json()["at"])
            assert event["data"] == 12345678901234567890
        check_problem(await published(bridge, {**EVENT, "topic": "nothing"}), 404)
        figures = (await bridge.ask(bridge.port, "/metrics")).text
        assert "push_bridge_events_delivered_total 1.0" in figures
        assert 'push_bridge_lag{topic="orders"} 0.0' in figures


async def test_with_an_admin_port_operators_are_served_there_only(broker: EmbeddedBroker) -> None:
    async with running(broker, apart=True, admin_tokens=[TOKEN]) as bridge:
        for path, method in (("/v1/events", "POST"), ("/metrics", "GET"), ("/v1/nothing", "GET")):
            answer = await bridge.ask(bridge.port, path, method, json=EVENT, headers=BEARER)
            check_problem(answer, 404)
        forged = {"Host": f"{HOST}:{bridge.admin_port}", "X-Forwarded-Port": str(bridge.admin_port)}
        check_problem(await bridge.ask(bridge.port, "/metrics", headers=forged), 404)
        assert (await published(bridge)).status_code == 202
        assert (await bridge.ask(bridge.admin_port, "/metrics")).status_code == 200
        for port in (bridge.port, bridge.admin_port):
            for path in ("/healthz", "/readyz", "/openapi.json"):
                assert (await bridge.ask(port, path)).status_code == 200
        documents = [
            (await bridge.ask(port, "/openapi.json")).json()
            for port in (bridge.port, bridge.admin_port)
        ]
        assert documents[0] == documents[1]
        assert {"/v1/events", "/metrics"} <= documents[0]["paths"].keys()


async def test_without_an_admin_token_there_is_no_api(broker: EmbeddedBroker) -> None:
    async with running(broker, apart=False) as bridge:
        for header in ({}, BEARER):
            answer = await bridge.ask(bridge.port, "/v1/events", "POST", json=EVENT, headers=header)
            check_problem(answer, 404)
        assert (await bridge.ask(bridge.port, "/metrics")).status_code == 200


async def test_a_kafka_that_is_away_is_a_503_at_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with socket.create_server((HOST, 0)) as nobody:
        servers = f"{HOST}:{nobody.getsockname()[1]}"
    made = Settings(topics=["orders"], auth={"secret": SECRET}, admin_tokens=[TOKEN])
    reach = build_kafka_access(made.kafka.model_copy(update={"bootstrap_servers": servers}))
    listener = socket.create_server((HOST, 0))
    instance = Instance(made, access=reach)
    task = asyncio.create_task(instance.run(listener, on_ready=lambda: None))
    await wait_until(lambda: instance._server.started)
    port = listener.getsockname()[1]
    bridge = Running(instance, port, port)
    answer = await bridge.ask(port, "/v1/events", "POST", json=EVENT, headers=BEARER)
    assert check_problem(answer, 503)["id"]
    check_problem(await bridge.ask(port, "/readyz"), 503)
    assert "push_bridge_ready 0.0" in (await bridge.ask(port, "/metrics")).text
    instance._server.should_exit = True
    await task
    assert all(TOKEN not in record.getMessage() for record in caplog.records)


async def test_no_credential_is_in_any_log_of_a_whole_instance(
    broker: EmbeddedBroker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    token = sign_token()
    async with running(broker, apart=False, admin_tokens=[TOKEN]) as bridge:
        async with WebSocketClient(f"ws://{HOST}:{bridge.port}/ws?token={token}") as client:
            await client.expect("welcome")
            await client.request("token", token=token)
        await published(bridge)
        await bridge.ask(bridge.port, f"/healthz?token={token}")
        await bridge.ask(bridge.port, f"/nothing?token={token}", headers={"Cookie": token})
    ours = [each for each in caplog.records if not each.name.startswith(("websockets", "http"))]
    logged = "\n".join(json.dumps([each.name, each.getMessage()]) for each in ours)
    assert "bridge." in logged
    for secret in (token, TOKEN, SECRET):
        assert secret not in logged
