"""A signal while Kafka is away and writes wait for it: they get 503, and no log has a traceback."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.harness.admin import create_topic, fresh_name
from tests.harness.bridge_process import BridgeProcess
from tests.harness.kafka_cluster import KafkaCluster
from tests.harness.ports import HOST

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180)]

TOKEN = "an-admin-token-for-tests"
#: It takes 5.5 s on a quiet machine: the drain, and what is left to Kafka after it.
END_SECONDS = 30.0


@pytest.fixture
def own_kafka() -> Iterator[KafkaCluster]:
    """A broker that the test kills."""
    with KafkaCluster() as cluster:
        yield cluster


async def test_writes_in_flight_get_503_when_it_ends_in_an_outage(own_kafka: KafkaCluster) -> None:
    topic = fresh_name()
    await create_topic(own_kafka.bootstrap, topic, 2)
    settings = {"ADMIN_TOKENS": f'["{TOKEN}"]', "DRAIN_SECONDS": "1"}
    writes: list[tuple[str, str, Any]] = [
        *[("POST", "/v1/events", {"topic": topic, "all": True})] * 3,
        ("POST", "/v1/accounts/alice/revoke", {}),
        ("DELETE", "/v1/accounts/alice/connections", None),
    ]
    async with (
        BridgeProcess("blue", [topic], own_kafka.bootstrap, **settings) as bridge,
        httpx.AsyncClient(
            base_url=f"http://{HOST}:{bridge.port}",
            headers={"Authorization": f"Bearer {TOKEN}"},
            trust_env=False,
            timeout=60,
        ) as http,
    ):
        await bridge.wait_ready()
        written = await http.post("/v1/events", json={"topic": topic, "all": True})
        assert written.status_code == 202
        await asyncio.to_thread(own_kafka.kill, 0)
        waiting = [
            asyncio.create_task(http.request(method, path, json=body))
            for method, path, body in writes
        ]
        await asyncio.sleep(1)
        async with asyncio.timeout(END_SECONDS):
            os.kill(bridge.pid, signal.SIGTERM)
            statuses = [(await task).status_code for task in waiting]
            assert await bridge.wait_exit() == 0
        assert statuses == [503] * len(writes)
        log = bridge.stderr()
        assert "Traceback" not in log
        assert " ERROR " not in log
        assert log.count("status=503") == len(writes)
        assert "status=500" not in log
