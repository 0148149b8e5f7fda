"""Clients of the libraries, each driven from outside, and what each was handed.

The rule kept here: what counts is what the user of a library is handed, turned back into the
frames that the checker judges; how the client came to it is its own affair.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Self

from tests.harness.deliveries import Observation
from tests.harness.frame_schemas import check_frame
from tests.journey.faulty_network import FaultyNetwork

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from random import Random

    from tests.harness.deliveries import ExpectedRange
    from tests.journey.browser import Browser

POLL_SECONDS = 0.3
_OP_BY_ITEM = {"connected": "welcome", "event": "event", "gap": "gap", "live": "live"}


class LibraryClient:
    """One client of a library, behind a network of its own. `last` ends a partition's story."""

    def __init__(
        self,
        name: str,
        ports: Sequence[int],
        rng: Random,
        *,
        last: str,
        account: str,
        rooms: Iterable[str] = (),
        topics: frozenset[str] | None = None,
        types: tuple[str, ...] | None = None,
    ) -> None:
        self.name = name
        self.account = account
        self.rooms = frozenset(rooms)
        self.topics = topics
        self.types = types
        self.network = FaultyNetwork(ports, rng)
        self.frames: list[dict[str, Any]] = []
        self.errors: list[str] = []
        self._last_type = last
        self._last_positions: set[str] = set()
        self._changed = asyncio.Event()

    def cut(self) -> None:
        """End its connection without a word."""
        self.network.cut()

    async def close(self) -> None:
        """End its connection politely."""
        await self.network.close()

    async def stall(self, seconds: float) -> None:
        """Let nothing through for a while."""
        await self.network.stall(seconds)

    def options(self) -> dict[str, Any]:
        """What its library is told."""
        options: dict[str, Any] = {
            "account": self.account,
            "rooms": sorted(self.rooms),
            "backoff_ms": [100, 2000],
            "welcome_ms": 10_000,
        }
        if self.topics is not None:
            options["topics"] = sorted(self.topics)
        if self.types is not None:
            options["types"] = list(self.types)
        return options

    def record_item(self, item: dict[str, Any]) -> None:
        """Take note of what it was handed."""
        kind = item.pop("item")
        if kind == "final":
            self.errors.append(f"{self.name} has ended: {item}")
        if kind == "connected" and item.get("state"):
            item.pop("state")
        if kind in _OP_BY_ITEM:
            item["op"] = _OP_BY_ITEM[kind]
            self.frames.append(item)
            if item.get("type") == self._last_type:
                self._last_positions.add(item["at"])
        self._changed.set()

    async def __aenter__(self) -> Self:
        await self.network.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.network.__aexit__()

    async def wait_until(self, condition: Callable[[], object], seconds: float) -> None:
        """Wait until `condition` holds."""
        async with asyncio.timeout(seconds):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def wait_welcomed(self, timeout_seconds: float) -> None:
        """Wait until it was welcomed."""
        await self.wait_until(lambda: self.frames, timeout_seconds)

    def last_event_count(self) -> int:
        """In how many partitions it has seen the last event."""
        return len(self._last_positions)

    def observation(self, owed: Sequence[ExpectedRange], topics: frozenset[str]) -> Observation:
        """What the checker has to know of it."""
        for frame in self.frames:
            check_frame(frame)
        return Observation(
            client=self.name,
            account=self.account,
            topics=self.topics or topics,
            owed=owed,
            frames=self.frames,
            rooms=self.rooms,
            types=self.types,
        )


class ProcessClient(LibraryClient):
    """A client in a process of its own: the driver of the conformance run."""

    def __init__(self, command: Sequence[str], *positional: Any, **options: Any) -> None:
        super().__init__(*positional, **options)
        self._command = command
        self._process: asyncio.subprocess.Process | None = None
        self._reader_task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            *self._command, stdin=pipe, stdout=pipe, limit=2**24
        )
        assert self._process.stdin is not None
        job = {"url": f"http://127.0.0.1:{self.network.port}", "options": self.options()}
        self._process.stdin.write(json.dumps(job).encode() + b"\n")
        self._reader_task = asyncio.create_task(self._read_items())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process is not None
        assert self._reader_task is not None
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await self._reader_task
        await super().__aexit__()

    async def _read_items(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            message = json.loads(line)
            if "item" in message:
                self.record_item(message)


_CLIENT_SCRIPT = """
const [url, options, name] = arguments;
const items = (globalThis.handedOut ??= {})[name] = [];
import("/client.js").then(async ({ createClient }) => {
  const { backoff_ms: backoffMs, welcome_ms: welcomeMs, ...others } = options;
  for await (const item of createClient(url, { ...others, backoffMs, welcomeMs })) {
    const { op, welcome, ...rest } = item;
    if (welcome) items.push({ ...welcome, item: "connected" });
    else items.push({ ...rest, item: op });
  }
  items.push({ item: "final" });
}).catch((error) => items.push({ item: "final", reason: String(error) }));
"""


class BrowserClient(LibraryClient):
    """A client in a page of a browser, which is at the address of one of the networks."""

    def __init__(self, browser: Browser, *positional: Any, **options: Any) -> None:
        super().__init__(*positional, **options)
        self._browser = browser
        self._reader_task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        url = f"http://127.0.0.1:{self.network.port}"
        await asyncio.to_thread(
            self._browser.run_script, _CLIENT_SCRIPT, url, self.options(), self.name
        )
        self._reader_task = asyncio.create_task(self._read_items())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._reader_task is not None
        self._reader_task.cancel()
        await asyncio.wait([self._reader_task])
        await super().__aexit__()

    async def _read_items(self) -> None:
        while True:
            script = (
                f"return JSON.stringify(globalThis.handedOut[{json.dumps(self.name)}].splice(0))"
            )
            for item in json.loads(await asyncio.to_thread(self._browser.run_script, script)):
                self.record_item(item)
            await asyncio.sleep(POLL_SECONDS)
