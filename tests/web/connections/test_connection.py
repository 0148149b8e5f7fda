"""A live connection: the welcome, the events, and what each request is answered."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from bridge.core.sessions.requests import RequestLimits
from tests.web.in_process_bridge import INSTANCE, TIMESTAMP_TEXT, wait_until

if TYPE_CHECKING:
    from tests.web.conftest import OpenBridge


async def test_the_welcome_has_exactly_its_fields(rig):
    welcome = (await rig.connect_welcomed("account=alice&rooms=order:42")).welcome
    assert re.fullmatch("[0-9a-f]{32}", welcome.pop("connection"))
    assert welcome.pop("cursor")
    assert welcome == {
        "op": "welcome",
        "account": "alice",
        "instance": INSTANCE,
        "topics": ["news", "orders"],
        "rooms": ["order:42"],
        "heartbeat": 25,
        "expires": None,
    }


async def test_no_two_connections_have_one_id(rig):
    assert len({(await rig.connect_welcomed()).welcome["connection"] for _ in range(5)}) == 5


async def test_an_event_has_exactly_its_fields(rig):
    client = await rig.connect_welcomed("account=alice")
    at = rig.publish(accounts=["bob", "alice"])
    assert await client.frame() == {
        "op": "event",
        "topic": "orders",
        "at": at,
        "to": "account",
        "id": at,
        "type": "event",
        "time": TIMESTAMP_TEXT,
        "data": None,
    }


async def test_what_the_producer_gave_is_passed_on(rig):
    client = await rig.connect_welcomed("account=alice")
    given = {
        "id": "o-1",
        "type": "order.shipped",
        "time": "2026-11-21T10:00:00+01:00",
        "tag": "3",
        "meta": {"trace": "4bf9"},
        "data": {"order": 42},
    }
    at = rig.publish(accounts=["alice"], **given)
    utc = {"time": "2026-11-21T09:00:00Z"}
    told = {"op": "event", "topic": "orders", "at": at, "to": "account"}
    assert await client.frame() == {**given, **utc, **told}


async def test_data_keeps_its_tokens(rig):
    client = await rig.connect_welcomed()
    rig.publish_record(
        b'{"all":true,"data":{"n":1234567890123456789012345678901234567890,"x":1e1}}'
    )
    assert '"data":{"n":1234567890123456789012345678901234567890,"x":1e1}' in await client.text()


async def test_bytes_that_are_not_json_come_as_base64_and_a_tombstone_as_deleted(rig):
    client = await rig.connect_welcomed()
    rig.publish_record(b"\xff", headers=[("push-all", b"true")])
    rig.publish_record(None, headers=[("push-all", b"true")])
    assert (await client.expect("event"))["data_base64"] == "/w=="
    assert (await client.expect("event"))["deleted"] is True


@pytest.mark.parametrize(
    ("audience", "to"),
    [
        ({"accounts": ["alice"]}, "account"),
        ({"rooms": ["other", "r2", "r1"]}, "room:r2"),
        ({"all": True}, "all"),
        ({"all": True, "rooms": ["r1"], "accounts": ["alice"]}, "account"),
    ],
)
async def test_an_event_that_matches_in_several_ways_comes_once_and_says_why(rig, audience, to):
    client = await rig.connect_welcomed("account=alice&rooms=r1,r2")
    stranger = await rig.connect_welcomed("account=bob&rooms=r3&topics=news")
    rig.publish(**audience)
    assert (await client.expect("event"))["to"] == to
    await client.check_responsive()
    await stranger.check_responsive()


async def test_an_event_to_a_connection_comes_to_it_alone(rig):
    one, other = (
        await rig.connect_welcomed("account=alice"),
        await rig.connect_welcomed("account=alice"),
    )
    rig.publish(connections=[one.welcome["connection"]], accounts=["alice"])
    assert (await one.expect("event"))["to"] == "connection"
    assert (await other.expect("event"))["to"] == "account"
    rig.publish(connections=[one.welcome["connection"]])
    assert (await one.expect("event"))["to"] == "connection"
    await other.check_responsive()


async def test_an_event_without_audience_reaches_nobody(rig):
    client = await rig.connect_welcomed("account=alice&rooms=r")
    rig.publish(data=1)
    rig.publish(all=False, accounts=[], rooms=[])
    await client.check_responsive()


async def test_a_client_without_an_account_gets_what_is_for_rooms_and_all(rig):
    client = await rig.connect_welcomed("rooms=r")
    assert client.welcome["account"] is None
    rig.publish(accounts=["null", "None"])
    rig.publish(rooms=["r"])
    rig.publish(all=True)
    assert [(await client.expect("event"))["to"] for _ in range(2)] == ["room:r", "all"]


async def test_only_the_types_that_were_asked_for_come(rig):
    client = await rig.connect_welcomed("types=order.*,tick")
    for name in ("order.shipped", "orders", "order.", "tick", "tick.tock", "event"):
        rig.publish(all=True, type=name)
    rig.publish(all=True)
    assert [(await client.expect("event"))["type"] for _ in range(3)] == [
        "order.shipped",
        "order.",
        "tick",
    ]
    await client.check_responsive()


async def test_a_private_topic_comes_to_who_names_it_and_to_nobody_else(rig):
    named, unnamed = await rig.connect_welcomed("topics=audit"), await rig.connect_welcomed()
    assert named.welcome["topics"] == ["audit"]
    assert "audit" not in unnamed.welcome["topics"]
    rig.publish("audit", all=True)
    assert (await named.expect("event"))["topic"] == "audit"
    await unnamed.check_responsive()


async def test_a_topic_that_does_not_exist_refuses_the_whole_request(rig):
    end = await (await rig.connect("topics=orders,no-such-topic&rooms=r")).wait_closed()
    assert (end.code, end.closing_frame["code"], end.closing_frame["reconnect"]) == (
        4501,
        4501,
        False,
    )
    assert end.frames == [end.closing_frame]
    reason = "forbidden: there is no topic 'no-such-topic' here; there are: news, orders"
    assert end.closing_frame["reason"] == reason
    assert rig.admission.connection_count == 0


async def test_a_hello_is_told_too_which_topics_there_are(rig):
    client = await rig.connect("hello=1")
    await client.send("hello", topics=["nwes"])
    end = await client.wait_closed()
    reason = "forbidden: there is no topic 'nwes' here; there are: news, orders"
    assert (end.code, end.closing_frame["reason"]) == (4501, reason)


TOKEN = {"token": "unread where authentication is off"}

# -- requests --------------------------------------------------------------------------------------


@pytest.mark.parametrize("id", ["abc", "", 7, -1, 10**30, None])
async def test_every_request_gets_a_reply_with_its_id_where_it_had_one(rig, id):
    client = await rig.connect_welcomed("rooms=r")
    given: dict[str, Any] = {} if id is None else {"id": id}
    for op, fields in (("subscribe", {"rooms": ["s"]}), ("unsubscribe", {}), ("token", TOKEN)):
        reply = await client.request(op, **fields, **given)
        assert reply.pop("cursor")
        assert reply == {
            "op": "reply",
            "ok": True,
            "topics": ["news", "orders"],
            "rooms": ["r", "s"],
            **given,
        }
    await client.send("heartbeat", **given)
    beat = await client.expect("heartbeat")
    assert beat.pop("cursor")
    assert beat == {"op": "heartbeat", **given}


async def test_subscribing_takes_effect_at_its_reply(rig):
    client = await rig.connect_welcomed("topics=news")
    rig.publish(rooms=["r"])
    rig.publish(all=True)
    reply = await client.request("subscribe", topics=["orders"], rooms=["r"])
    assert (reply["topics"], reply["rooms"]) == (["news", "orders"], ["r"])
    at = rig.publish(rooms=["r"])
    assert (await client.expect("event"))["at"] == at


async def test_unsubscribing_takes_effect_at_its_reply(rig):
    client = await rig.connect_welcomed("rooms=r,s")
    reply = await client.request(
        "unsubscribe", topics=["orders", "never had"], rooms=["r", "never in"]
    )
    assert (reply["topics"], reply["rooms"]) == (["news"], ["s"])
    rig.publish(all=True)
    rig.publish("news", rooms=["r"])
    at = rig.publish("news", rooms=["s"])
    assert (await client.expect("event"))["at"] == at


async def test_who_has_left_is_followed_by_nothing_that_is_kept(rig):
    client = await rig.connect_welcomed("account=alice&rooms=r")
    await client.request("subscribe", rooms=["s"])
    await client.connection.close()
    await wait_until(lambda: len(rig.pool) == 0)
    interest = rig.hub.subscriptions
    assert (interest.by_connection, interest.by_account, interest.by_room) == ({}, {}, {})
    assert interest.all_sessions == set()


@pytest.mark.parametrize("topic", ["no-such-topic", "push-bridge.control", "a:b"])
async def test_a_topic_that_may_not_be_read_is_forbidden_and_the_rest_has_no_effect(rig, topic):
    client = await rig.connect_welcomed("topics=news")
    reply = await client.request("subscribe", topics=["orders", topic], rooms=["r"], id=1)
    assert reply.pop("reason")
    assert reply == {"op": "reply", "id": 1, "ok": False, "error": "forbidden"}
    rig.publish(all=True)
    rig.publish("news", rooms=["r"])
    await client.check_responsive()


async def test_more_topics_or_rooms_than_allowed_are_a_limit(open_rig: OpenBridge):
    rig = await open_rig(bounds=RequestLimits(max_rooms=2, max_topics=1, max_changes_per_minute=99))
    client = await rig.connect_welcomed("topics=news&rooms=a")
    for fields in ({"topics": ["orders"]}, {"rooms": ["b", "c"]}):
        reply = await client.request("subscribe", id=1, **fields)
        assert (reply["ok"], reply["error"], reply["id"]) == (False, "limit", 1)
    assert (await client.request("subscribe", topics=["news"], rooms=["a", "b"]))["ok"] is True
    assert (await client.request("subscribe", rooms=["c"]))["error"] == "limit"
    await client.request("unsubscribe", rooms=["a"])
    assert (await client.request("subscribe", rooms=["c"]))["rooms"] == ["b", "c"]


async def test_more_changes_in_a_minute_than_allowed_are_a_limit(open_rig: OpenBridge):
    rig = await open_rig(bounds=RequestLimits(max_rooms=9, max_topics=9, max_changes_per_minute=3))
    client = await rig.connect_welcomed()
    replies = [await client.request("subscribe", rooms=["r"]) for _ in range(2)]
    replies.append(await client.request("unsubscribe", rooms=["s"]))
    assert all(reply["ok"] for reply in replies)
    for op in ("subscribe", "unsubscribe"):
        reply = await client.request(op, rooms=["r"])
        assert (reply["ok"], reply["error"]) == (False, "limit")
    await client.check_responsive()
