"""A connection that waits before its welcome: a lookup that never ends, and one that fails."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from bridge.web.auth.authenticator import AllowAll
from tests.web.in_process_bridge import wait_until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bridge.core.sessions.permissions import Permissions
    from bridge.web.auth.authenticator import Credentials
    from tests.web.conftest import OpenBridge
    from tests.web.in_process_bridge import InProcessBridge

SINCE = "account=alice&topics=orders&since=2026-11-18T11:00:00Z"


async def never_ends(*_: Any) -> Any:
    await asyncio.Event().wait()


async def fails(*_: Any) -> Any:
    raise RuntimeError("a mistake of ours")


class SlowKeys(AllowAll):
    """Needs keys that `lookup` waits for."""

    def __init__(self, lookup: Callable[..., Awaitable[None]]) -> None:
        self._lookup = lookup

    def authenticate(self, credentials: Credentials) -> Any:
        return self._authenticate_later(credentials)

    async def _authenticate_later(self, credentials: Credentials) -> Permissions:
        await self._lookup(credentials.token)
        return super().authenticate(credentials)


async def connect_overloaded(rig: InProcessBridge, query: str = SINCE) -> None:
    """Connect; check that the client is closed with 4006 and forgotten."""
    async with asyncio.timeout(5):
        client = await rig.connect(query)
        close = await client.wait_closed()
        assert (close.code, close.closing_frame["reconnect"]) == (4006, True)
        await wait_until(lambda: len(rig.pool) == 0)
    assert (rig.admission.connection_count, rig.counters.closes_by_code) == (0, {4006: 1})
    assert rig.counters.refused_by_reason == {"kafka": 1}


@pytest.mark.parametrize("lookup", [never_ends, fails])
async def test_a_start_position_that_is_not_found_closes_the_client_with_4006(
    open_rig: OpenBridge,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    lookup: Callable[..., Awaitable[None]],
):
    rig = await open_rig(start_timeout_seconds=0.2)
    monkeypatch.setattr(rig.upstream, "cursor_at", lookup)
    await connect_overloaded(rig)
    assert ("a mistake of ours" in caplog.text) is (lookup is fails)
    assert "closed a WebSocket before its welcome" in caplog.text


@pytest.mark.parametrize("lookup", [never_ends, fails])
async def test_keys_that_are_not_found_close_the_client_with_4006(
    open_rig: OpenBridge, lookup: Callable[..., Awaitable[None]]
):
    rig = await open_rig(start_timeout_seconds=0.2, gate=SlowKeys(lookup))
    await connect_overloaded(rig, "account=alice&topics=orders")


async def test_the_lookup_of_a_client_that_has_gone_ends_with_it(
    open_rig: OpenBridge, monkeypatch: pytest.MonkeyPatch
):
    rig = await open_rig()
    ended = asyncio.Event()

    async def note_end(*_: Any) -> Any:
        with contextlib.ExitStack() as stack:
            stack.callback(ended.set)
            await never_ends()

    monkeypatch.setattr(rig.upstream, "cursor_at", note_end)
    await rig.connect(SINCE)
    await wait_until(lambda: rig.admission.connection_count)
    rig.server.should_exit = True
    await asyncio.wait_for(ended.wait(), 5)
    await wait_until(lambda: rig.admission.connection_count == 0)
