"""Tokens at the door: how they are brought, what is told, and that no log has them."""

from __future__ import annotations

import contextlib
import logging
import time
from typing import TYPE_CHECKING

import pytest
from websockets.exceptions import ConnectionClosed

from tests.web.authenticator_checks import INVALID_TOKENS
from tests.web.sse_client import request_stream
from tests.web.token_signing import OTHER_SECRET, shared_secret_authenticator, sign_token

if TYPE_CHECKING:
    from tests.web.conftest import OpenBridge


@pytest.mark.parametrize("mistake", ["none at all", "another key", "expired", "alg none", "no sub"])
async def test_a_refusal_comes_after_the_upgrade(open_rig: OpenBridge, mistake: str) -> None:
    rig = await open_rig(gate=shared_secret_authenticator())
    token, said = INVALID_TOKENS[mistake]
    query = "" if token is None else f"token={token}"
    asks = await rig.connect("hello=1")
    await asks.send("hello", **({} if token is None else {"token": token}))
    clients = [asks, await rig.connect(query)]
    if token is not None:
        header = {"Authorization": f"Bearer {token}"}
        clients.append(await rig.connect(additional_headers=header))
    for client in clients:
        end = await client.wait_closed()
        assert (end.code, end.closing_frame["code"], end.closing_frame["reconnect"]) == (
            4500,
            4500,
            False,
        )
        assert said in end.closing_frame["reason"]
        assert end.frames == [end.closing_frame]
    assert rig.admission.connection_count == 0


async def test_a_good_token_is_welcome_by_each_way(open_rig: OpenBridge) -> None:
    rig = await open_rig(gate=shared_secret_authenticator())
    token = sign_token(exp=1_900_000_000)
    header = {"Authorization": f"Bearer {token}"}
    for client in (
        await rig.connect_welcomed(f"token={token}"),
        await rig.connect_welcomed(additional_headers=header),
    ):
        assert client.welcome["account"] == "alice"
        assert client.welcome["expires"] == "2030-03-17T17:46:40.000Z"
        assert client.welcome["topics"] == ["news", "orders"]
    client = await rig.connect("hello=1")
    await client.send("hello", token=token)
    assert (await client.expect("welcome"))["account"] == "alice"
    client = await rig.connect("hello=1", additional_headers=header)
    await client.send("hello")
    assert (await client.expect("welcome"))["account"] == "alice"


async def test_the_header_wins_over_the_token(open_rig: OpenBridge) -> None:
    rig = await open_rig(gate=shared_secret_authenticator())
    header = {"Authorization": f"Bearer {sign_token(sub='bob')}"}
    client = await rig.connect_welcomed(f"token={sign_token()}", additional_headers=header)
    assert client.welcome["account"] == "bob"
    client = await rig.connect("hello=1", additional_headers=header)
    await client.send("hello", token=sign_token())
    assert (await client.expect("welcome"))["account"] == "bob"
    wrong = {"Authorization": "Bearer wrong"}
    client = await rig.connect(f"token={sign_token()}", additional_headers=wrong)
    assert (await client.wait_closed()).code == 4500


async def test_an_account_is_a_bad_request_where_tokens_say_who(open_rig: OpenBridge) -> None:
    rig = await open_rig(gate=shared_secret_authenticator())
    raw = await rig.open_tcp()
    answer = await raw.upgrade(f"/ws?account=alice&token={sign_token()}")
    assert (answer.status, b"account" in answer.body) == (400, True)
    client = await rig.connect("hello=1")
    await client.send("hello", account="alice", token=sign_token())
    end = await client.wait_closed()
    assert (end.code, "account" in end.reason) == (4502, True)


async def test_what_the_grant_does_not_cover_is_forbidden(open_rig: OpenBridge) -> None:
    rig = await open_rig(gate=shared_secret_authenticator())
    token = sign_token(topics=["orders", "au*"], rooms=["order:*"])
    for query in (
        "topics=news",
        "topics=audit",
        "topics=nothing",
        "rooms=lobby",
        "rooms=order:1:2",
    ):
        end = await (await rig.connect(f"{query}&token={token}")).wait_closed()
        assert end.code == 4501, query
    client = await rig.connect_welcomed(f"rooms=order:1&token={token}")
    assert (client.welcome["topics"], client.welcome["rooms"]) == (["orders"], ["order:1"])
    reply = await client.request("subscribe", topics=["audit"])
    assert (reply["ok"], reply["error"]) == (False, "forbidden")


