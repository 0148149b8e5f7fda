"""One `push-bridge dev` for all tests of commands; each test uses its own accounts and rooms."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from websockets.asyncio.client import connect

from tests.cli.command_process import CommandProcess
from tests.harness.frame_schemas import read_frame

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from websockets.asyncio.client import ClientConnection

TOPICS = ["demo", "orders", "shop.orders.v1"]


class DevServer(NamedTuple):
    """A running `push-bridge dev`."""

    command: CommandProcess
    url: str
    kafka: str

    def client(self, query: str) -> connect:
        return connect(f"{self.url.replace('http', 'ws', 1)}/ws?{query}", proxy=None)


def running_dev(command: CommandProcess) -> DevServer:
    """Wait until it serves; read its addresses from its output."""
    command.wait_for_line("publish ")
    addresses = {line.split()[0]: line.split()[1] for line in command.stdout_lines}
    return DevServer(command, addresses["bridge"], addresses["kafka"])


@pytest.fixture(scope="session")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    folder = tmp_path_factory.mktemp("dev")
    with CommandProcess(folder, "dev", PORT="0", TOPICS=json.dumps(TOPICS)) as command:
        yield running_dev(command)


@pytest.fixture
def account() -> str:
    """An account of this test alone."""
    return f"account-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The working directory of a command, without a `.env`."""
    return tmp_path


async def next_frame(client: ClientConnection, op: str) -> dict[str, Any]:
    """Return the next frame with this `op`; skip others."""
    while True:
        frame = read_frame(await client.recv())
        if frame["op"] == op:
            return frame
