"""`GET /history` while it takes its time: how many at once, and who has gone meanwhile."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from bridge.web.auth.authenticator import AllowAll
from bridge.web.endpoints.history import MAX_CONCURRENT_REQUESTS
from tests.web.history_api import HistoryApiClient, history_api
from tests.web.in_process_bridge import wait_until
from tests.web.publish_api import TOKEN, check_problem
from tests.web.token_signing import shared_secret_authenticator, sign_token

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx

    from bridge.core.sessions.permissions import Permissions
    from bridge.web.auth.authenticator import Credentials


@pytest.fixture
async def at() -> AsyncIterator[HistoryApiClient]:
    """Authentication is off, and nothing is answered yet."""
    async with history_api() as opened:
        opened.history.may_respond.clear()
        yield opened


async def waiting(
    at: HistoryApiClient, count: int, bearer: str | None = None, **asked: str
) -> list[asyncio.Task[httpx.Response]]:
    """Return so many more requests, which wait for the archive."""
    there = at.history.pending_count
    asking = [asyncio.create_task(at.get(bearer, **asked)) for _ in range(count)]
    await wait_until(lambda: at.history.pending_count == there + count)
    return asking


def scope(query: bytes = b"") -> dict[str, Any]:
    """A request as a server hands it to the site."""
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/history",
        "raw_path": b"/history",
        "query_string": query,
        "root_path": "",
        "headers": [(b"host", b"bridge.example")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
    }


async def silence() -> Any:
    """A client that says nothing more, and stays."""
    await asyncio.get_running_loop().create_future()


async def test_an_account_has_so_many_requests_at_a_time_and_others_have_theirs(
    at: HistoryApiClient,
) -> None:
    asking = await waiting(at, MAX_CONCURRENT_REQUESTS, account="alice")
    answer = await at.get(account="alice")
    assert f"more than {MAX_CONCURRENT_REQUESTS}" in check_problem(answer, 503)["detail"]
    assert "retry-after" in answer.headers
    asking += await waiting(at, 1, account="bob")
    asking += await waiting(at, MAX_CONCURRENT_REQUESTS)
    check_problem(await at.get(), 503)
    at.history.may_respond.set()
    assert {(await each).status_code for each in asking} == {200}
    assert (await at.get(account="alice")).status_code == 200


async def test_operators_are_not_counted() -> None:
    async with history_api(shared_secret_authenticator()) as at:
        at.history.may_respond.clear()
        asking = await waiting(at, MAX_CONCURRENT_REQUESTS + 1, TOKEN, account="alice")
        asking += await waiting(at, MAX_CONCURRENT_REQUESTS, sign_token())
        check_problem(await at.get(sign_token()), 503)
        at.history.may_respond.set()
        assert {(await each).status_code for each in asking} == {200}


async def test_for_a_client_that_goes_away_nothing_is_read_any_more(at: HistoryApiClient) -> None:
    gone = asyncio.Event()
    heard: list[dict[str, Any]] = [{"type": "http.request", "body": b"", "more_body": False}]
    said: list[Any] = []

    async def receive() -> dict[str, Any]:
        if heard:
            return heard.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        said.append(message)

    serving = asyncio.ensure_future(at.app(scope(), receive, send))
    await wait_until(lambda: at.history.pending_count == 1)
    gone.set()
    await at.history.cancelled.wait()
    await serving
    asking = await waiting(at, MAX_CONCURRENT_REQUESTS)  # it does not count any more
    at.history.may_respond.set()
    await asyncio.gather(*asking)


async def test_a_page_counts_until_its_client_has_read_it() -> None:
    async with history_api() as at:
        reads = asyncio.Event()
        parts: list[bytes] = []

        async def send(message: Any) -> None:
            if message.get("body"):
                parts.append(message["body"])
                await reads.wait()

        query = b"account=alice"
        slow = [
            asyncio.ensure_future(at.app(scope(query), silence, send))
            for _ in range(MAX_CONCURRENT_REQUESTS)
        ]
        await wait_until(lambda: len(parts) == MAX_CONCURRENT_REQUESTS)
        check_problem(await at.get(account="alice"), 503)
        assert (await at.get(account="bob")).status_code == 200
        reads.set()
        await asyncio.gather(*slow)
        answer = await at.get(account="alice")
        assert answer.status_code == 200
        assert parts == [answer.content] * MAX_CONCURRENT_REQUESTS


async def test_an_instance_that_leaves_keeps_nobody_waiting(at: HistoryApiClient) -> None:
    (asking,) = await waiting(at, 1)
    at.pool.drain_started.set()
    assert "draining" in check_problem(await asking, 503)["detail"]
    await at.history.cancelled.wait()


class Ending(AllowAll):
    """A gate whose permissions end."""

    def authenticate(self, credentials: Credentials) -> Permissions:
        return super().authenticate(credentials)._replace(expires_at=time.time() + 3600)


async def test_whose_grant_ends_meanwhile_is_told_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with history_api(Ending()) as at:
        at.history.may_respond.clear()
        (asking,) = await waiting(at, 1)
        monkeypatch.setattr(at.admission, "_wall_clock", lambda: time.time() + 3605.1)
        at.history.may_respond.set()
        check_problem(await asking, 401)


class Slow(AllowAll):
    """A gate that has to fetch keys first."""

    def __init__(self) -> None:
        self.has_keys = asyncio.Event()
        self.asked = 0

    def authenticate(self, credentials: Credentials) -> Any:
        self.asked += 1
        return self._authenticate_later(credentials)

    async def _authenticate_later(self, credentials: Credentials) -> Permissions:
        await self.has_keys.wait()
        return super().authenticate(credentials)


async def test_keys_that_are_missing_are_waited_for() -> None:
    gate = Slow()
    async with history_api(gate) as at:
        asking = asyncio.create_task(at.get("token"))
        await wait_until(lambda: gate.asked)
        assert at.history.requests == []
        gate.has_keys.set()
        assert (await asking).status_code == 200
        assert (await at.get(TOKEN)).status_code == 200
        assert gate.asked == 1, "an admin token needs none"
