"""Operators: roles, guessed tokens, and the log line of each call that changes something."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import httpx
import pytest

from bridge.app.access import build_operators
from bridge.config.settings import Settings
from bridge.web.api import access as access_module
from bridge.web.api.access import MAX_WRONG_TOKENS, AdminAccess, Operator
from bridge.web.api.publish import publish_router
from bridge.web.app import create_app
from bridge.web.auth.client_address import TrustedProxies
from bridge.web.auth.origins import OriginPolicy
from bridge.web.http.rate_limit import RateLimit
from tests.web import history_api as history_api_module
from tests.web.directory_api import DirectoryBackend
from tests.web.history_api import history_api
from tests.web.publish_api import BEARER, TOKEN, RecordingPublisher, check_problem
from tests.web.token_signing import shared_secret_authenticator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

READER = "a-token-that-may-only-read"
EVENT = {"topic": "orders", "accounts": ["alice"]}


class Clock:
    """A clock that a test sets."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class OperatorsApi:
    """The API with two operators, and what they wrote."""

    def __init__(
        self, http: httpx.AsyncClient, clock: Clock, publisher: RecordingPublisher
    ) -> None:
        self.http = http
        self.clock = clock
        self.publisher = publisher

    async def guess(self, token: str = "wrong", address: str = "192.0.2.1") -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}", "X-Forwarded-For": address}
        return await self.http.get("/v1/instances", headers=headers)


@pytest.fixture
async def api() -> AsyncIterator[OperatorsApi]:
    clock, publisher, backend = Clock(), RecordingPublisher(), DirectoryBackend()
    operators = [Operator(TOKEN, "deploy"), Operator(READER, "board", may_write=False)]
    access = AdminAccess(operators, TrustedProxies(["127.0.0.1"]), clock)
    routers = backend.routers_with(access)
    events = publish_router(
        publisher,
        access,
        max_event_bytes=1000,
        max_addresses=100,
        rate_limit=RateLimit(1e9, now=clock),
    )
    app = create_app(OriginPolicy(), [events, *routers], {})
    transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=("127.0.0.1", 5))
    async with httpx.AsyncClient(transport=transport, base_url="http://bridge.example") as http:
        yield OperatorsApi(http, clock, publisher)


# -- roles -----------------------------------------------------------------------------------------


async def test_who_may_read_may_get_and_nothing_else(api: OperatorsApi) -> None:
    headers = {"Authorization": f"Bearer {READER}"}
    for path in ("instances", "connections", "rooms", "accounts/ann"):
        assert (await api.http.get(f"/v1/{path}", headers=headers)).status_code == 200
    calls = [
        ("POST", "events", EVENT),
        ("PUT", "rooms/r/accounts/ann", None),
        ("DELETE", "rooms/r/accounts/ann", None),
        ("DELETE", "connections/c", None),
        ("POST", "accounts/ann/revoke", None),
        ("PUT", "rooms/r", {"title": "t"}),
        ("POST", "instances/i1/drain", None),
    ]
    for method, path, body in calls:
        answer = await api.http.request(method, f"/v1/{path}", headers=headers, json=body)
        assert answer.status_code in {403, 404, 405}, path
    answer = await api.http.post("/v1/events", headers=headers, json=EVENT)
    assert "`read`" in check_problem(answer, 403)["detail"]
    assert api.publisher.records == []


async def test_a_reading_role_may_ask_why() -> None:
    assert "/v1/explain" in access_module._READING_PATHS


def test_an_admin_token_is_text_or_has_a_role_and_a_name() -> None:
    settings = Settings.model_validate(
        {
            "admin_tokens": [
                TOKEN,
                {"token": READER, "role": "read", "name": "board"},
                {"token": "another-token-of-operators"},
            ]
        }
    )
    assert build_operators(settings) == [
        Operator(TOKEN, "token-1"),
        Operator(READER, "board", may_write=False),
        Operator("another-token-of-operators", "token-3"),
    ]


# -- guesses ---------------------------------------------------------------------------------------


async def test_ten_wrong_tokens_in_a_second_from_an_address_get_429(api: OperatorsApi) -> None:
    for _ in range(MAX_WRONG_TOKENS):
        check_problem(await api.guess(), 401)
    answer = await api.guess()
    check_problem(answer, 429)
    assert answer.headers["retry-after"] == "1"
    check_problem(await api.guess(TOKEN), 429)  # else a right guess would be told apart
    assert (await api.guess(TOKEN, "192.0.2.2")).status_code == 200
    api.clock.now += 0.999
    check_problem(await api.guess(TOKEN), 429)
    api.clock.now += 0.001
    assert (await api.guess(TOKEN)).status_code == 200


async def test_guesses_of_one_ipv6_network_count_together(api: OperatorsApi) -> None:
    for number in range(MAX_WRONG_TOKENS):
        check_problem(await api.guess(address=f"2001:db8::{number + 1}"), 401)
    check_problem(await api.guess(address="2001:db8::ffff"), 429)
    check_problem(await api.guess(address="2001:db8:0:1::1"), 401)


async def test_few_wrong_tokens_and_missing_ones_are_not_limited(api: OperatorsApi) -> None:
    for _ in range(3 * MAX_WRONG_TOKENS):
        check_problem(await api.http.get("/v1/instances"), 401)
        check_problem(await api.guess(), 401)
        api.clock.now += 0.2


def test_addresses_that_guess_take_a_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_module, "_MAX_ADDRESSES", 3)
    access = AdminAccess([Operator(TOKEN, "x")])
    for number in range(10):
        access.count_wrong(f"192.0.2.{number}")
    assert len(access._wrong_tokens) == 3


async def test_history_is_no_way_to_guess_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    access = AdminAccess([Operator(TOKEN, "x")], now=Clock())
    monkeypatch.setattr(history_api_module, "admin_access", lambda: access)
    async with history_api(shared_secret_authenticator(), admins=True) as at:
        statuses = [
            (await at.get(f"wrong-{number}", account="alice")).status_code for number in range(12)
        ]
        assert statuses == [400] * MAX_WRONG_TOKENS + [429, 429]
        assert (await at.get(TOKEN, account="alice")).status_code == 429


# -- the log ---------------------------------------------------------------------------------------


async def test_each_call_that_changes_something_is_one_line(
    api: OperatorsApi, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="bridge")
    await api.http.post("/v1/events", headers=BEARER, json=EVENT)
    await api.http.put("/v1/rooms/r%0Aforged/accounts/ann", headers=BEARER)
    await api.http.put("/v1/rooms/r/accounts/ann?x=secret", headers=BEARER)
    await api.http.post("/v1/events", headers=BEARER, json={"topic": "orders"})
    reader = {"Authorization": f"Bearer {READER}"}
    await api.http.post("/v1/events", headers=reader, json=EVENT)
    await api.http.get("/v1/rooms", headers=BEARER)
    await api.guess()
    lines = [each.getMessage() for each in caplog.records if "operator" in each.getMessage()]
    assert [line.partition(" name=")[2] for line in lines] == [
        "deploy call=POST /v1/events status=202",
        "deploy call=PUT /v1/rooms/r%0Aforged/accounts/ann status=422",
        "deploy call=PUT /v1/rooms/r/accounts/ann status=202",
        "deploy call=POST /v1/events status=422",
        "board call=POST /v1/events status=403",
    ]
    assert all(TOKEN not in line and READER not in line for line in lines)
