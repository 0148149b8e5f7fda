"""`GET /events`: a client that only listens gets what a WebSocket would, as an event stream."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest

from bridge.core.protocol.cursor import decode_cursor
from bridge.web.auth.client_address import TrustedProxies
from bridge.web.auth.tokens.claims import LEEWAY_SECONDS
from tests.web.in_process_bridge import HOST, TIMESTAMP_TEXT
from tests.web.sse_client import open_welcomed_stream
from tests.web.token_signing import shared_secret_authenticator, sign_token

if TYPE_CHECKING:
    from tests.web.conftest import OpenBridge

ALICE = "account=alice&topics=orders"


def offsets(cursor: str, topic: str = "orders") -> dict[int, int]:
    return dict(decode_cursor(cursor)[topic].offsets)


# -- what comes ------------------------------------------------------------------------------------


async def test_the_head_is_that_of_an_event_stream(rig):
    listener = await open_welcomed_stream(rig)
    headers = listener.response.headers
    assert headers["content-type"] == "text/event-stream"
    assert headers["cache-control"] == "no-store, no-transform"
    assert headers["x-accel-buffering"] == "no"
    assert headers["transfer-encoding"] == "chunked"
    assert headers["connection"] == "close"
    assert headers["date"]
    assert "access-control-allow-origin" not in headers


async def test_the_welcome_is_first_and_says_what_was_asked_for(rig):
    listener = await open_welcomed_stream(rig, "account=alice&topics=orders,news&rooms=r,s")
    welcome = listener.welcome
    assert (welcome["account"], welcome["instance"]) == ("alice", "here")
    assert (welcome["topics"], welcome["rooms"]) == (["news", "orders"], ["r", "s"])
    assert (welcome["heartbeat"], welcome["expires"]) == (25.0, None)
    assert len(welcome["connection"]) == 32
    assert offsets(welcome["cursor"]) == {0: 10, 1: 20}
    assert listener.last_event_id == welcome["cursor"]


async def test_it_says_at_once_when_to_come_back_if_the_connection_breaks(rig):
    listener = await open_welcomed_stream(rig)
    assert listener.parser.reconnection_ms == 5000
    assert listener.chunks[0].startswith(b"retry: 5000\nevent: welcome\n")


async def test_events_come_as_they_happen_each_named_event(rig):
    listener = await open_welcomed_stream(rig, f"{ALICE}&rooms=r")
    at = rig.publish(accounts=["alice"], type="order.shipped", data={"a": 1}, id="o-1")
    assert await listener.expect("event") == {
        "op": "event",
        "topic": "orders",
        "at": at,
        "to": "account",
        "id": "o-1",
        "type": "order.shipped",
        "time": TIMESTAMP_TEXT,
        "data": {"a": 1},
    }
    rig.publish(accounts=["bob"])
    at = rig.publish(rooms=["r"])
    assert (await listener.expect("event"))["at"] == at


async def test_types_and_topics_are_minded(rig):
    listener = await open_welcomed_stream(rig, f"{ALICE}&types=order.*")
    rig.publish(accounts=["alice"], type="news")
    rig.publish("news", accounts=["alice"], type="order.paid")
    at = rig.publish(accounts=["alice"], type="order.paid")
    assert (await listener.expect("event"))["at"] == at


async def test_the_id_stands_in_the_last_block_of_each_flush_and_covers_it(rig):
    listener = await open_welcomed_stream(rig, ALICE)
    for offset in (10, 11):
        rig.publish(accounts=["alice"])
        await listener.expect("event")
        block, rest = listener.chunks[-1].split(b"\n\n")
        event, data, cursor = block.split(b"\n")
        assert (event, data[:6], rest) == (b"event: event", b"data: ", b"")
        assert cursor == b"id: " + listener.last_event_id.encode()
        assert listener.parser.dispatched[-1].id == listener.last_event_id
        assert offsets(listener.last_event_id) == {0: offset + 1, 1: 20}


async def test_events_of_one_flush_have_one_cursor(rig, monkeypatch):
    listener = await open_welcomed_stream(rig, ALICE)
    with monkeypatch.context() as held:
        held.setattr(rig.flusher, "flush", lambda: None)
        for _ in range(5):
            rig.publish(accounts=["alice"])
    rig.pool.flusher.flush()
    assert [(await listener.expect("event"))["at"] for _ in range(5)][-1] == "orders:0:14"
    assert listener.chunks[-1].count(b"\nid: ") == 1
    assert b"\nid: " in listener.chunks[-1].split(b"\n\n")[-2]
    assert offsets(listener.last_event_id) == {0: 15, 1: 20}


async def test_line_ends_in_what_a_producer_wrote_break_nothing(rig):
    listener = await open_welcomed_stream(rig, ALICE)
    rig.publish_record(
        b'{"accounts":["alice"],"data":[1,\r\n2,\n\n"id: forged"\r],"meta":{\n"a":1}}'
    )
    event = await listener.expect("event")
    assert (event["data"], event["meta"]) == ([1, 2, "id: forged"], {"a": 1})
    assert decode_cursor(listener.last_event_id)


async def test_bytes_and_tombstones_come_too(rig):
    listener = await open_welcomed_stream(rig, ALICE)
    rig.publish_record(b"\xff\n\ndata: forged\n\n", headers=[("push-accounts", b"alice")])
    rig.publish_record(None, headers=[("push-accounts", b"alice")])
    assert (await listener.expect("event"))["data_base64"]
    assert (await listener.expect("event"))["deleted"] is True


async def test_sockets_and_streams_get_the_same(rig):
    listener, client = await open_welcomed_stream(rig, ALICE), await rig.connect_welcomed(ALICE)
    rig.publish(accounts=["alice"], data=[1.50])
    assert await listener.expect("event") == await client.expect("event")
    assert rig.hub.events_delivered == 2


async def test_a_topic_created_again_is_told(rig):
    listener = await open_welcomed_stream(rig, ALICE)
    rig.hub.set_start_offsets("orders", b"another.", {0: 0})
    rig.pool.flusher.flush()
    gap = await listener.expect("gap")
    assert (gap["topic"], gap["reason"]) == ("orders", "recreated")
    assert offsets(listener.last_event_id) == {0: 0}


async def test_http_1_0_is_answered_without_chunks(rig):
    raw = await rig.open_tcp()
    answer = await raw.request(f"GET /events?{ALICE} HTTP/1.0\r\nHost: here\r\n\r\n")
    assert answer.status == 200
    assert "transfer-encoding" not in answer.headers
    assert answer.headers["connection"] == "close"
    rig.server.should_exit = True
    text = await raw.read_to_end()
    assert text.startswith(b"retry: 5000\nevent: welcome\n")
    assert b"event: closing\n" in text


@pytest.mark.parametrize(
    "accept", [{}, {"Accept": "*/*"}, {"Accept": "text/event-stream"}, {"Accept": "text/html"}]
)
async def test_any_accept_and_none_is_good(rig, accept):
    assert (await open_welcomed_stream(rig, headers=accept)).response.status == 200


# -- who comes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_header", [False, True])
async def test_a_token_says_who_it_is(open_rig: OpenBridge, by_header):
    rig = await open_rig(gate=shared_secret_authenticator())
    token = sign_token(rooms=["r"], exp=1_900_000_000)
    query = "rooms=r" if by_header else urlencode({"rooms": "r", "token": token})
    headers = {"Authorization": f"Bearer {token}"} if by_header else {}
    listener = await open_welcomed_stream(rig, query, headers)
    assert (listener.welcome["account"], listener.welcome["rooms"]) == ("alice", ["r"])
    assert listener.welcome["expires"] == "2030-03-17T17:46:40.000Z"
    rig.publish(accounts=["alice"])
    await listener.expect("event")


async def test_the_header_wins_over_the_token(open_rig: OpenBridge):
    rig = await open_rig(gate=shared_secret_authenticator())
    bob = {"Authorization": f"Bearer {sign_token(sub='bob')}"}
    assert (await open_welcomed_stream(rig, f"token={sign_token()}", bob)).welcome[
        "account"
    ] == "bob"


async def test_a_grant_that_ends_ends_the_stream_with_4005_and_nothing_after_it(
    open_rig: OpenBridge,
):
    now = time.time()
    rig = await open_rig(gate=shared_secret_authenticator(), wall=lambda: now)
    listener = await open_welcomed_stream(rig, f"token={sign_token(exp=int(now) + 60)}")
    now += 60 + LEEWAY_SECONDS
    rig.publish(accounts=["alice"])
    closing = await listener.wait_closed_with(4005)
    assert closing["reconnect"] is True
    assert b"event: event" not in b"".join(listener.chunks)
    assert rig.counters.closes_by_code == {4005: 1}


async def test_it_knows_its_clients_address(open_rig: OpenBridge):
    rig = await open_rig(proxies=TrustedProxies([HOST]))
    await open_welcomed_stream(rig, "account=alice", {"X-Forwarded-For": "9.9.9.9, 198.51.100.1"})
    await open_welcomed_stream(rig, "account=bob")
    accounts = rig.hub.subscriptions.by_account
    (alice,), (bob,) = accounts["alice"], accounts["bob"]
    assert (alice.client_address, bob.client_address) == ("198.51.100.1", HOST)
