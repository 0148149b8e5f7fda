"""The handshake by RFC 6455, 4.2 and RFC 9110, 7.8, and what is no handshake at all."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.web.raw_connection import WEBSOCKET_KEY, frame_bytes

if TYPE_CHECKING:
    from tests.web.in_process_bridge import InProcessBridge
    from tests.web.raw_connection import HttpResponse

USUAL = {
    "Host": "a",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": WEBSOCKET_KEY,
}


async def ask(
    rig: InProcessBridge,
    *more: str,
    first: str = "GET /ws?account=alice HTTP/1.1",
    **changed: str | None,
) -> HttpResponse:
    """Send a handshake with changed fields, and `more` lines behind them."""
    headers = {**USUAL, **{name.replace("_", "-"): value for name, value in changed.items()}}
    lines = [f"{name}: {value}" for name, value in headers.items() if value is not None]
    raw = await rig.open_tcp()
    return await raw.request("\r\n".join([first, *lines, *more, "", ""]))


@pytest.mark.parametrize(
    ("first", "changed", "more"),
    [
        ("GET http://a.example/ws?account=alice HTTP/1.1", {}, ()),
        ("GET ws://a.example/ws HTTP/1.1", {}, ()),
        ("GET /ws HTTP/1.1", {"Connection": "keep-alive"}, ("connection: x, UPGRADE",)),
        ("GET /ws HTTP/1.1", {"Upgrade": "h2c, WebSocket"}, ()),
        ("GET /ws HTTP/1.1", {"Upgrade": "h2c"}, ("Upgrade: websocket",)),
        ("GET /ws HTTP/1.1", {}, ("Cookie: " + "x" * 30_000,)),
        ("GET /ws HTTP/1.1", {}, ("Content-Length: 0",)),
        ("GET /ws HTTP/1.1", {"Sec-WebSocket-Protocol": "a"}, ("Sec-WebSocket-Protocol: b",)),
    ],
)
async def test_what_the_rfcs_allow_is_granted(rig, first, changed, more):
    assert (await ask(rig, *more, first=first, **changed)).status == 101


async def test_the_host_of_a_url_is_the_one_that_counts(rig):
    same = "http://a.example"
    target = f"GET {same}/ws HTTP/1.1"
    assert (await ask(rig, first=target, Origin=same)).status == 101
    assert (await ask(rig, first=target, Origin="http://a")).status == 403


@pytest.mark.parametrize("version", ["8", "12", "14", "13, 8", "x", None])
async def test_another_version_gets_426_and_the_right_one(rig, version):
    answer = await ask(rig, Sec_WebSocket_Version=version)
    assert answer.status == 426
    assert answer.headers["sec-websocket-version"] == "13"
    assert answer.headers["upgrade"] == "websocket"
    assert "upgrade" in answer.headers["connection"].lower()
    assert json.loads(answer.body)["status"] == 426


@pytest.mark.parametrize(
    ("changed", "more"),
    [
        ({}, ("Host: b",)),
        ({"Host": None}, ()),
        ({"Host": "a b"}, ()),
        ({"Sec-WebSocket-Key": "short"}, ()),
        ({"Sec-WebSocket-Key": None}, ()),
        ({}, (f"Sec-WebSocket-Key: {WEBSOCKET_KEY}",)),
        ({}, ("Content-Length: 3",)),
        ({}, ("Transfer-Encoding: chunked",)),
    ],
)
async def test_a_handshake_that_is_malformed_is_a_400_problem(rig, changed, more):
    answer = await ask(rig, *more, **changed)
    assert answer.status == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(rig.pool) == 0


@pytest.mark.parametrize(
    ("first", "changed", "status"),
    [
        ("GET /ws HTTP/1.0", {}, 426),
        ("GET /ws HTTP/1.1", {"Upgrade": "h2c"}, 426),
        ("GET /ws HTTP/1.1", {"Connection": "close"}, 426),
        ("GET /healthz HTTP/1.0", {}, 200),
        ("GET /healthz HTTP/1.1", {"Upgrade": "h2c"}, 200),
        ("GET /healthz HTTP/1.1", {"Connection": "keep-alive"}, 200),
        ("POST /healthz HTTP/1.1", {}, 405),
        ("POST /ws HTTP/1.1", {}, 405),
    ],
)
async def test_what_is_no_handshake_is_answered_as_if_it_asked_for_none(
    rig, first, changed, status
):
    assert (await ask(rig, first=first, **changed)).status == status


async def test_the_door_says_which_version_it_wants(rig):
    answer = await ask(rig, Upgrade=None, Connection=None)
    assert (answer.status, answer.headers["sec-websocket-version"]) == (426, "13")


async def test_nothing_may_follow_a_handshake_before_its_answer(rig):
    raw = await rig.open_tcp()
    raw.send(raw.upgrade_request().encode() + frame_bytes(b"{}"))
    assert (await raw.read_to_end()).startswith(b"HTTP/1.1 400 ")


async def test_a_head_of_a_handshake_has_the_limits_of_all_others(rig):
    for more in (["Cookie: " + "x" * 66_000], [f"X-{n}: y" for n in range(100)]):
        answer = await ask(rig, *more)
        assert answer.status == 431
        assert answer.headers["content-type"] == "application/problem+json"
    assert rig.server.http_connections.refused_by_reason == {"head_too_large": 2}
    assert (await ask(rig, *[f"X-{n}: y" for n in range(94)])).status == 101
