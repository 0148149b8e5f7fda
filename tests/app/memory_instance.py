"""A whole instance on Kafka in memory: real sockets, its own settings file, no broker.

What needs a producer of its own (the leader, `/v1`'s commands) finds no broker, and says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from typing import TYPE_CHECKING, Any

import httpx

from bridge.app.instance import Instance
from bridge.config.settings import Settings, load_settings
from bridge.kafka.client.client import KafkaAccess
from tests.kafka.memory_kafka import MemoryKafkaClient
from tests.web.websocket_client import WebSocketClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

HOST = "127.0.0.1"
ADMIN_TOKEN = "an-admin-token-of-the-tests"
READER_TOKEN = "a-token-that-may-read-only"
TIMEOUT_SECONDS = 20.0
_BASE: dict[str, Any] = {
    "instance": "here",
    "auth": {"mode": "none"},
    "admin_tokens": [ADMIN_TOKEN, {"token": READER_TOKEN, "role": "read"}],
    "replay": {"wait_seconds": 5},
}


class MemoryInstance:
    """One instance that serves `topics`, which are its settings' list of that name."""

    def __init__(self, folder: Path, topics: list[Any], **settings: Any) -> None:
        self.kafka = MemoryKafkaClient()
        self.file = folder / "bridge.yaml"
        self.write(topics, **settings)
        for name in ("control", "state", "lifecycle", "dead-letters"):
            self.kafka.create(f"push-bridge.{name}")
        self.ready = asyncio.Event()
        self._offsets: dict[str, int] = {}

    def write(self, topics: list[Any] | None, **settings: Any) -> None:
        """Write the settings file. JSON is YAML."""
        content = {**_BASE, **settings} | ({} if topics is None else {"topics": topics})
        self.file.write_text(json.dumps(content))

    def load(self) -> Settings:
        return load_settings(self.file)

    def build(self) -> Instance:
        return Instance(
            self.load(),
            access=KafkaAccess(f"{HOST}:1", {}),
            client_factory=lambda _access: self.kafka,
            load_settings=self.load,
        )

    @contextlib.asynccontextmanager
    async def running(self, *, wait_ready: bool = True) -> AsyncIterator[MemoryInstance]:
        listener = socket.create_server((HOST, 0))
        self.port: int = listener.getsockname()[1]
        self.instance = self.build()
        task = asyncio.create_task(self.instance.run(listener, on_ready=self.ready.set))
        self.http = httpx.AsyncClient(
            base_url=f"http://{HOST}:{self.port}", timeout=TIMEOUT_SECONDS, trust_env=False
        )
        try:
            if wait_ready:
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    await self.ready.wait()
            yield self
        finally:
            await self.http.aclose()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    # -- what a test does ------------------------------------------------------------------------

    def publish(self, kafka_topic: str, *numbers: int, partition: int = 0, **audience: Any) -> None:
        """Write events with these numbers as their data, for everybody unless told otherwise."""
        values = [{"data": n, **(audience or {"all": True})} for n in numbers]
        self.kafka.append(kafka_topic, partition, [json.dumps(value).encode() for value in values])

    def connect(self, query: str = "") -> WebSocketClient:
        return WebSocketClient(f"ws://{HOST}:{self.port}/ws{query and '?' + query}")

    async def reload(self, token: str = ADMIN_TOKEN) -> httpx.Response:
        return await self.http.post("/v1/reload", headers={"Authorization": f"Bearer {token}"})

    async def reload_as(self, topics: list[Any], **settings: Any) -> dict[str, Any]:
        """Write the settings file, reload, and return what that changed."""
        self.write(topics, **settings)
        response = await self.reload()
        assert response.status_code == 200, response.text
        changes: dict[str, Any] = response.json()
        return changes

    async def wait_for_state(self, topic: str, state: str) -> None:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while (await self.topics()).get(topic, {}).get("state") != state:  # noqa: ASYNC110 - over HTTP
                await asyncio.sleep(0.02)

    async def topics(self) -> dict[str, dict[str, Any]]:
        """Return the rows of `/v1/topics`, by name."""
        headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
        response = await self.http.get("/v1/topics", headers=headers)
        return {row["topic"]: row for row in response.json()["items"]}
