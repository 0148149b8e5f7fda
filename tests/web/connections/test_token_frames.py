"""`token` frames: a newer credential of the same account replaces the old, without a reconnect."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from bridge.core.sessions.requests import MAX_TOKENS_PER_MINUTE
from bridge.core.sessions.session import MembershipSource
from bridge.web.auth.tokens import jwks as keeping
from bridge.web.auth.tokens.jwt import JwtAuthenticator
from tests.web.authenticator_checks import INVALID_TOKENS
from tests.web.token_signing import (
    JwksServer,
    public_jwk,
    rsa_key,
    shared_secret_authenticator,
    sign_token,
)

if TYPE_CHECKING:
    from tests.web.conftest import OpenBridge
    from tests.web.in_process_bridge import InProcessBridge
    from tests.web.websocket_client import WebSocketClient


@pytest.fixture
async def guarded(open_rig: OpenBridge) -> InProcessBridge:
    return await open_rig(gate=shared_secret_authenticator())


async def joined(rig: InProcessBridge, query: str = "", **claims: Any) -> WebSocketClient:
    return await rig.connect_welcomed(f"token={sign_token(**claims)}{'&' if query else ''}{query}")


async def test_the_same_grant_again_changes_nothing_and_is_answered(
    guarded: InProcessBridge,
) -> None:
    client = await joined(guarded, "rooms=r", rooms=["r"])
    await client.send("token", token=sign_token(rooms=["r"]), id=7)
    reply = await client.expect("reply")
    assert reply == {
        "op": "reply",
        "id": 7,
        "ok": True,
        "topics": ["news", "orders"],
        "rooms": ["r"],
        "cursor": client.welcome["cursor"],
    }


BAD = {name: token for name, (token, _) in INVALID_TOKENS.items() if token and token.isascii()}


@pytest.mark.parametrize("mistake", BAD)
async def test_a_bad_token_leaves_the_old_in_force(guarded: InProcessBridge, mistake: str) -> None:
    client = await joined(guarded, "rooms=r", rooms=["r"])
    reply = await client.request("token", token=BAD[mistake], id="t")
    assert (reply["ok"], reply["error"], reply["id"]) == (False, "bad_token", "t")
    assert BAD[mistake] not in reply["reason"] or mistake == "empty"
    guarded.publish(rooms=["r"], data=1)
    assert (await client.expect("event"))["to"] == "room:r"


async def test_a_token_of_another_account_is_bad(guarded: InProcessBridge) -> None:
    client = await joined(guarded)
    reply = await client.request("token", token=sign_token(sub="bob"))
    assert (reply["error"], "another account" in reply["reason"]) == ("bad_token", True)
    guarded.publish(accounts=["bob"], data="bob's")
    guarded.publish(accounts=["alice"], data="alice's")
    assert (await client.expect("event"))["data"] == "alice's"


async def test_bad_tokens_do_not_count_towards_being_closed(guarded: InProcessBridge) -> None:
    client = await joined(guarded)
    for _ in range(30):
        assert (await client.request("token", token="nonsense"))["error"] == "bad_token"
    await client.check_responsive()


async def test_too_many_tokens_in_a_minute_are_not_judged(guarded: InProcessBridge) -> None:
    client = await joined(guarded)
    for _ in range(MAX_TOKENS_PER_MINUTE):
        await client.send("token", token=sign_token())
    for _ in range(MAX_TOKENS_PER_MINUTE):
        assert (await client.expect("reply"))["ok"] is True
    assert (await client.request("token", token=sign_token()))["error"] == "limit"
    await client.check_responsive()


# -- narrower --------------------------------------------------------------------------------------


async def test_rooms_that_went_are_told_and_the_reply_says_what_is_left(
    guarded: InProcessBridge,
) -> None:
    rooms = ["order:1", "order:2", "team:a"]
    client = await joined(guarded, f"rooms={','.join(rooms)}", rooms=["order:*", "team:a"])
    await client.send("token", token=sign_token(rooms=["order:2"]), id="n")
    told = await client.expect("rooms")
    assert (told["joined"], told["left"]) == ([], ["order:1", "team:a"])
    reply = await client.expect("reply")
    assert (reply["ok"], reply["rooms"], reply["id"]) == (True, ["order:2"], "n")
    assert reply["topics"] == ["news", "orders"]
    for room in rooms:
        guarded.publish(rooms=[room], data=room)
    assert (await client.expect("event"))["data"] == "order:2"
    await client.check_responsive()
    assert "order:1" not in guarded.hub.subscriptions.by_room


async def test_topics_that_went_are_gone_from_the_reply_and_from_the_cursor(
    guarded: InProcessBridge,
) -> None:
    client = await joined(guarded)
    await client.send("token", token=sign_token(topics=["news"]))
    reply = await client.expect("reply")
    assert (reply["ok"], reply["topics"]) == (True, ["news"])
    guarded.publish("orders", all=True, data="gone")
    guarded.publish("news", all=True, data="left")
    assert (await client.expect("event"))["data"] == "left"
    assert (
        await guarded.connect_welcomed(
            f"token={sign_token(topics=['news'])}&cursor={reply['cursor']}"
        )
    ).welcome


async def test_a_private_topic_goes_with_the_grant_that_named_it(guarded: InProcessBridge) -> None:
    client = await joined(guarded, "topics=audit,orders", topics=["audit", "orders"])
    reply = await client.request("token", token=sign_token())
    assert reply["topics"] == ["orders"]
    assert (await client.request("subscribe", topics=["audit"]))["error"] == "forbidden"


async def test_what_a_narrower_grant_lacks_can_not_be_asked_for_again(
    guarded: InProcessBridge,
) -> None:
    client = await joined(guarded, "rooms=r", rooms=["r"])
    await client.request("token", token=sign_token(topics=[]))
    assert (await client.request("subscribe", rooms=["r"]))["error"] == "forbidden"
    assert (await client.request("subscribe", topics=["orders"]))["error"] == "forbidden"


async def test_rooms_that_the_backend_gave_stay(guarded: InProcessBridge) -> None:
    client = await joined(guarded, "rooms=both,own", rooms=["both", "own"])
    session = guarded.hub.subscriptions.by_connection[client.welcome["connection"]]
    session.rooms["both"] |= MembershipSource.ACCOUNT
    session.rooms["given"] = MembershipSource.CONNECTION
    guarded.hub.subscriptions.add_room(session, "given")
    await client.send("token", token=sign_token())
    assert (await client.expect("rooms"))["left"] == ["own"]
    assert (await client.expect("reply"))["rooms"] == ["both", "given"]
    for room in ("own", "both", "given"):
        guarded.publish(rooms=[room], data=room)
    assert [(await client.expect("event"))["data"] for _ in range(2)] == ["both", "given"]


async def test_who_stays_in_every_room_by_another_hand_is_told_of_none(
    guarded: InProcessBridge,
) -> None:
    client = await joined(guarded, "rooms=both", rooms=["both"])
    guarded.hub.subscriptions.by_connection[client.welcome["connection"]].rooms["both"] |= (
        MembershipSource.ACCOUNT
    )
    await client.send("token", token=sign_token())
    assert (await client.expect("reply"))["rooms"] == ["both"]


# -- broader ---------------------------------------------------------------------------------------


async def test_a_broader_token_just_allows_more(guarded: InProcessBridge) -> None:
    client = await joined(guarded, topics=["orders"])
    assert (await client.request("subscribe", topics=["audit"], rooms=["r"]))[
        "error"
    ] == "forbidden"
    wider = sign_token(topics=["orders", "audit"], rooms=["r"])
    reply = await client.request("token", token=wider)
    assert (reply["topics"], reply["rooms"]) == (["orders"], [])
    reply = await client.request("subscribe", topics=["audit"], rooms=["r"])
    assert (reply["topics"], reply["rooms"]) == (["audit", "orders"], ["r"])


async def test_with_authentication_off_any_token_is_answered_and_changes_nothing(
    rig: InProcessBridge,
) -> None:
    client = await rig.connect_welcomed("account=alice&rooms=r&topics=audit")
    reply = await client.request("token", token="anything", id=1)
    assert (reply["ok"], reply["topics"], reply["rooms"]) == (True, ["audit"], ["r"])


# -- with keys that have to be fetched -------------------------------------------------------------


async def test_a_token_of_a_new_key_is_answered_once_the_key_is_there(
    open_rig: OpenBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "MIN_FETCH_INTERVAL_SECONDS", 0.0)
    publisher = JwksServer(public_jwk(rsa_key(1), "one"))
    may_answer = asyncio.Event()
    may_answer.set()

    async def read() -> bytes:
        await may_answer.wait()
        return await publisher.read()

    rig = await open_rig(
        gate=JwtAuthenticator(keeping.JwksCache("https://id.example", read), ("RS256",))
    )
    client = await rig.connect_welcomed(f"token={sign_token(rsa_key(1), 'RS256', 'one')}")
    may_answer.clear()
    publisher.body = JwksServer(public_jwk(rsa_key(2), "two")).body
    await client.send("token", token=sign_token(rsa_key(2), "RS256", "two", rooms=["r"]), id="new")
    await client.check_responsive()
    reply = await client.request("token", token=sign_token(rsa_key(1), "RS256", "one"), id="old")
    assert (reply["id"], reply["error"]) == ("old", "limit")
    rig.publish(accounts=["alice"], data="meanwhile")
    assert (await client.expect("event"))["data"] == "meanwhile"
    may_answer.set()
    reply = await client.expect("reply")
    assert (reply["id"], reply["ok"]) == ("new", True)
    assert (await client.request("subscribe", rooms=["r"]))["rooms"] == ["r"]
    publisher.body = None
    reply = await client.request("token", token=sign_token(rsa_key(3), "RS256", "three"))
    assert (reply["error"], "later" in reply["reason"]) == ("unavailable", True)


async def test_who_leaves_while_its_key_is_fetched_is_forgotten(
    open_rig: OpenBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "MIN_FETCH_INTERVAL_SECONDS", 0.0)
    publisher = JwksServer(public_jwk(rsa_key(1), "one"))
    rig = await open_rig(gate=JwtAuthenticator(publisher.new_jwks(), ("RS256",)))
    client = await rig.connect_welcomed(f"token={sign_token(rsa_key(1), 'RS256', 'one')}")
    waiting = rig.websocket_endpoint._permission_updates._pending
    monkeypatch.setattr(keeping, "MIN_FETCH_INTERVAL_SECONDS", 0.2)
    await client.send("token", token=sign_token(rsa_key(1), "RS256", "two"))
    await client.check_responsive()
    ((session, task),) = waiting.items()
    await client.connection.close()
    await task
    assert not waiting
    assert session.outbox.pending_bytes == 0, "nothing is said to who is gone"