async def test_a_private_topic_is_had_by_a_grant_that_names_it(open_rig: OpenBridge) -> None:
    rig = await open_rig(gate=shared_secret_authenticator())
    client = await rig.connect_welcomed(f"token={sign_token(topics=['audit'])}")
    assert client.welcome["topics"] == ["audit"]
    rig.publish("audit", accounts=["alice"], data=1)
    assert (await client.expect("event"))["data"] == 1


async def test_one_accounts_events_never_reach_another(open_rig: OpenBridge) -> None:
    rig = await open_rig(gate=shared_secret_authenticator())
    alice, bob = (
        await rig.connect_welcomed(f"token={sign_token()}"),
        await rig.connect_welcomed(f"token={sign_token(sub='bob')}"),
    )
    rig.publish(accounts=["bob"], data="bob's")
    rig.publish(all=True, data="everybody's")
    assert (await alice.expect("event"))["data"] == "everybody's"
    assert [(await bob.expect("event"))["data"] for _ in range(2)] == ["bob's", "everybody's"]


# -- in no log -------------------------------------------------------------------------------------

#: Not the client's own: `websockets.client`, `httpx`.
LOGGERS = ("bridge", "uvicorn", "asyncio", "jwt", "fastapi")


async def test_no_credential_is_in_any_log(
    open_rig: OpenBridge, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", *LOGGERS):
        caplog.set_level(logging.DEBUG, logger=name)
    rig = await open_rig(gate=shared_secret_authenticator())
    good, bad = sign_token(), sign_token(OTHER_SECRET, sub="mallory")
    for token in (good, bad):
        header = {"Authorization": f"Bearer {token}"}
        for client in (
            await rig.connect(f"token={token}"),
            await rig.connect(additional_headers=header),
            await rig.connect(f"token={sign_token()}"),
        ):
            with contextlib.suppress(ConnectionClosed):
                await client.send("token", token=token)
                await client.send("nonsense", token=token)
                await client.frame()
        await (await rig.open_tcp()).upgrade(f"/ws?token={token}&token={token}")
        await (await rig.open_tcp()).upgrade(f"/elsewhere?token={token}")
        await (await rig.open_tcp()).request(f"GET /ws?token={token} HTTP/1.1\r\nHost: a\r\n\r\n")
        await (await rig.open_tcp()).request(f"NONSENSE {token}\r\n\r\n")
        client = await rig.connect("hello=1")
        await client.send("hello", token=token, nonsense=token)
        await client.wait_closed()
    ours = [each for each in caplog.records if each.name.partition(".")[0] in LOGGERS]
    logged = "\n".join(f"{each.getMessage()} {each.exc_info}" for each in ours)
    assert logged, "nothing was logged, so nothing is proven"
    for token in (good, bad):
        for part in (token, *token.split(".")[1:]):
            assert part not in logged


async def test_a_token_that_is_ahead_comes_back_at_each_door(open_rig: OpenBridge) -> None:
    rig = await open_rig(gate=shared_secret_authenticator())
    early = sign_token(iat=int(time.time()) + 65, exp=None)
    by_hello = await rig.connect("hello=1")
    await by_hello.send("hello", token=early)
    for client in (by_hello, await rig.connect(f"token={early}")):
        end = await client.wait_closed()
        assert (end.code, end.closing_frame["reconnect"]) == (4006, True)
        assert 58 < end.closing_frame["retry_after"] <= 60
    answer = await request_stream(rig, f"token={early}")
    assert (answer.status, 58 < int(answer.headers["retry-after"]) <= 60) == (503, True)
    live = await rig.connect_welcomed(f"token={sign_token()}")
    reply = await live.request("token", token=early)
    assert (reply["ok"], reply["error"]) == (False, "unavailable")


async def test_a_token_that_is_far_ahead_is_refused_at_each_door(open_rig: OpenBridge) -> None:
    rig = await open_rig(gate=shared_secret_authenticator())
    late = sign_token(nbf=int(time.time()) + 310, exp=None)
    assert (await (await rig.connect(f"token={late}")).wait_closed()).code == 4500
    assert (await request_stream(rig, f"token={late}")).status == 401
    live = await rig.connect_welcomed(f"token={sign_token()}")
    assert (await live.request("token", token=late))["error"] == "bad_token"
