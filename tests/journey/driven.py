"""Clients of the libraries, each driven from outside, and what each was handed.

The rule kept here: what counts is what the user of a library is handed, turned back into the
frames that the checker judges; how the client came to it is its own affair.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Self

from tests.harness.deliveries import Observation
from tests.harness.frames import check_frame
from tests.journey.network import Network

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from random import Random

    from tests.harness.deliveries import Owed
    from tests.journey.browser import Browser

POLL_SECONDS = 0.3
_FRAMES = {"connected": "welcome", "event": "event", "gap": "gap", "live": "live"}


class Driven:
    """One client of a library, behind a network of its own. `last` ends a partition's story."""

    def __init__(
        self,
        name: str,
        ports: Sequence[int],
        chance: Random,
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
        self.network = Network(ports, chance)
        self.frames: list[dict[str, Any]] = []
        self.complaints: list[str] = []
        self._last = last
        self._lasts: set[str] = set()
        self._changed = asyncio.Event()

    def cut(self) -> None:
        """End its connection without a word."""
        self.network.cut()

    async def part(self) -> None:
        """End its connection politely."""
        await self.network.part()

    async def stall(self, seconds: float) -> None:
        """Let nothing through for a while."""
        await self.network.stall(seconds)

    def options(self) -> dict[str, Any]:
        """What its library is told."""
        asked: dict[str, Any] = {
            "account": self.account,
            "rooms": sorted(self.rooms),
            "backoff_ms": [100, 2000],
            "welcome_ms": 10_000,
        }
        if self.topics is not None:
            asked["topics"] = sorted(self.topics)
        if self.types is not None:
            asked["types"] = list(self.types)
        return asked

    def hear(self, item: dict[str, Any]) -> None:
        """Take note of what it was handed."""
        kind = item.pop("item")
        if kind == "final":
            self.complaints.append(f"{self.name} has ended: {item}")
        if kind == "connected" and item.get("state"):
            item.pop("state")
        if kind in _FRAMES:
            item["op"] = _FRAMES[kind]
            self.frames.append(item)
            if item.get("type") == self._last:
                self._lasts.add(item["at"])
        self._changed.set()

    async def __aenter__(self) -> Self:
        await self.network.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.network.__aexit__()

    async def until(self, condition: Callable[[], object], seconds: float) -> None:
        """Wait until `condition` holds."""
        async with asyncio.timeout(seconds):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def is_there(self, seconds: float) -> None:
        """Wait until it was welcomed."""
        await self.until(lambda: self.frames, seconds)

    def lasts(self) -> int:
        """In how many partitions it has seen the last event."""
        return len(self._lasts)

    def observation(self, owed: Sequence[Owed], topics: frozenset[str]) -> Observation:
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


class Process(Driven):
    """A client in a process of its own: the driver of the conformance run."""

    def __init__(self, command: Sequence[str], *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self._command = command
        self._process: asyncio.subprocess.Process | None = None
        self._hearing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            *self._command, stdin=pipe, stdout=pipe, limit=2**24
        )
        assert self._process.stdin is not None
        asked = {"url": f"http://127.0.0.1:{self.network.port}", "options": self.options()}
        self._process.stdin.write(json.dumps(asked).encode() + b"\n")
        self._hearing = asyncio.create_task(self._hear())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process is not None
        assert self._hearing is not None
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await self._hearing
        await super().__aexit__()

    async def _hear(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            told = json.loads(line)
            if "item" in told:
                self.hear(told)


_MODULE = """
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


class Window(Driven):
    """A client in a page of a browser, which is at the address of one of the networks."""

    def __init__(self, browser: Browser, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self._browser = browser
        self._hearing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        url = f"http://127.0.0.1:{self.network.port}"
        await asyncio.to_thread(self._browser.ask, _MODULE, url, self.options(), self.name)
        self._hearing = asyncio.create_task(self._hear())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._hearing is not None
        self._hearing.cancel()
        await asyncio.wait([self._hearing])
        await super().__aexit__()

    async def _hear(self) -> None:
        while True:
            script = (
                f"return JSON.stringify(globalThis.handedOut[{json.dumps(self.name)}].splice(0))"
            )
            for item in json.loads(await asyncio.to_thread(self._browser.ask, script)):
                self.hear(item)
            await asyncio.sleep(POLL_SECONDS)
