"""A stage on which one scenario is played: the server of its steps, and the driver of the client.

The rule kept here: each step either happens, or the play ends with a sentence that says which
step it was and what happened instead. After the last one the client is closed, hands out nothing
more, and its process ends: nothing leaks.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Self

from tests.conformance.driver_process import TIMEOUT_SECONDS, DriverProcess
from tests.conformance.frames import complete_frame, find_difference, normalize_hello
from tests.conformance.peer_connection import PeerConnection
from tests.harness.frame_schemas import check_client_frame

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.conformance.scenario import Scenario

Step = dict[str, Any]
QUICK_OPTIONS = {"backoff_ms": [20, 100]}
FINAL = "final"
CLOSED_BY_USER = 1000


class ScenarioRunner:
    """The runner's side of one scenario."""

    def __init__(self, scenario: Scenario, driver: DriverProcess) -> None:
        self._scenario = scenario
        self._driver = driver
        self._accepted: asyncio.Queue[PeerConnection] = asyncio.Queue()
        self._pending: PeerConnection | None = None
        self._peer: PeerConnection | None = None
        self._peers: list[PeerConnection] = []
        self._captured: dict[str, Any] = {}
        self._ended_at = 0.0
        self._final: dict[str, Any] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._steps: dict[str, Callable[[Step], Awaitable[None]]] = {
            "accept": self._accept,
            "refuse_http": self._refuse_http,
            "block": self._reject_connection,
            "connects_within_ms": self._expect_connection,
            "no_connection_ms": self._expect_no_connection,
            "send": self._send,
            "send_many": self._send_many,
            "receive": self._expect_frame,
            "receive_nothing_ms": self._expect_no_frames,
            "close": self._close,
            "drop": self._drop,
            "silence": self._stay_silent,
            "gone": self._expect_disconnect,
            "user": self._run_user_command,
            "emits": self._expect_item,
            "emits_many": self._expect_items,
            "emits_nothing": self._expect_no_items,
            "states": self._expect_states,
            "reply": self._expect_reply,
            FINAL: self._expect_final,
        }

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for peer in self._peers:
            peer.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def play(self) -> None:
        """Play the scenario; AssertionError where it goes otherwise."""
        port = self._server.sockets[0].getsockname()[1]
        options = {**QUICK_OPTIONS, **self._scenario.options}
        self._driver.send({"url": f"http://127.0.0.1:{port}", "options": options})
        for number, step in enumerate(self._scenario.steps, 1):
            try:
                name = next(name for name in step if name in self._steps)
                await self._steps[name](step)
            except (AssertionError, TimeoutError, OSError) as error:
                reason = str(error) or "waited in vain"
                raise AssertionError(f"step {number}, {json.dumps(step)}: {reason}") from error
        await self._finish()

    async def _finish(self) -> None:
        if self._final is None:
            self._driver.send({"do": "close", "n": "end"})
            await self._expect_final({FINAL: {"code": CLOSED_BY_USER}})
        assert (code := await self._driver.wait_exit()) == 0, f"at the end: exit code {code}"
        assert not (left := self._driver.unexpected_items()), f"at the end: handed out {left} too"
        assert not self._driver.stderr_lines, "\n".join(self._driver.stderr_lines)

    # -- the server --------------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        peer = PeerConnection(reader, writer)
        self._peers.append(peer)
        if await peer.read_request():
            self._accepted.put_nowait(peer)
            await peer.read_frames()
            self._ended_at = asyncio.get_running_loop().time()

    async def _next_peer(self) -> PeerConnection:
        if (peer := self._pending) is None:
            return await asyncio.wait_for(self._accepted.get(), TIMEOUT_SECONDS)
        self._pending = None
        return peer

    async def _accept(self, step: Step) -> None:
        peer = self._peer = await self._next_peer()
        if step.get("transport", "ws") == "sse":
            assert peer.path.endswith("/events"), f"came to {peer.path}"
            assert "token" not in peer.query, "a secret in a URL"
            peer.start_sse()
            hello = peer.hello()
        else:
            assert peer.path.endswith("/ws"), f"came to {peer.path}"
            assert peer.query == {"hello": "1"}, f"asked by URL: {peer.query}"
            peer.upgrade()
            hello = await self._next_frame()
            assert hello["op"] == "hello", f"began with {hello}"
        self._compare(normalize_hello(step["accept"].get("hello", {})), normalize_hello(hello))

    async def _refuse_http(self, step: Step) -> None:
        after = step.get("retry_after")
        peer = await self._next_peer()
        peer.refuse(step["refuse_http"], {} if after is None else {"Retry-After": str(after)})
        self._mark_ended()

    async def _reject_connection(self, _: Step) -> None:
        (await self._next_peer()).abort()
        self._mark_ended()

    async def _expect_connection(self, step: Step) -> None:
        least, most = step["connects_within_ms"]
        self._pending = await self._next_peer()
        took = 1000 * (asyncio.get_running_loop().time() - self._ended_at)
        assert least <= took <= most, f"came after {took:.0f} ms"

    async def _expect_no_connection(self, step: Step) -> None:
        await asyncio.sleep(step["no_connection_ms"] / 1000)
        assert self._accepted.empty(), "came back"

    async def _send(self, step: Step) -> None:
        self._send_frame(step["send"], step.get("id"))

    async def _send_many(self, step: Step) -> None:
        """Events of one partition, of which each has some `bytes` of data."""
        many = step["send_many"]
        for offset in range(many["from"], many["to"] + 1):
            data = "x" * many.get("bytes", 1)
            self._send_frame(
                {"op": "event", "at": f"{many['partition']}:{offset}", "data": data}, None
            )

    async def _expect_frame(self, step: Step) -> None:
        frame = await self._next_frame()
        if "as" in step:
            self._captured[step["as"]] = frame["id"]
        self._compare(step["receive"], frame)

    async def _expect_no_frames(self, step: Step) -> None:
        await asyncio.sleep(step["receive_nothing_ms"] / 1000)
        frames = self._current_peer.frames
        assert frames.empty(), f"received {frames.get_nowait()}"

    async def _close(self, step: Step) -> None:
        self._current_peer.close(step["close"], step.get("reason", ""))
        self._mark_ended()

    async def _drop(self, _: Step) -> None:
        self._current_peer.abort()
        self._mark_ended()

    async def _stay_silent(self, step: Step) -> None:
        """The server says nothing; a number is for how many milliseconds."""
        if step["silence"] is not True:
            await asyncio.sleep(step["silence"] / 1000)

    async def _expect_disconnect(self, step: Step) -> None:
        peer = self._current_peer
        while (text := await asyncio.wait_for(peer.frames.get(), TIMEOUT_SECONDS)) is not None:
            assert json.loads(text)["op"] == "heartbeat", f"received {text}"
        if step["gone"] is not True:
            assert peer.close_code == step["gone"], f"closed with {peer.close_code}"

    # -- the client --------------------------------------------------------------------------------

    async def _run_user_command(self, step: Step) -> None:
        self._driver.send(step["user"])

    async def _expect_item(self, step: Step) -> None:
        self._compare(step["emits"], await self._driver.next_item(step["emits"].get("item")))

    async def _expect_items(self, step: Step) -> None:
        many = step["emits_many"]
        for offset in range(many["from"], many["to"] + 1):
            at = f"{many['partition']}:{offset}"
            self._compare({"item": "event", "at": at}, await self._driver.next_item("event"))

    async def _expect_no_items(self, step: Step) -> None:
        await self._driver.expect_no_items(step["emits_nothing"] / 1000)

    async def _expect_states(self, step: Step) -> None:
        for state in step["states"]:
            found = await self._driver.next_state()
            assert found == state, f"{found} instead of {state}"

    async def _expect_reply(self, step: Step) -> None:
        self._compare(step["reply"], await self._driver.wait_reply(step["reply"]["n"]))

    async def _expect_final(self, step: Step) -> None:
        self._final = await self._driver.next_item(FINAL)
        self._compare({"item": FINAL, **step[FINAL]}, self._final)

    # -- within ------------------------------------------------------------------------------------

    @property
    def _current_peer(self) -> PeerConnection:
        assert self._peer is not None, "nobody was accepted"
        return self._peer

    def _mark_ended(self) -> None:
        self._ended_at = asyncio.get_running_loop().time()

    def _send_frame(self, partial_frame: Step, id: str | None) -> None:
        frame = complete_frame(partial_frame, self._captured)
        sse_id = id if frame["op"] == "event" else frame.get("cursor")
        if frame["op"] == "welcome":
            sse_id = None  # as the bridge does: the first id stands behind what came first
        text = json.dumps(frame, separators=(",", ":"))
        self._current_peer.send(text, frame["op"], sse_id)

    async def _next_frame(self) -> dict[str, Any]:
        text = await asyncio.wait_for(self._current_peer.frames.get(), TIMEOUT_SECONDS)
        assert text is not None, f"it has gone, with {self._current_peer.close_code}"
        frame: dict[str, Any] = json.loads(text)
        check_client_frame(frame)
        return frame

    def _compare(self, expected: Step, received: dict[str, Any]) -> None:
        difference = find_difference(expected, received, self._captured)
        assert difference is None, difference
