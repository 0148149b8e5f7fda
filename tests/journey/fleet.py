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

from tests.harness.admin import Record, create_topic, fresh_name, produce
from tests.harness.bridge_process import BridgeProcess
from tests.harness.ports import HOST
from tests.web.client import Client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

ADMIN = "the-token-of-the-backend"
PATIENCE = 60.0


class Told(NamedTuple):
    """A record of one of the bridge's own topics; `since` is the seconds on the loop's clock."""

    key: str | None
    value: Any
    headers: dict[str, str]
    since: float


class Reading:
    """Everything that one topic says, from the beginning, as far as transactions have ended."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self.told: list[Told] = []
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
            self.told.append(Told(key, record.value, headers, now()))
            self._changed.set()

    def notices(self, type: str, **data: Any) -> list[Told]:
        """What lifecycle has told of this type, with at least this data."""
        found = []
        for told in self.told:
            notice = json.loads(told.value)
            if notice["type"] == type and data.items() <= notice["data"].items():
                found.append(told)
        return found

    async def until(self, true: Callable[[], bool], seconds: float = PATIENCE) -> None:
        """Wait until it has said so much that this is true."""
        async with asyncio.timeout(seconds):
            while not true():
                self._changed.clear()
                await self._changed.wait()


class Fleet:
    """Instances of one prefix, each with the topic `topic`, and `more` as the settings have it."""

    def __init__(
        self, bootstrap: str, instances: Sequence[str], *more: Any, **settings: str
    ) -> None:
        self.bootstrap = bootstrap
        self.topic = fresh_name("orders")
        self.prefix = fresh_name("bridge")
        said = {
            "KAFKA__PREFIX": self.prefix,
            "ADMIN_TOKENS": json.dumps([ADMIN]),
            "LIMITS__CONNECTIONS_PER_ACCOUNT": "10000",
            **settings,
        }
        topics = [self.topic, *more]
        self.bridges = [BridgeProcess(name, topics, bootstrap, **said) for name in instances]
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await create_topic(self.bootstrap, self.topic, 2)
        async with AsyncExitStack() as stack:
            for bridge in self.bridges:
                await stack.enter_async_context(bridge)
            for bridge in self.bridges:
                await bridge.ready()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def reading(self, kind: str) -> Reading:
        """Read the bridge's own topic of this kind."""
        return Reading(self.bootstrap, f"{self.prefix}.{kind}")

    @asynccontextmanager
    async def client(self, bridge: int, **query: str) -> AsyncIterator[Client]:
        """A client of an instance, welcomed."""
        async with Client(f"{self.bridges[bridge].url}?{urlencode(query)}") as client:
            client.welcome = await client.expect("welcome")
            yield client

    async def on_duty(self) -> int:
        """Wait until one of the instances does what one does for all; return which."""
        async with asyncio.timeout(PATIENCE), httpx.AsyncClient(trust_env=False) as http:
            while True:
                for bridge, process in enumerate(self.bridges):
                    text = (await http.get(f"http://{HOST}:{process.port}/metrics")).text
                    if "\npush_bridge_on_duty 1" in text:
                        return bridge
                await asyncio.sleep(0.1)

    async def ask(
        self, bridge: int, method: str, *path: str, body: Any = None, **query: str
    ) -> httpx.Response:
        """Ask the API of an instance; each part of the path is a name."""
        address = f"http://{HOST}:{self.bridges[bridge].port}/v1/"
        headers = {"Authorization": f"Bearer {ADMIN}"}
        async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as http:
            return await http.request(
                method,
                address + "/".join(quote(part, safe="") for part in path),
                params=query,
                json=body,
                headers=headers,
            )

    async def tell(self, bridge: int, method: str, *path: str, body: Any = None) -> str:
        """Give a command over HTTP; return its position."""
        answer = await self.ask(bridge, method, *path, body=body)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["at"])

    async def told(self, bridge: int, *path: str, **query: str) -> Any:
        """Return what a list or an item is."""
        answer = await self.ask(bridge, "GET", *path, **query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def until(
        self, bridge: int, path: Sequence[str], true: Callable[[Any], bool], **query: str
    ) -> Any:
        """Ask until it is so; return the answer."""
        async with asyncio.timeout(PATIENCE):
            while not true(told := await self.told(bridge, *path, **query)):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        return told

    async def publish(self, **envelope: Any) -> None:
        """Produce an event, as a backend does that writes to Kafka itself."""
        await produce(self.bootstrap, self.topic, [Record(json.dumps(envelope).encode())])

    async def command(self, **fields: Any) -> None:
        """Write a command to the control topic."""
        record = Record(json.dumps(fields).encode())
        await produce(self.bootstrap, f"{self.prefix}.control", [record])
