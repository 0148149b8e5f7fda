"""`docs/authorization.md`: its backend of ten lines, as it stands there, answers the bridge."""

from __future__ import annotations

import asyncio
import re
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bridge.app.access import build_authenticator
from bridge.config.settings import AuthSettings
from tests.web.auth.callback.callback_backend import callback_backend
from tests.web.token_signing import sign_token

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.web.conftest import OpenBridge

PAGE = Path(__file__).parents[4] / "docs" / "authorization.md"


@pytest.fixture
async def example_port(tmp_path: Path) -> AsyncIterator[int]:
    (code,) = [
        each
        for each in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
        if "serve_forever" in each
    ]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    script = tmp_path / "backend.py"
    script.write_text(code.replace("9000", str(port)), encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(script), stderr=asyncio.subprocess.DEVNULL
    )
    async with asyncio.timeout(20):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                break
    yield port
    process.kill()
    await process.wait()


async def test_a_backend_of_ten_lines_is_enough(open_rig: OpenBridge, example_port: int) -> None:
    url = f"http://127.0.0.1:{example_port}/"
    auth = AuthSettings.model_validate({"mode": "callback", "callback_url": url})
    gate, _ = build_authenticator(auth, loopback_only=False)
    rig = await open_rig(gate=gate)
    headers = {"Cookie": "sid=1"}
    client = await rig.connect_welcomed("rooms=order:42", additional_headers=headers)
    assert (client.welcome["account"], client.welcome["rooms"]) == ("alice", ["order:42"])
    end = await (await rig.connect(additional_headers={"Cookie": "sid=2"})).wait_closed()
    assert end.code == 4500
    gate._client.close()  # type: ignore[attr-defined]


async def test_with_a_callback_url_and_a_secret_tokens_are_extended(open_rig: OpenBridge) -> None:
    async with callback_backend() as backend:
        auth = AuthSettings.model_validate({"secret": "s" * 32, "callback_url": backend.url})
        gate, _ = build_authenticator(auth, loopback_only=False, is_private={"audit": True})
        rig = await open_rig(gate=gate)
        backend.answer = {"topics": ["audit"]}
        client = await rig.connect_welcomed(f"topics=audit&token={sign_token('s' * 32)}")
        assert client.welcome["topics"] == ["audit"]
        gate._client.close()  # type: ignore[attr-defined]
