"""A stage on which one scenario is played: the server of its steps, and the driver of the client.

The rule kept here: each step either happens, or the play ends with a sentence that says which
step it was and what happened instead. After the last one the client is closed, hands out nothing
more, and its process ends: nothing leaks.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Self

from tests.conformance.driver import PATIENCE, Driver
from tests.conformance.frames import differs, same, whole
from tests.conformance.peer import Peer
from tests.harness.frames import check_client_frame

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.conformance.scenario import Scenario

Step = dict[str, Any]
QUICK = {"backoff_ms": [20, 100]}
FINAL = "final"
CLOSED_BY_USER = 1000


class Stage:
    """The runner's side of one scenario."""

    def __init__(self, scenario: Scenario, driver: Driver) -> None:
        self._scenario = scenario
        self._driver = driver
        self._arrivals: asyncio.Queue[Peer] = asyncio.Queue()
        self._next: Peer | None = None
        self._peer: Peer | None = None
        self._peers: list[Peer] = []
        self._bound: dict[str, Any] = {}
        self._parted = 0.0
        self._final: dict[str, Any] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._steps: dict[str, Callable[[Step], Awaitable[None]]] = {
            "accept": self._accept,
            "refuse_http": self._refuse_http,
            "block": self._block,
            "connects_within_ms": self._connects_within,
            "no_connection_ms": self._no_connection,
            "send": self._send,
            "send_many": self._send_many,
            "receive": self._receive,
            "receive_nothing_ms": self._receive_nothing,
            "close": self._close,
            "drop": self._drop,
            "silence": self._silence,
            "gone": self._gone,
            "user": self._user,
            "emits": self._emits,
            "emits_many": self._emits_many,
            "emits_nothing": self._emits_nothing,
            "states": self._states,
            "reply": self._reply,
            FINAL: self._expect_final,
        }

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for peer in self._peers:
            peer.drop()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def play(self) -> None:
        """Play the scenario; AssertionError where it goes otherwise."""
        port = self._server.sockets[0].getsockname()[1]
        options = {**QUICK, **self._scenario.options}
        self._driver.tell({"url": f"http://127.0.0.1:{port}", "options": options})
        for number, step in enumerate(self._scenario.steps, 1):
            try:
                name = next(name for name in step if name in self._steps)
                await self._steps[name](step)
            except (AssertionError, TimeoutError, OSError) as error:
                why = str(error) or "waited in vain"
                raise AssertionError(f"step {number}, {json.dumps(step)}: {why}") from error
        await self._end()

    async def _end(self) -> None:
        if self._final is None:
            self._driver.tell({"do": "close", "n": "end"})
            await self._expect_final({FINAL: {"code": CLOSED_BY_USER}})
        assert (code := await self._driver.ends()) == 0, f"at the end: exit code {code}"
        assert not (left := self._driver.left()), f"at the end: handed out {left} too"
        assert not self._driver.complaints, "\n".join(self._driver.complaints)

    # -- the server --------------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        peer = Peer(reader, writer)
        self._peers.append(peer)
        if await peer.asked():
            self._arrivals.put_nowait(peer)
            await peer.listen()
            self._parted = asyncio.get_running_loop().time()

    async def _arrival(self) -> Peer:
        if (peer := self._next) is None:
            return await asyncio.wait_for(self._arrivals.get(), PATIENCE)
        self._next = None
        return peer

    async def _accept(self, step: Step) -> None:
        peer = self._peer = await self._arrival()
        if step.get("transport", "ws") == "sse":
            assert peer.path.endswith("/events"), f"came to {peer.path}"
            assert "token" not in peer.query, "a secret in a URL"
            peer.stream()
            hello = peer.hello()
        else:
            assert peer.path.endswith("/ws"), f"came to {peer.path}"
            assert peer.query == {"hello": "1"}, f"asked by URL: {peer.query}"
            peer.upgrade()
            hello = await self._frame()
            assert hello["op"] == "hello", f"began with {hello}"
        self._compare(same(step["accept"].get("hello", {})), same(hello))

    async def _refuse_http(self, step: Step) -> None:
        after = step.get("retry_after")
        peer = await self._arrival()
        peer.refuse(step["refuse_http"], {} if after is None else {"Retry-After": str(after)})
        self._part()

    async def _block(self, _: Step) -> None:
        (await self._arrival()).drop()
        self._part()

    async def _connects_within(self, step: Step) -> None:
        least, most = step["connects_within_ms"]
        self._next = await self._arrival()
        took = 1000 * (asyncio.get_running_loop().time() - self._parted)
        assert least <= took <= most, f"came after {took:.0f} ms"

    async def _no_connection(self, step: Step) -> None:
        await asyncio.sleep(step["no_connection_ms"] / 1000)
        assert self._arrivals.empty(), "came back"

    async def _send(self, step: Step) -> None:
        self._say(step["send"], step.get("id"))

    async def _send_many(self, step: Step) -> None:
        """Events of one partition, of which each has some `bytes` of data."""
        many = step["send_many"]
        for offset in range(many["from"], many["to"] + 1):
            data = "x" * many.get("bytes", 1)
            self._say({"op": "event", "at": f"{many['partition']}:{offset}", "data": data}, None)

    async def _receive(self, step: Step) -> None:
        frame = await self._frame()
        if "as" in step:
            self._bound[step["as"]] = frame["id"]
        self._compare(step["receive"], frame)

    async def _receive_nothing(self, step: Step) -> None:
        await asyncio.sleep(step["receive_nothing_ms"] / 1000)
        frames = self._here.frames
        assert frames.empty(), f"received {frames.get_nowait()}"

    async def _close(self, step: Step) -> None:
        self._here.close(step["close"], step.get("reason", ""))
        self._part()

    async def _drop(self, _: Step) -> None:
        self._here.drop()
        self._part()

    async def _silence(self, step: Step) -> None:
        """The server says nothing; a number is for how many milliseconds."""
        if step["silence"] is not True:
            await asyncio.sleep(step["silence"] / 1000)

    async def _gone(self, step: Step) -> None:
        peer = self._here
        while (text := await asyncio.wait_for(peer.frames.get(), PATIENCE)) is not None:
            assert json.loads(text)["op"] == "heartbeat", f"received {text}"
        if step["gone"] is not True:
            assert peer.code == step["gone"], f"closed with {peer.code}"

    # -- the client --------------------------------------------------------------------------------

    async def _user(self, step: Step) -> None:
        self._driver.tell(step["user"])

    async def _emits(self, step: Step) -> None:
        self._compare(step["emits"], await self._driver.item(step["emits"].get("item")))

    async def _emits_many(self, step: Step) -> None:
        many = step["emits_many"]
        for offset in range(many["from"], many["to"] + 1):
            at = f"{many['partition']}:{offset}"
            self._compare({"item": "event", "at": at}, await self._driver.item("event"))

    async def _emits_nothing(self, step: Step) -> None:
        await self._driver.nothing(step["emits_nothing"] / 1000)

    async def _states(self, step: Step) -> None:
        for state in step["states"]:
            found = await self._driver.state()
            assert found == state, f"{found} instead of {state}"

    async def _reply(self, step: Step) -> None:
        self._compare(step["reply"], await self._driver.reply(step["reply"]["n"]))

    async def _expect_final(self, step: Step) -> None:
        self._final = await self._driver.item(FINAL)
        self._compare({"item": FINAL, **step[FINAL]}, self._final)

    # -- within ------------------------------------------------------------------------------------

    @property
    def _here(self) -> Peer:
        assert self._peer is not None, "nobody was accepted"
        return self._peer

    def _part(self) -> None:
        self._parted = asyncio.get_running_loop().time()

    def _say(self, short: Step, id: str | None) -> None:
        frame = whole(short, self._bound)
        told = id if frame["op"] == "event" else frame.get("cursor")
        if frame["op"] == "welcome":
            told = None  # as the bridge does: the first id stands behind what came first
        text = json.dumps(frame, separators=(",", ":"))
        self._here.send(text, frame["op"], told)

    async def _frame(self) -> dict[str, Any]:
        text = await asyncio.wait_for(self._here.frames.get(), PATIENCE)
        assert text is not None, f"it has gone, with {self._here.code}"
        frame: dict[str, Any] = json.loads(text)
        check_client_frame(frame)
        return frame

    def _compare(self, wanted: Step, told: dict[str, Any]) -> None:
        difference = differs(wanted, told, self._bound)
        assert difference is None, difference
