"""The `/v1` calls that make commands: what is ordered, and what is answered to what can not be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
import pytest

from bridge.core.coordination.commands import Disconnect, Join, Leave, Revoke, SetRoomTitle
from bridge.core.ports import NotAcknowledged, RecordRefused
from bridge.web.api.publish import publish_router
from bridge.web.app import create_app
from bridge.web.auth.origins import OriginPolicy
from tests.web.directory_api import (
    INVALID_NAMES,
    ODD_NAMES,
    DirectoryApiClient,
    DirectoryBackend,
    directory_api,
)
from tests.web.publish_api import BEARER, TOKEN, RecordingPublisher, admin_access, check_problem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bridge.core.coordination.commands import Command


@pytest.fixture
def registry() -> DirectoryBackend:
    made = DirectoryBackend()
    made.connect_here("c1")
    made.connect_elsewhere("c2")
    return made


@pytest.fixture
async def at(registry: DirectoryBackend) -> AsyncIterator[DirectoryApiClient]:
    async with directory_api(registry) as caller:
        yield caller


def encoded(name: str) -> str:
    return quote(name, safe="")


#: Each call with a name that stands for any, and the command that it makes; which part it is.
CALLS: dict[str, tuple[str, Any]] = {
    "PUT rooms/{room}/connections/c1": ("room", lambda it: Join(it, "c1")),
    "DELETE rooms/{room}/connections/c1": ("room", lambda it: Leave(it, "c1")),
    "PUT rooms/{room}/accounts/ann": ("room", lambda it: Join(it, account="ann")),
    "PUT rooms/r/accounts/{account}": ("account", lambda it: Join("r", account=it)),
    "DELETE rooms/{room}/accounts/ann": ("room", lambda it: Leave(it, account="ann")),
    "DELETE rooms/r/accounts/{account}": ("account", lambda it: Leave("r", account=it)),
    "DELETE accounts/{account}/connections": ("account", lambda it: Disconnect(None, it)),
    "POST accounts/{account}/revoke": ("account", Revoke),
}


@pytest.mark.parametrize("call", CALLS)
async def test_a_call_is_a_command_whatever_characters_a_name_has(
    at: DirectoryApiClient, registry: DirectoryBackend, call: str
) -> None:
    (method, path), (part, made) = call.split(" "), CALLS[call]
    for number, name in enumerate(ODD_NAMES):
        answer = await at.run_command(method, path.format(**{part: encoded(name)}))
        assert answer == {"at": f"push-bridge.control:0:{number}"}
    assert registry.command_publisher.commands == [made(name) for name in ODD_NAMES]


async def test_two_odd_names_stay_apart(at: DirectoryApiClient, registry: DirectoryBackend) -> None:
    await at.run_command(
        "PUT", f"rooms/{encoded('r/accounts/x')}/accounts/{encoded('y/accounts/z')}"
    )
    await at.run_command("PUT", f"rooms/{encoded('%2F')}/accounts/{encoded('/')}")
    for name in ODD_NAMES:
        await at.run_command("PUT", f"rooms/{encoded(name)}", json={"title": name})
    assert registry.command_publisher.commands == [
        Join("r/accounts/x", account="y/accounts/z"),
        Join("%2F", account="/"),
        *(SetRoomTitle(name, name) for name in ODD_NAMES),
    ]


@pytest.mark.parametrize("call", CALLS)
async def test_what_nothing_can_be_called_is_a_422_that_says_which(
    at: DirectoryApiClient, registry: DirectoryBackend, call: str
) -> None:
    (method, path), (part, _) = call.split(" "), CALLS[call]
    no_utf_8 = ["%ff", "a%C3", "%ED%A0%80"]
    for name in [*map(encoded, INVALID_NAMES), *no_utf_8]:
        told = await at.run_command(method, path.format(**{part: name}), 422)
        assert told["detail"].startswith(f"{part}: not a name")
    await at.run_command(method, path.format(**{part: ""}), 404)  # there is no such path
    assert registry.command_publisher.commands == []


# -- connections -----------------------------------------------------------------------------------


@pytest.mark.parametrize("id", ["c1", "c2"])
async def test_a_connection_is_known_wherever_it_is(
    at: DirectoryApiClient, registry: DirectoryBackend, id: str
) -> None:
    await at.run_command("PUT", f"rooms/r/connections/{id}")
    await at.run_command("DELETE", f"rooms/r/connections/{id}")
    await at.run_command("DELETE", f"connections/{id}", params={"reason": "so it is"})
    expected: list[Command] = [Join("r", id), Leave("r", id), Disconnect(id, reason="so it is")]
    assert registry.command_publisher.commands == expected


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "rooms/r/connections/{}"),
        ("DELETE", "rooms/r/connections/{}"),
        ("DELETE", "connections/{}"),
    ],
)
async def test_a_connection_that_nobody_knows_is_a_404(
    at: DirectoryApiClient, registry: DirectoryBackend, method: str, path: str
) -> None:
    registry.connect_elsewhere("left", instance="i1")  # the state topic does not say so yet
    for id in ("nobody", "left", "c1%2F"):
        assert "no connection" in (await at.run_command(method, path.format(id), 404))["detail"]
    await at.run_command(method, path.format("a%2Cb"), 422)
    assert registry.command_publisher.commands == []


async def test_an_account_that_nobody_knows_is_none_the_less_obeyed(
    at: DirectoryApiClient, registry: DirectoryBackend
) -> None:
    await at.run_command("PUT", "rooms/nowhere/accounts/nobody")
    await at.run_command("DELETE", "accounts/nobody/connections")
    assert registry.command_publisher.commands == [
        Join("nowhere", account="nobody"),
        Disconnect(None, "nobody"),
    ]


@pytest.mark.parametrize("path", ["connections/c1", "accounts/ann/connections"])
async def test_a_reason_is_told_where_there_is_one(
    at: DirectoryApiClient, registry: DirectoryBackend, path: str
) -> None:
    for reason in ("", "x" * 500, "é, and so on"):
        await at.run_command("DELETE", path, params={"reason": reason})
    await at.run_command("DELETE", path)
    wrongs: list[dict[str, Any]] = [{"resaon": "so"}, {"reason": ["one", "another"]}]
    for wrong in wrongs:
        await at.run_command("DELETE", path, 422, params=wrong)
    reasons = [
        it.reason for it in registry.command_publisher.commands if isinstance(it, Disconnect)
    ]
    assert reasons == [None, "x" * 500, "é, and so on", None]


# -- bodies ----------------------------------------------------------------------------------------


async def test_a_title_is_given_or_taken_back(
    at: DirectoryApiClient, registry: DirectoryBackend
) -> None:
    titles = ["", "Order 42", "x" * 200, "\U0001f600" * 200]
    for title in titles:
        await at.run_command("PUT", "rooms/order:42", json={"title": title, "by": "the shop"})
    assert registry.command_publisher.commands == [
        SetRoomTitle("order:42", title) for title in titles
    ]


async def test_a_revocation_is_of_now_or_of_a_time(
    at: DirectoryApiClient, registry: DirectoryBackend
) -> None:
    then = "2026-11-21T10:00:00+01:00"
    for body in ({}, {"before": None}, {"before": then}):
        await at.run_command("POST", "accounts/ann/revoke", json=body)
    await at.run_command("POST", "accounts/ann/revoke")
    befores = [it.before for it in registry.command_publisher.commands if isinstance(it, Revoke)]
    assert befores == [None, None, then, None]


BODIES = {"rooms/r": "PUT", "accounts/ann/revoke": "POST"}


@pytest.mark.parametrize("path", BODIES)
async def test_what_is_no_json_is_a_400(
    at: DirectoryApiClient, registry: DirectoryBackend, path: str
) -> None:
    for body in (b"nonsense", b"{", b"\xff", b'{"title": NaN}', b"[" * 5000):
        await at.run_command(BODIES[path], path, 400, content=body)
    assert registry.command_publisher.commands == []


async def test_a_wrong_field_is_a_422_that_names_it(
    at: DirectoryApiClient, registry: DirectoryBackend
) -> None:
    for body in ({}, {"title": None}, {"title": 42}, {"title": "x" * 201}):
        assert "title" in (await at.run_command("PUT", "rooms/r", 422, json=body))["detail"]
    for body in ({"before": 1795000000}, {"before": "yesterday"}, {"before": ""}):
        told = await at.run_command("POST", "accounts/ann/revoke", 422, json=body)
        assert "before" in told["detail"]
    for path, method in BODIES.items():
        for content in (b"[]", b'"now"', b"7", b"null"):
            assert "object" in (await at.run_command(method, path, 422, content=content))["detail"]
    assert registry.command_publisher.commands == []


async def test_a_room_without_a_title_in_the_body_is_a_400(at: DirectoryApiClient) -> None:
    await at.run_command("PUT", "rooms/r", 400)


@pytest.mark.parametrize("path", BODIES)
async def test_a_body_without_an_end_is_given_up_early(at: DirectoryApiClient, path: str) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1
            yield b" " * 10_000

    await at.run_command(BODIES[path], path, 413, content=endless())
    assert sent < 10


# -- why not ---------------------------------------------------------------------------------------

EVERY = {
    "join": ("PUT", "rooms/r/connections/c1"),
    "leave": ("DELETE", "rooms/r/connections/c1"),
    "enrol": ("PUT", "rooms/r/accounts/ann"),
    "strike": ("DELETE", "rooms/r/accounts/ann"),
    "name": ("PUT", "rooms/r"),
    "disconnect": ("DELETE", "connections/c1"),
    "disconnect all": ("DELETE", "accounts/ann/connections"),
    "revoke": ("POST", "accounts/ann/revoke"),
}
every_call = pytest.mark.parametrize(("method", "path"), EVERY.values(), ids=EVERY)


def body(path: str) -> dict[str, Any]:
    return {"json": {"title": "t"}} if path == "rooms/r" else {}


async def test_what_is_not_acknowledged_is_a_503_that_says_to_try_again(
    at: DirectoryApiClient, registry: DirectoryBackend
) -> None:
    registry.command_publisher.error = NotAcknowledged()
    for method, path in EVERY.values():
        told = await at.run_command(method, path, 503, **body(path))
        assert "retry" in told["detail"]
        answer = await at.http.request(method, f"/v1/{path}", headers=BEARER, **body(path))
        assert int(answer.headers["retry-after"]) >= 1


async def test_what_kafka_refuses_for_certain_is_a_422_that_says_why(
    at: DirectoryApiClient, registry: DirectoryBackend
) -> None:
    registry.command_publisher.error = RecordRefused("set the clock")
    for method, path in EVERY.values():
        told = await at.run_command(method, path, 422, **body(path))
        assert "nothing was written: set the clock" in told["detail"]


async def test_a_bug_is_a_500_that_says_nothing_of_it(
    at: DirectoryApiClient, registry: DirectoryBackend
) -> None:
    registry.command_publisher.error = ZeroDivisionError("an inner secret")
    for method, path in EVERY.values():
        assert "secret" not in (await at.run_command(method, path, 500, **body(path)))["detail"]


async def test_without_an_admin_token_it_is_a_401_whatever_is_asked(
    at: DirectoryApiClient, registry: DirectoryBackend
) -> None:
    wrong = {"Authorization": f"Bearer {TOKEN}x"}
    for method, path in EVERY.values():
        for each in (path, path.replace("c1", "nobody"), path.replace("r/", "a%2Cb/", 1)):
            for headers in ({}, wrong):
                answer = await at.http.request(method, f"/v1/{each}", headers=headers, **body(path))
                check_problem(answer, 401)
    assert registry.command_publisher.commands == []


@every_call
async def test_who_writes_too_fast_is_told_when_to_go_on(method: str, path: str) -> None:
    registry = DirectoryBackend(per_second=2)
    registry.connect_here("c1")
    async with directory_api(registry) as at:
        for status in (202, 202, 429):
            await at.run_command(method, path, status, **body(path))
        answer = await at.http.request(method, f"/v1/{path}", headers=BEARER, **body(path))
        assert answer.headers["retry-after"] == "1"
        registry.now_seconds += 0.6
        await at.run_command(method, path, 202, **body(path))
        assert len(registry.command_publisher.commands) == 3


async def test_what_can_not_be_written_anyway_uses_nothing_up() -> None:
    registry = DirectoryBackend(per_second=1)
    async with directory_api(registry) as at:
        await at.run_command("DELETE", "connections/nobody", 404)
        await at.run_command("PUT", "rooms/a%2Cb", 422, json={"title": "t"})
        await at.run_command("PUT", "rooms/r", 400)
        await at.run_command("PUT", "rooms/r", json={"title": "t"})


async def test_events_and_commands_share_one_allowance() -> None:
    registry = DirectoryBackend(per_second=2)
    events = publish_router(
        RecordingPublisher(),
        admin_access(),
        max_event_bytes=1000,
        max_addresses=100,
        rate_limit=registry.rate_limit,
    )
    transport = httpx.ASGITransport(create_app(OriginPolicy(), [events, *registry.routers()], {}))
    async with httpx.AsyncClient(transport=transport, base_url="http://bridge.example") as http:
        at = DirectoryApiClient(http)
        await at.run_command("PUT", "rooms/r/accounts/ann")
        event = {"topic": "orders", "all": True}
        for status in (202, 429):
            answer = await http.post("/v1/events", headers=BEARER, json=event)
            assert answer.status_code == status
        await at.run_command("PUT", "rooms/r/accounts/ann", 429)


async def test_another_method_is_a_405(at: DirectoryApiClient) -> None:
    for _, path in EVERY.values():
        answer = await at.http.patch(f"/v1/{path}", headers=BEARER)
        assert answer.status_code == 405
