"""Some instances that share Kafka, as a backend sees them: its calls, and what it is told.

The rule kept here: a backend knows the HTTP API, the bridge's own topics, and nothing else.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from urllib.parse import quote, urlencode

import httpx
from aiokafka import AIOKafkaConsumer

from tests.harness.admin import RecordToProduce, create_topic, fresh_name, produce
from tests.harness.bridge_process import BridgeProcess
from tests.harness.ports import HOST
from tests.web.websocket_client import WebSocketClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

ADMIN_TOKEN = "the-token-of-the-backend"
TIMEOUT_SECONDS = 60.0


class TopicRecord(NamedTuple):
    """A record of one of the bridge's own topics; `since` is the seconds on the loop's clock."""

    key: str | None
    value: Any
    headers: dict[str, str]
    received_at: float


class TopicFollower:
    """Everything that one topic says, from the beginning, as far as transactions have ended."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self.records: list[TopicRecord] = []
        self._consumer = AIOKafkaConsumer(
            topic,
            bootstrap_servers=bootstrap,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            fetch_max_wait_ms=50,
        )
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._consumer.start()
        self._task = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait([self._task])
        await self._consumer.stop()

    async def _read(self) -> None:
        now = asyncio.get_running_loop().time
        async for record in self._consumer:
            key = None if record.key is None else record.key.decode()
            headers = {name: value.decode() for name, value in record.headers}
            self.records.append(TopicRecord(key, record.value, headers, now()))
            self._changed.set()

    def notices(self, type: str, **data: Any) -> list[TopicRecord]:
        """What lifecycle has told of this type, with at least this data."""
        matching = []
        for record in self.records:
            notice = json.loads(record.value)
            if notice["type"] == type and data.items() <= notice["data"].items():
                matching.append(record)
        return matching

    async def wait_until(
        self, condition: Callable[[], bool], timeout_seconds: float = TIMEOUT_SECONDS
    ) -> None:
        """Wait until it has said so much that this is true."""
        async with asyncio.timeout(timeout_seconds):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


class BridgeGroup:
    """Instances of one prefix, each with the topic `topic`, and `more` as the settings have it."""

    def __init__(
        self, bootstrap: str, instances: Sequence[str], *topic_definitions: Any, **settings: str
    ) -> None:
        self.bootstrap = bootstrap
        self.topic = fresh_name("orders")
        self.prefix = fresh_name("bridge")
        all_settings = {
            "KAFKA__PREFIX": self.prefix,
            "ADMIN_TOKENS": json.dumps([ADMIN_TOKEN]),
            "LIMITS__CONNECTIONS_PER_ACCOUNT": "10000",
            **settings,
        }
        topics = [self.topic, *topic_definitions]
        self.bridges = [
            BridgeProcess(name, topics, bootstrap, **all_settings) for name in instances
        ]
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await create_topic(self.bootstrap, self.topic, 2)
        async with AsyncExitStack() as stack:
            for bridge in self.bridges:
                await stack.enter_async_context(bridge)
            for bridge in self.bridges:
                await bridge.wait_ready()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def follow_topic(self, kind: str) -> TopicFollower:
        """Read the bridge's own topic of this kind."""
        return TopicFollower(self.bootstrap, f"{self.prefix}.{kind}")

    @asynccontextmanager
    async def client(self, bridge_index: int, **query: str) -> AsyncIterator[WebSocketClient]:
        """A client of an instance, welcomed."""
        async with WebSocketClient(
            f"{self.bridges[bridge_index].url}?{urlencode(query)}"
        ) as client:
            client.welcome = await client.expect("welcome")
            yield client

    async def wait_for_leader(self) -> int:
        """Wait until one of the instances does what one does for all; return which."""
        async with asyncio.timeout(TIMEOUT_SECONDS), httpx.AsyncClient(trust_env=False) as http:
            while True:
                for index, process in enumerate(self.bridges):
                    text = (await http.get(f"http://{HOST}:{process.port}/metrics")).text
                    if "\npush_bridge_on_duty 1" in text:
                        return index
                await asyncio.sleep(0.1)

    async def request(
        self, bridge_index: int, method: str, *path: str, body: Any = None, **query: str
    ) -> httpx.Response:
        """Ask the API of an instance; each part of the path is a name."""
        address = f"http://{HOST}:{self.bridges[bridge_index].port}/v1/"
        headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
        async with httpx.AsyncClient(trust_env=False, timeout=TIMEOUT_SECONDS) as http:
            return await http.request(
                method,
                address + "/".join(quote(part, safe="") for part in path),
                params=query,
                json=body,
                headers=headers,
            )

    async def send_command(
        self, bridge_index: int, method: str, *path: str, body: Any = None
    ) -> str:
        """Give a command over HTTP; return its position."""
        response = await self.request(bridge_index, method, *path, body=body)
        assert response.status_code == 202, response.text
        return str(response.json()["at"])

    async def get(self, bridge_index: int, *path: str, **query: str) -> Any:
        """Return what a list or an item is."""
        response = await self.request(bridge_index, "GET", *path, **query)
        assert response.status_code == 200, response.text
        return response.json()

    async def wait_for(
        self, bridge_index: int, path: Sequence[str], condition: Callable[[Any], bool], **query: str
    ) -> Any:
        """Ask until it is so; return the answer."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while not condition(answer := await self.get(bridge_index, *path, **query)):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        return answer

    async def publish(self, **envelope: Any) -> None:
        """Produce an event, as a backend does that writes to Kafka itself."""
        await produce(self.bootstrap, self.topic, [RecordToProduce(json.dumps(envelope).encode())])

    async def produce_command(self, **fields: Any) -> None:
        """Write a command to the control topic."""
        record = RecordToProduce(json.dumps(fields).encode())
        await produce(self.bootstrap, f"{self.prefix}.control", [record])
