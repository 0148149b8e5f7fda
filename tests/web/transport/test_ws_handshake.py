"""Connecting: what is a 400, 403 or 404 before the upgrade, and what is told after it."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from websockets.exceptions import InvalidStatus

from bridge.core.sessions.requests import RequestLimits
from bridge.web.auth.origins import LOOPBACK_HOSTS, OriginPolicy
from tests.web.raw_connection import frame_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.web.connections.connect_request import UrlRequest
    from bridge.web.transport.ws_handshake import UpgradeRefusal, UpgradeRequest
    from tests.web.conftest import OpenBridge
    from tests.web.in_process_bridge import InProcessBridge
    from tests.web.raw_connection import HttpResponse


def check_problem(answer: HttpResponse, status: int) -> str:
    """Check that `answer` is RFC 9457's; return its detail."""
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "application/problem+json"
    body = json.loads(answer.body)
    assert body["status"] == status
    assert body["title"]
    detail: str = body["detail"]
    return detail


async def refused(rig: InProcessBridge, query: str) -> str:
    raw = await rig.open_tcp()
    detail = check_problem(await raw.upgrade(f"/ws?{query}"), 400)
    assert len(rig.pool) == 0
    return detail


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("nonsense=1", "nonsense"),
        ("topics=", "topics"),
        ("rooms=&topics=orders", "rooms"),
        ("types", "types"),
        ("cursor=", "cursor"),
        ("account=", "account"),
        ("rooms=a&rooms=b", "rooms"),
        ("topics=or:ders", "topics"),
        ("rooms=a,,b", "rooms"),
        ("rooms=a*", "rooms"),
        ("rooms=%07", "rooms"),
        ("account=a%2Cb", "account"),
        ("types=*.x", "types"),
        ("cursor=garbled", "cursor"),
        ("since=yesterday", "since"),
        ("since=2026-11-21T09:00:00Z&cursor=garbled", "since"),
        ("hello=1&topics=orders", "hello"),
        ("hello=1&token=t", "hello"),
        ("hello=0", "hello"),
        ("rooms=%ff", "query"),
    ],
)
async def test_a_bad_request_is_a_400_that_names_the_parameter(rig, query, named):
    assert named in await refused(rig, query)


async def test_more_rooms_or_topics_than_allowed_are_a_400(open_rig: OpenBridge):
    rig = await open_rig(bounds=RequestLimits(max_rooms=2, max_topics=1, max_changes_per_minute=9))
    assert "BRIDGE_LIMITS__ROOMS" in await refused(rig, "rooms=a,b,c&topics=orders")
    assert "BRIDGE_LIMITS__TOPICS" in await refused(rig, "topics=orders,news")
    assert (await rig.connect_welcomed("rooms=a,b&topics=orders")).welcome["rooms"] == ["a", "b"]


async def test_bytes_that_no_url_may_have_are_a_400(rig):
    raw = await rig.open_tcp()
    answer = await raw.upgrade("/ws?rooms=\xff")
    assert answer.status == 400


async def test_a_url_that_is_too_long_is_answered(rig):
    raw = await rig.open_tcp()
    answer = await raw.upgrade(f"/ws?rooms={'r' * 20_000}")
    assert answer.status in {400, 414}
    assert len(rig.pool) == 0


async def test_a_handshake_that_is_none_is_answered(rig):
    for wrong in ({"Sec_WebSocket_Key": None}, {"Sec_WebSocket_Key": "short"}):
        assert (await (await rig.open_tcp()).upgrade(**wrong)).status == 400
    assert (await (await rig.open_tcp()).upgrade(Sec_WebSocket_Version="12")).status in {400, 426}
    raw = await rig.open_tcp()
    request = (
        "POST /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
        "Content-Length: 0\r\n\r\n"
    )
    assert (await raw.request(request)).status in {400, 405}


