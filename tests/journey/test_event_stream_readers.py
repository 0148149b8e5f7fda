"""Popular readers of event streams, and a proxy that compresses: each works with the bridge.

Each is a process of its own, or a library as its users have it. npm installs the JavaScript ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx
import httpx_sse
import pytest

from tests.client_js.npm_project import install_packages
from tests.web.in_process_bridge import connection_of, running_bridge, wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.web.in_process_bridge import InProcessBridge

SCRIPT: Final = Path(__file__).with_name("event_stream_readers.mjs")
#: Exact versions, so that a newer one is tried on purpose.
PACKAGES: Final = (
    "@microsoft/fetch-event-source@2.0.1",
    "event-source-polyfill@1.0.31",
    "express@5.3.0",
    "compression@1.8.2",
)
READERS: Final = ("fetch-event-source", "event-source-polyfill")
ALICE: Final = "account=alice&topics=orders"
TIMEOUT_SECONDS: Final = 20.0

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the readers' packages."""
    folder = install_packages(tmp_path_factory.mktemp("readers"), *PACKAGES)
    shutil.copy(SCRIPT, folder)
    return folder


@pytest.fixture
async def bridge() -> AsyncIterator[InProcessBridge]:
    async with running_bridge() as running:
        yield running


class Reader:
    """A process that writes what it was handed."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def item(self) -> dict[str, Any]:
        """The next item."""
        assert self._process.stdout is not None
        async with asyncio.timeout(TIMEOUT_SECONDS):
            line = await self._process.stdout.readline()
        assert line, "the reader has ended"
        return dict(json.loads(line))

    async def frame(self, op: str) -> dict[str, Any]:
        """The next item, which is a frame of `op`: never one without data, and no error."""
        item = await self.item()
        assert item["type"] == op, item
        frame = json.loads(item["data"])
        assert frame["op"] == op
        return dict(frame)


@contextlib.asynccontextmanager
async def running(project: Path, name: str, url: str) -> AsyncIterator[Reader]:
    process = await asyncio.create_subprocess_exec(
        "node", SCRIPT.name, name, url, cwd=project, stdout=asyncio.subprocess.PIPE, limit=2**24
    )
    try:
        yield Reader(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def cut(bridge: InProcessBridge) -> None:
    """End the stream of alice without a word."""
    (alice,) = bridge.hub.subscriptions.by_account["alice"]
    connection_of(alice).transport.abort()


async def wait_followed(bridge: InProcessBridge) -> None:
    await wait_until(lambda: "alice" in bridge.hub.subscriptions.by_account)


# -- libraries -------------------------------------------------------------------------------------


@pytest.mark.npm
@pytest.mark.parametrize("name", READERS)
async def test_a_reader_gets_every_frame_and_nothing_else(
    bridge: InProcessBridge, project: Path, name: str
) -> None:
    async with running(project, name, f"{bridge.http}/events?{ALICE}") as reader:
        await reader.frame("welcome")
        for number in range(3):
            at = bridge.publish(accounts=["alice"], data={"n": number})
            event = await reader.frame("event")
            assert (event["at"], event["data"]) == (at, {"n": number})


@pytest.mark.npm
@pytest.mark.parametrize("name", READERS)
async def test_a_reader_comes_back_and_misses_nothing(
    bridge: InProcessBridge, project: Path, name: str
) -> None:
    async with running(project, name, f"{bridge.http}/events?{ALICE}") as reader:
        await reader.frame("welcome")
        at = bridge.publish(accounts=["alice"])
        assert (await reader.frame("event"))["at"] == at
        cut(bridge)
        await wait_until(lambda: "alice" not in bridge.hub.subscriptions.by_account)
        missed = [bridge.publish(accounts=["alice"]) for _ in range(3)]
        while (item := await reader.item())["type"] != "welcome":
            assert item["type"] == "error", item
        assert [(await reader.frame("event"))["at"] for _ in missed] == missed
        assert (await reader.frame("live"))["replayed"] == 3


async def test_httpx_sse_gets_every_frame_and_resumes(bridge: InProcessBridge) -> None:
    url = f"{bridge.http}/events?{ALICE}"
    last_event_id = ""
    async with httpx.AsyncClient(trust_env=False, timeout=TIMEOUT_SECONDS) as http:
        async with httpx_sse.aconnect_sse(http, "GET", url) as source:
            stream = source.aiter_sse()
            welcome = await anext(stream)
            assert (welcome.event, welcome.json()["op"], welcome.retry) == ("welcome",) * 2 + (
                5000,
            )
            at = bridge.publish(accounts=["alice"])
            event = await anext(stream)
            assert (event.event, event.json()["at"]) == ("event", at)
            last_event_id = event.id
        missed = bridge.publish(accounts=["alice"])
        headers = {"Last-Event-ID": last_event_id}
        async with httpx_sse.aconnect_sse(http, "GET", url, headers=headers) as source:
            stream = source.aiter_sse()
            received = [(await anext(stream)).json() for _ in range(3)]
            assert [frame["op"] for frame in received] == ["welcome", "event", "live"]
            assert received[1]["at"] == missed


# -- a proxy ---------------------------------------------------------------------------------------


@pytest.mark.npm
async def test_express_with_compression_in_front_holds_no_event_back(
    bridge: InProcessBridge, project: Path
) -> None:
    async with (
        running(project, "proxy", bridge.http) as proxy,
        httpx.AsyncClient(trust_env=False, timeout=TIMEOUT_SECONDS) as http,
    ):
        origin = f"http://127.0.0.1:{(await proxy.item())['port']}"
        compressed = await http.get(f"{origin}/openapi.json")
        assert compressed.headers["content-encoding"], "it does compress"
        async with httpx_sse.aconnect_sse(http, "GET", f"{origin}/events?{ALICE}") as source:
            assert "content-encoding" not in source.response.headers
            stream = source.aiter_sse()
            assert (await anext(stream)).event == "welcome"
            for _ in range(3):
                at = bridge.publish(accounts=["alice"])
                assert (await anext(stream)).json()["at"] == at


# -- commands --------------------------------------------------------------------------------------


async def run_command(*command: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            output, _ = await process.communicate()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    return process.returncode or 0, output.decode()


@pytest.mark.wget
@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz", f"/events?{ALICE}"])
async def test_wget_spider_finds_what_is_there(bridge: InProcessBridge, path: str) -> None:
    code, output = await run_command("wget", "--spider", "--no-proxy", f"{bridge.http}{path}")
    assert (code, "200 OK" in output) == (0, True), output
    await wait_until(lambda: bridge.admission.connection_count == 0)


@pytest.mark.curl
@pytest.mark.parametrize("option", ["--http2", "--http1.1", "--http1.0"])
async def test_curl_gets_a_stream_whatever_version_it_offers(
    bridge: InProcessBridge, option: str
) -> None:
    # `--http2` sends `Upgrade: h2c`, which is not granted.
    command = ("curl", "-sN", "--noproxy", "*", option, f"{bridge.http}/events?{ALICE}")
    reading = asyncio.create_task(run_command(*command))
    await wait_followed(bridge)
    at = bridge.publish(accounts=["alice"])
    bridge.server.should_exit = True
    code, output = await reading
    assert code == 0, output
    events = [line for line in output.splitlines() if line.startswith("event: ")]
    assert events == ["event: welcome", "event: event", "event: closing"]
    assert at in output


@pytest.mark.curl
async def test_curl_with_http2_gets_ordinary_answers(bridge: InProcessBridge) -> None:
    command = ("curl", "-sS", "--noproxy", "*", "--http2", f"{bridge.http}/healthz")
    assert await run_command(*command) == (0, '{"status":"alive"}')
