"""docs/examples/signing_backend.py: its tokens are the bridge's, and only for who is logged in."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from pydantic import SecretStr

from bridge.app.access import build_authenticator
from bridge.client import Client, Connected
from bridge.config.settings import AuthSettings
from tests.client.bridge_stub import WELCOME, StubConnection, running_bridge
from tests.web.authenticator_checks import grant_now

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "signing_backend.py"
SECRET = "a-secret-of-more-than-thirty-two-bytes"


@pytest.fixture
async def backend(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[httpx.AsyncClient]:
    monkeypatch.setenv("PUSH_SECRET", SECRET)
    spec = importlib.util.spec_from_file_location("signing_backend", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)  # where its annotations are looked up
    spec.loader.exec_module(module)
    transport = httpx.ASGITransport(module.app)
    async with httpx.AsyncClient(transport=transport, base_url="https://shop.example") as client:
        yield client


async def login(backend: httpx.AsyncClient, name: str, password: str) -> int:
    told = {"name": name, "password": password}
    return (await backend.post("/login", json=told)).status_code


async def test_token_callback_authenticates_the_logged_in_user(backend):
    assert await login(backend, "alice", "wonderland") == 204
    admits, _ = build_authenticator(AuthSettings(secret=SecretStr(SECRET)), loopback_only=False)
    grants: list[Any] = []

    async def fetch() -> str:
        return str((await backend.post("/push-token")).json()["token"])

    async def treat(guest: StubConnection) -> None:
        grants.append(grant_now(admits, guest.hello["token"]))
        await guest.send(WELCOME)
        await guest.wait_closed()

    async with (
        running_bridge(treat) as url,
        Client(url, token=fetch, rooms=["order:42"], dial={"proxy": None}) as client,
    ):
        assert isinstance(await anext(client), Connected)
    (grant,) = grants
    assert grant.account == "alice"
    assert grant.rooms.matches("order:42")
    assert not grant.rooms.matches("news")
    assert grant.expires_at - grant.issued_at == 900


@pytest.mark.parametrize(
    ("name", "password"), [("alice", "builder"), ("alice", ""), ("mallory", ""), ("mallory", "é")]
)
async def test_no_login_no_token(backend, name, password):
    assert await login(backend, name, password) == 403
    assert (await backend.post("/push-token")).status_code == 401


async def test_token_is_not_cached_and_none_is_signed_after_logout(backend):
    await login(backend, "bob", "builder")
    assert (await backend.post("/push-token")).headers["Cache-Control"] == "no-store"
    await backend.post("/logout")
    assert (await backend.post("/push-token")).status_code == 401