@pytest.mark.parametrize("path", ["/", "/wss", "/ws/", "/events", "/healthz"])
async def test_a_websocket_elsewhere_is_a_404(rig, path):
    check_problem(await (await rig.open_tcp()).upgrade(path), 404)


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1"])
async def test_a_bad_origin_is_a_403(rig, origin):
    answer = await (await rig.open_tcp()).upgrade(Origin=origin)
    assert "BRIDGE_ALLOWED_ORIGINS" in check_problem(answer, 403)


async def test_a_bad_origin_is_told_before_what_is_wrong_with_the_request(rig):
    check_problem(
        await (await rig.open_tcp()).upgrade("/ws?x=1", Origin="https://evil.example"), 403
    )


async def test_the_same_origin_and_no_origin_are_let_in(rig):
    await rig.connect_welcomed()
    await rig.connect_welcomed(additional_headers={"Origin": rig.http})


async def test_a_listed_origin_is_let_in_and_no_other(open_rig: OpenBridge):
    rig = await open_rig(doors=OriginPolicy(["https://shop.example"]))
    await rig.connect_welcomed(origin="https://shop.example")
    with pytest.raises(InvalidStatus) as caught:
        await rig.connect(origin="https://shop.example.evil")
    assert caught.value.response.status_code == 403


async def test_a_host_that_is_not_this_machine_is_a_403_in_dev(open_rig: OpenBridge):
    rig = await open_rig(doors=OriginPolicy(hosts=LOOPBACK_HOSTS))
    rebound = await (await rig.open_tcp()).upgrade(
        Host="evil.example", Origin="http://evil.example"
    )
    check_problem(rebound, 403)
    assert (await (await rig.open_tcp()).upgrade(Host=f"localhost:{rig.port}")).status == 101


async def test_the_subprotocol_is_chosen_where_it_is_offered(rig):
    client = await rig.connect_welcomed(subprotocols=["other", "push-bridge.v1"])
    assert client.connection.subprotocol == "push-bridge.v1"
    assert (await rig.connect_welcomed(subprotocols=["other"])).connection.subprotocol is None
    assert (await rig.connect_welcomed()).connection.subprotocol is None


async def test_compression_is_never_agreed_on(rig):
    client = await rig.connect_welcomed(compression="deflate")
    assert client.connection.protocol.extensions == []


async def test_frames_behind_the_handshake_are_read_in_their_order(rig):
    raw = await rig.open_tcp()
    await raw.upgrade("/ws?hello=1")
    hello = frame_bytes(b'{"op":"hello","account":"alice"}')
    raw.send(hello + frame_bytes(b'{"op":"subscribe","rooms":["r"],"id":1}'))
    assert (await raw.json())["account"] == "alice"
    assert (await raw.json())["rooms"] == ["r"]


# -- hello=1 ---------------------------------------------------------------------------------------


async def test_a_hello_says_what_a_url_would(rig):
    client = await rig.connect("hello=1")
    await client.send(
        "hello", account="alice", topics=["news"], rooms=["r"], types=["order.*"], token="unread"
    )
    welcome = await client.expect("welcome")
    assert (welcome["account"], welcome["topics"], welcome["rooms"]) == ("alice", ["news"], ["r"])
    rig.publish("news", all=True, type="tick")
    at = rig.publish("news", all=True, type="order.shipped")
    assert (await client.expect("event"))["at"] == at


async def test_empty_lists_in_a_hello_mean_none(rig):
    client = await rig.connect("hello=1")
    await client.send("hello", topics=[], rooms=[], types=[])
    welcome = await client.expect("welcome")
    assert welcome["topics"] == welcome["rooms"] == []


