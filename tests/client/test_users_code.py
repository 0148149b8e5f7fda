"""Code as users write it: docs/examples/listen.py, judged by mypy and run against a bridge."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

from tests.client.bridge_stub import WELCOME, Frame, StubConnection, event_frame, running_bridge

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "listen.py"


def mypy(*files: Path) -> str:
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", os.devnull]
    command += ["--cache-dir", str(ROOT / ".mypy_cache" / "users"), *map(str, files)]
    there = {**os.environ, "MYPYPATH": str(ROOT)}
    done = subprocess.run(command, env=there, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_users_code_is_typed_strictly() -> None:
    assert "Success" in mypy(EXAMPLE)


def test_wrong_user_code_is_detected(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        "from bridge.client import Client, Event, Item\n"
        "Client('a', tokens='t')\n"
        "def show(item: Item) -> str:\n"
        "    return item.offset if isinstance(item, Event) else item.reason\n"
    )
    told = mypy(wrong)
    assert 'Unexpected keyword argument "tokens"' in told
    assert "Incompatible return value type" in told
    assert 'has no attribute "reason"' in told


async def run(url: str, file: Path) -> list[str]:
    """Run the example until it ends; what it printed."""
    command = [sys.executable, str(EXAMPLE), url, "t1", str(file)]
    there = {**os.environ, "PYTHONPATH": str(ROOT), "NO_PROXY": "*"}
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, env=there, stdout=pipe, stderr=pipe)
    out, complaints = await process.communicate()
    assert complaints == b""
    return out.decode().splitlines()


async def test_example_misses_nothing_over_a_restart(tmp_path: Path) -> None:
    hellos: list[Frame] = []

    async def treat(guest: StubConnection) -> None:
        hellos.append(guest.hello)
        await guest.send({**WELCOME, "cursor": guest.hello.get("cursor", "C0")})
        if len(hellos) == 1:
            await guest.send(
                event_frame("t:0:1", id="o1", data=7), event_frame("t:0:2", id="o2", data=8)
            )
        else:
            await guest.send(event_frame("t:0:3", id="o1", deleted=True))
            await guest.send({"op": "live", "replayed": 1, "cursor": "C1"})
        await guest.connection.close(4504, "enough")

    file = tmp_path / "orders.json"
    async with running_bridge(treat) as url:
        assert await run(url, file) == [
            *("connected as alice to one", "event: o1 7", "event: o2 8"),
            "over: 4504 enough",
        ]
        assert json.loads(file.read_text()) == ["C0,t:0:2", {"o1": 7, "o2": 8}]
        assert "1 events while this was away" in await run(url, file)
    assert hellos[1] == {"op": "hello", "token": "t1", "cursor": "C0,t:0:2"}
    assert json.loads(file.read_text()) == ["C1", {"o2": 8}]
