"""`token` frames: a newer credential of the same account replaces the old, without a reconnect."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from bridge.core.sessions.requests import TOKENS_PER_MINUTE
from bridge.core.sessions.session import Hand
from bridge.web.auth import jwks as keeping
from bridge.web.auth.jwt import TokenGate
from tests.web.refusing import MISTAKES
from tests.web.signing import Publisher, jwk, rsa_key, shared_gate, signed

if TYPE_CHECKING:
    from tests.web.client import Client
    from tests.web.conftest import OpenRig
    from tests.web.rig import Rig


@pytest.fixture
async def guarded(open_rig: OpenRig) -> Rig:
    return await open_rig(gate=shared_gate())


async def joined(rig: Rig, query: str = "", **claims: Any) -> Client:
    return await rig.join(f"token={signed(**claims)}{'&' if query else ''}{query}")


async def test_the_same_grant_again_changes_nothing_and_is_answered(guarded: Rig) -> None:
    client = await joined(guarded, "rooms=r", rooms=["r"])
    await client.say("token", token=signed(rooms=["r"]), id=7)
    reply = await client.expect("reply")
    assert reply == {
        "op": "reply",
        "id": 7,
        "ok": True,
        "topics": ["news", "orders"],
        "rooms": ["r"],
        "cursor": client.welcome["cursor"],
    }


BAD = {name: token for name, (token, _) in MISTAKES.items() if token and token.isascii()}


@pytest.mark.parametrize("mistake", BAD)
async def test_a_bad_token_leaves_the_old_in_force(guarded: Rig, mistake: str) -> None:
    client = await joined(guarded, "rooms=r", rooms=["r"])
    reply = await client.ask("token", token=BAD[mistake], id="t")
    assert (reply["ok"], reply["error"], reply["id"]) == (False, "bad_token", "t")
    assert BAD[mistake] not in reply["reason"] or mistake == "empty"
    guarded.publish(rooms=["r"], data=1)
    assert (await client.expect("event"))["to"] == "room:r"


async def test_a_token_of_another_account_is_bad(guarded: Rig) -> None:
    client = await joined(guarded)
    reply = await client.ask("token", token=signed(sub="bob"))
    assert (reply["error"], "another account" in reply["reason"]) == ("bad_token", True)
    guarded.publish(accounts=["bob"], data="bob's")
    guarded.publish(accounts=["alice"], data="alice's")
    assert (await client.expect("event"))["data"] == "alice's"


async def test_bad_tokens_do_not_count_towards_being_closed(guarded: Rig) -> None:
    client = await joined(guarded)
    for _ in range(30):
        assert (await client.ask("token", token="nonsense"))["error"] == "bad_token"
    await client.is_served()


async def test_too_many_tokens_in_a_minute_are_not_judged(guarded: Rig) -> None:
    client = await joined(guarded)
    for _ in range(TOKENS_PER_MINUTE):
        await client.say("token", token=signed())
    for _ in range(TOKENS_PER_MINUTE):
        assert (await client.expect("reply"))["ok"] is True
    assert (await client.ask("token", token=signed()))["error"] == "limit"
    await client.is_served()


# -- narrower --------------------------------------------------------------------------------------


async def test_rooms_that_went_are_told_and_the_reply_says_what_is_left(guarded: Rig) -> None:
    rooms = ["order:1", "order:2", "team:a"]
    client = await joined(guarded, f"rooms={','.join(rooms)}", rooms=["order:*", "team:a"])
    await client.say("token", token=signed(rooms=["order:2"]), id="n")
    told = await client.expect("rooms")
    assert (told["joined"], told["left"]) == ([], ["order:1", "team:a"])
    reply = await client.expect("reply")
    assert (reply["ok"], reply["rooms"], reply["id"]) == (True, ["order:2"], "n")
    assert reply["topics"] == ["news", "orders"]
    for room in rooms:
        guarded.publish(rooms=[room], data=room)
    assert (await client.expect("event"))["data"] == "order:2"
    await client.is_served()
    assert "order:1" not in guarded.hub.interest.rooms


async def test_topics_that_went_are_gone_from_the_reply_and_from_the_cursor(guarded: Rig) -> None:
    client = await joined(guarded)
    await client.say("token", token=signed(topics=["news"]))
    reply = await client.expect("reply")
    assert (reply["ok"], reply["topics"]) == (True, ["news"])
    guarded.publish("orders", all=True, data="gone")
    guarded.publish("news", all=True, data="left")
    assert (await client.expect("event"))["data"] == "left"
    assert (await guarded.join(f"token={signed(topics=['news'])}&cursor={reply['cursor']}")).welcome


async def test_a_private_topic_goes_with_the_grant_that_named_it(guarded: Rig) -> None:
    client = await joined(guarded, "topics=audit,orders", topics=["audit", "orders"])
    reply = await client.ask("token", token=signed())
    assert reply["topics"] == ["orders"]
    assert (await client.ask("subscribe", topics=["audit"]))["error"] == "forbidden"


async def test_what_a_narrower_grant_lacks_can_not_be_asked_for_again(guarded: Rig) -> None:
    client = await joined(guarded, "rooms=r", rooms=["r"])
    await client.ask("token", token=signed(topics=[]))
    assert (await client.ask("subscribe", rooms=["r"]))["error"] == "forbidden"
    assert (await client.ask("subscribe", topics=["orders"]))["error"] == "forbidden"


async def test_rooms_that_the_backend_gave_stay(guarded: Rig) -> None:
    client = await joined(guarded, "rooms=both,own", rooms=["both", "own"])
    session = guarded.hub.interest.connections[client.welcome["connection"]]
    session.rooms["both"] |= Hand.ACCOUNT
    session.rooms["given"] = Hand.CONNECTION
    guarded.hub.interest.enter(session, "given")
    await client.say("token", token=signed())
    assert (await client.expect("rooms"))["left"] == ["own"]
    assert (await client.expect("reply"))["rooms"] == ["both", "given"]
    for room in ("own", "both", "given"):
        guarded.publish(rooms=[room], data=room)
    assert [(await client.expect("event"))["data"] for _ in range(2)] == ["both", "given"]


async def test_who_stays_in_every_room_by_another_hand_is_told_of_none(guarded: Rig) -> None:
    client = await joined(guarded, "rooms=both", rooms=["both"])
    guarded.hub.interest.connections[client.welcome["connection"]].rooms["both"] |= Hand.ACCOUNT
    await client.say("token", token=signed())
    assert (await client.expect("reply"))["rooms"] == ["both"]


# -- broader ---------------------------------------------------------------------------------------


async def test_a_broader_token_just_allows_more(guarded: Rig) -> None:
    client = await joined(guarded, topics=["orders"])
    assert (await client.ask("subscribe", topics=["audit"], rooms=["r"]))["error"] == "forbidden"
    wider = signed(topics=["orders", "audit"], rooms=["r"])
    reply = await client.ask("token", token=wider)
    assert (reply["topics"], reply["rooms"]) == (["orders"], [])
    reply = await client.ask("subscribe", topics=["audit"], rooms=["r"])
    assert (reply["topics"], reply["rooms"]) == (["audit", "orders"], ["r"])


async def test_with_authentication_off_any_token_is_answered_and_changes_nothing(rig: Rig) -> None:
    client = await rig.join("account=alice&rooms=r&topics=audit")
    reply = await client.ask("token", token="anything", id=1)
    assert (reply["ok"], reply["topics"], reply["rooms"]) == (True, ["audit"], ["r"])


# -- with keys that have to be fetched -------------------------------------------------------------


async def test_a_token_of_a_new_key_is_answered_once_the_key_is_there(
    open_rig: OpenRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "PAUSE_SECONDS", 0.0)
    publisher = Publisher(jwk(rsa_key(1), "one"))
    may_answer = asyncio.Event()
    may_answer.set()

    async def read() -> bytes:
        await may_answer.wait()
        return await publisher.read()

    rig = await open_rig(gate=TokenGate(keeping.Jwks("https://id.example", read), ("RS256",)))
    client = await rig.join(f"token={signed(rsa_key(1), 'RS256', 'one')}")
    may_answer.clear()
    publisher.text = Publisher(jwk(rsa_key(2), "two")).text
    await client.say("token", token=signed(rsa_key(2), "RS256", "two", rooms=["r"]), id="new")
    await client.is_served()
    reply = await client.ask("token", token=signed(rsa_key(1), "RS256", "one"), id="old")
    assert (reply["id"], reply["error"]) == ("old", "limit")
    rig.publish(accounts=["alice"], data="meanwhile")
    assert (await client.expect("event"))["data"] == "meanwhile"
    may_answer.set()
    reply = await client.expect("reply")
    assert (reply["id"], reply["ok"]) == ("new", True)
    assert (await client.ask("subscribe", rooms=["r"]))["rooms"] == ["r"]
    publisher.text = None
    reply = await client.ask("token", token=signed(rsa_key(3), "RS256", "three"))
    assert (reply["error"], "later" in reply["reason"]) == ("bad_token", True)


async def test_who_leaves_while_its_key_is_fetched_is_forgotten(
    open_rig: OpenRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "PAUSE_SECONDS", 0.0)
    publisher = Publisher(jwk(rsa_key(1), "one"))
    rig = await open_rig(gate=TokenGate(publisher.keys(), ("RS256",)))
    client = await rig.join(f"token={signed(rsa_key(1), 'RS256', 'one')}")
    waiting = rig.websockets._renewals._waiting
    monkeypatch.setattr(keeping, "PAUSE_SECONDS", 0.2)
    await client.say("token", token=signed(rsa_key(1), "RS256", "two"))
    await client.is_served()
    ((session, task),) = waiting.items()
    await client.connection.close()
    await task
    assert not waiting
    assert session.outbox.pending == 0, "nothing is said to who is gone"
