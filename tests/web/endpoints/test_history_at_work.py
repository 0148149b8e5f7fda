"""`GET /history` while it takes its time: how many at once, and who has gone meanwhile."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from bridge.core.protocol import close_codes
from bridge.web.auth.authenticator import OpenGate, Refused
from bridge.web.endpoints.history import AT_A_TIME
from tests.web.asking import Desk, desk
from tests.web.posting import TOKEN, check_problem
from tests.web.rig import until
from tests.web.signing import shared_gate, signed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx

    from bridge.core.sessions.permissions import Grant


@pytest.fixture
async def at() -> AsyncIterator[Desk]:
    """Authentication is off, and nothing is answered yet."""
    async with desk() as opened:
        opened.archive.may_answer.clear()
        yield opened


async def waiting(
    at: Desk, count: int, bearer: str | None = None, **asked: str
) -> list[asyncio.Task[httpx.Response]]:
    """Return so many more requests, which wait for the archive."""
    there = at.archive.waiting
    asking = [asyncio.create_task(at.ask(bearer, **asked)) for _ in range(count)]
    await until(lambda: at.archive.waiting == there + count)
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


async def test_an_account_has_so_many_requests_at_a_time_and_others_have_theirs(at: Desk) -> None:
    asking = await waiting(at, AT_A_TIME, account="alice")
    answer = await at.ask(account="alice")
    assert f"more than {AT_A_TIME}" in check_problem(answer, 503)["detail"]
    assert "retry-after" in answer.headers
    asking += await waiting(at, 1, account="bob")
    asking += await waiting(at, AT_A_TIME)
    check_problem(await at.ask(), 503)
    at.archive.may_answer.set()
    assert {(await each).status_code for each in asking} == {200}
    assert (await at.ask(account="alice")).status_code == 200


async def test_operators_are_not_counted() -> None:
    async with desk(shared_gate()) as at:
        at.archive.may_answer.clear()
        asking = await waiting(at, AT_A_TIME + 1, TOKEN, account="alice")
        asking += await waiting(at, AT_A_TIME, signed())
        check_problem(await at.ask(signed()), 503)
        at.archive.may_answer.set()
        assert {(await each).status_code for each in asking} == {200}


async def test_for_a_client_that_goes_away_nothing_is_read_any_more(at: Desk) -> None:
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
    await until(lambda: at.archive.waiting == 1)
    gone.set()
    await at.archive.given_up.wait()
    await serving
    asking = await waiting(at, AT_A_TIME)  # it does not count any more
    at.archive.may_answer.set()
    await asyncio.gather(*asking)


async def test_a_page_counts_until_its_client_has_read_it() -> None:
    async with desk() as at:
        reads = asyncio.Event()
        parts: list[bytes] = []

        async def send(message: Any) -> None:
            if message.get("body"):
                parts.append(message["body"])
                await reads.wait()

        query = b"account=alice"
        slow = [
            asyncio.ensure_future(at.app(scope(query), silence, send)) for _ in range(AT_A_TIME)
        ]
        await until(lambda: len(parts) == AT_A_TIME)
        check_problem(await at.ask(account="alice"), 503)
        assert (await at.ask(account="bob")).status_code == 200
        reads.set()
        await asyncio.gather(*slow)
        answer = await at.ask(account="alice")
        assert answer.status_code == 200
        assert parts == [answer.content] * AT_A_TIME


async def test_an_instance_that_leaves_keeps_nobody_waiting(at: Desk) -> None:
    (asking,) = await waiting(at, 1)
    at.sockets.leaving.set()
    assert "draining" in check_problem(await asking, 503)["detail"]
    await at.archive.given_up.wait()


class Ending(OpenGate):
    """A gate that knows everybody until it does not."""

    ended = False

    def identify(self, token: str | None, account: str | None) -> Grant:
        if self.ended:
            raise Refused(close_codes.UNAUTHENTICATED, "unauthenticated: the token has expired")
        return super().identify(token, account)


async def test_whose_grant_ends_meanwhile_is_told_nothing() -> None:
    gate = Ending()
    async with desk(gate) as at:
        at.archive.may_answer.clear()
        (asking,) = await waiting(at, 1)
        gate.ended = True
        at.archive.may_answer.set()
        check_problem(await asking, 401)


class Slow(OpenGate):
    """A gate that has to fetch keys first."""

    def __init__(self) -> None:
        self.has_keys = asyncio.Event()
        self.asked = 0

    def missing(self, token: str | None) -> Any:  # noqa: ARG002
        self.asked += 1
        return self.has_keys.wait()


async def test_keys_that_are_missing_are_waited_for() -> None:
    gate = Slow()
    async with desk(gate) as at:
        asking = asyncio.create_task(at.ask("token"))
        await until(lambda: gate.asked)
        assert at.archive.asked == []
        gate.has_keys.set()
        assert (await asking).status_code == 200
        assert (await at.ask(TOKEN)).status_code == 200
        assert gate.asked == 1, "an admin token needs none"