@pytest.mark.parametrize(
    "frame",
    [
        "not JSON",
        "[]",
        '{"op":"heartbeat"}',
        '{"op":"subscribe","topics":["orders"]}',
        '{"op":"hello","nonsense":1}',
        '{"op":"hello","rooms":"lobby"}',
        '{"op":"hello","rooms":["a*"]}',
        '{"op":"hello","topics":["a:b"]}',
        '{"op":"hello","account":""}',
        '{"op":"hello","types":["*.x"]}',
        '{"op":"hello","cursor":"garbled"}',
        '{"op":"hello","cursor":""}',
        '{"op":"hello","since":"yesterday"}',
        '{"op":"hello","since":"2026-11-21T09:00:00Z","cursor":"garbled"}',
        json.dumps({"op": "hello", "rooms": [str(number) for number in range(201)]}),
        json.dumps({"op": "hello", "rooms": ["é" * 101]}),
        b'{"op":"hello"}',
    ],
)
async def test_a_wrong_hello_closes_with_4502(rig, frame):
    client = await rig.connect("hello=1")
    await client.connection.send(frame)
    end = await client.wait_closed()
    assert end.code == 4502
    assert end.closing_frame["code"] == 4502
    assert end.closing_frame["reconnect"] is False
    assert rig.admission.connection_count == 0


async def test_a_forbidden_topic_in_a_hello_refuses_the_whole_of_it(rig):
    client = await rig.connect("hello=1")
    await client.send("hello", topics=["orders", "no-such-topic"])
    end = await client.wait_closed()
    assert (end.code, end.closing_frame["reconnect"]) == (4501, False)
    assert "no-such-topic" in end.reason


async def test_no_hello_in_its_time_closes_with_4003(open_rig: OpenBridge):
    rig = await open_rig(hello_timeout_seconds=0.1, heartbeat_seconds=0.2)
    client = await rig.connect("hello=1")
    end = await client.wait_closed()
    assert end.code == 4003
    assert "hello" in end.reason
    assert end.closing_frame["reconnect"] is True


async def test_pings_do_not_stand_for_a_hello(open_rig: OpenBridge):
    rig = await open_rig(hello_timeout_seconds=0.1, heartbeat_seconds=0.2)
    raw = await rig.open_tcp()
    await raw.upgrade("/ws?hello=1")
    raw.send(frame_bytes(b"", 0x9))
    assert (await raw.read_until_close())[0] == 4003


async def test_a_client_that_leaves_instead_of_a_hello_is_forgotten(rig):
    client = await rig.connect("hello=1")
    await client.connection.close()
    rejoined = await rig.connect_welcomed(f"rooms={quote('order:42')}")
    assert rejoined.welcome["rooms"] == ["order:42"]
    assert len(rig.pool) == 1


async def test_no_log_shows_a_token(rig, caplog):
    caplog.set_level(logging.DEBUG)
    await rig.connect_welcomed("token=open-sesame&account=alice")
    await (await rig.open_tcp()).upgrade("/ws?token=open-sesame&nonsense=1")
    await (await rig.open_tcp()).upgrade("/elsewhere?token=open-sesame")
    raw = await rig.open_tcp()
    await raw.request("GET /healthz?token=open-sesame HTTP/1.1\r\nHost: a\r\n\r\n")
    ours = [record for record in caplog.records if record.name != "websockets.client"]
    assert not any("open-sesame" in record.getMessage() for record in ours)


async def test_a_handshake_that_the_library_reads_is_checked_once(rig, monkeypatch):
    checked: list[str] = []
    check: Callable[[UpgradeRequest], UrlRequest | UpgradeRefusal] = (
        rig.websocket_endpoint.check_upgrade
    )

    def count(upgrade_request: UpgradeRequest) -> UrlRequest | UpgradeRefusal:
        checked.append(upgrade_request.target)
        return check(upgrade_request)

    monkeypatch.setattr(rig.websocket_endpoint, "check_upgrade", count)
    raw = await rig.open_tcp()
    assert (await raw.upgrade("/ws?account=alice", Connection="Upgrade, keep-alive")).status == 101
    assert checked == ["/ws?account=alice"]
