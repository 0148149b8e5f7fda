"""The driver of a client under test, as the runner sees it: a process that speaks JSON lines.

The rule kept here: what the user is handed comes in order, and so do the states; between items,
states and replies there is no order.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

Line = dict[str, Any]
TIMEOUT_SECONDS = 20.0  # of a busy machine
#: Passed over unless a step asks for one.
OPTIONAL_ITEMS = frozenset({"connected", "disconnected"})


class DriverProcess:
    """A running driver; `can` is what it says that it can do beyond what all can."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._process: asyncio.subprocess.Process | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self.items: asyncio.Queue[Line] = asyncio.Queue()
        self.states: asyncio.Queue[str] = asyncio.Queue()
        self.replies: dict[object, asyncio.Queue[Line]] = {}
        self.capabilities: frozenset[str] = frozenset()
        self.stderr_lines: list[str] = []
        self._kept_items: list[Line] = []

    async def __aenter__(self) -> Self:
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            *self._command, stdin=pipe, stdout=pipe, stderr=pipe, limit=2**24
        )
        try:
            self.capabilities = await self._read_capabilities()
        except BaseException:
            await self.__aexit__()
            raise
        self._tasks = [
            asyncio.create_task(self._read_stdout()),
            asyncio.create_task(self._read_stderr()),
        ]
        return self

    async def _read_capabilities(self) -> frozenset[str]:
        assert self._process is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        first = await asyncio.wait_for(self._process.stdout.readline(), TIMEOUT_SECONDS)
        if not first:
            raise AssertionError((await self._process.stderr.read()).decode().strip())
        return frozenset(json.loads(first)["can"])

    async def __aexit__(self, *_: object) -> None:
        assert self._process is not None
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def send(self, line: Line) -> None:
        """Tell it something."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(line).encode() + b"\n")

    async def wait_exit(self) -> int:
        """Wait for its end; the exit code."""
        assert self._process is not None
        return await asyncio.wait_for(self._process.wait(), TIMEOUT_SECONDS)

    async def next_item(self, kind: str | None) -> Line:
        """The next item, of those that count where one of `kind` is asked for."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while True:
                line = await self._next_line()
                if kind == line["item"] or line["item"] not in OPTIONAL_ITEMS:
                    return line

    async def expect_no_items(self, seconds: float) -> None:
        """Wait so long for an item that counts; none may come."""
        end = asyncio.get_running_loop().time() + seconds
        while (left := end - asyncio.get_running_loop().time()) > 0:
            try:
                line = await asyncio.wait_for(self.items.get(), left)
            except TimeoutError:
                return
            self._kept_items.append(line)
            assert line["item"] in OPTIONAL_ITEMS, f"handed out {line}"

    async def next_state(self) -> str:
        """The next state."""
        return await asyncio.wait_for(self.states.get(), TIMEOUT_SECONDS)

    async def wait_reply(self, number: object) -> Line:
        """The answer to what the user did under this number."""
        return await asyncio.wait_for(self._reply_queue(number).get(), TIMEOUT_SECONDS)

    def unexpected_items(self) -> list[Line]:
        """The items that count and that no step asked for."""
        while not self.items.empty():
            self._kept_items.append(self.items.get_nowait())
        return [line for line in self._kept_items if line["item"] not in OPTIONAL_ITEMS]

    async def _next_line(self) -> Line:
        return self._kept_items.pop(0) if self._kept_items else await self.items.get()

    def _reply_queue(self, number: object) -> asyncio.Queue[Line]:
        return self.replies.setdefault(number, asyncio.Queue())

    async def _read_stdout(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        while text := await self._process.stdout.readline():
            line = json.loads(text)
            if line["item"] == "state":
                self.states.put_nowait(line["state"])
            elif line["item"] == "reply":
                self._reply_queue(line["n"]).put_nowait(line)
            else:
                self.items.put_nowait(line)

    async def _read_stderr(self) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        while text := await self._process.stderr.readline():
            self.stderr_lines.append(text.decode().rstrip())
