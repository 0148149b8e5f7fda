"""The life of an event stream: counted while it lasts, free of HTTP's machinery, and kept alive."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from bridge.core.protocol.cursor import decode_cursor
from bridge.web.connections import sse as web_stream
from bridge.web.transport import http_protocol as web_head
from tests.web.in_process_bridge import wait_until
from tests.web.sse_client import SseClient, open_welcomed_stream, request_stream_on

if TYPE_CHECKING:
    import pytest

    from bridge.web.transport.http_protocol import HttpProtocol
    from tests.web.conftest import OpenBridge

ALICE = "account=alice&topics=orders"


async def test_a_stream_is_counted_until_it_ends(rig):
    listener = await open_welcomed_stream(rig, ALICE)
    assert (rig.admission.connection_count, len(rig.pool)) == (1, 1)
    listener.connection.abort()
    await wait_until(lambda: rig.admission.connection_count == 0)
    assert len(rig.pool) == 0
    assert "alice" not in rig.hub.subscriptions.by_account
    assert not rig.counters.closes_by_code, "it was the client that went"


async def test_uvicorn_knows_nothing_of_it_any_more(rig):
    listener = await open_welcomed_stream(rig, ALICE)
    assert not rig.server.server_state.connections
    await wait_until(lambda: not rig.server.server_state.tasks)
    rig.publish(accounts=["alice"])
    await listener.expect("event")


async def test_nothing_of_http_is_kept_for_it(rig, monkeypatch):
    made: weakref.WeakSet[HttpProtocol] = weakref.WeakSet()
    make = web_head.HttpProtocol

    def remembered(*args, **kwargs):
        http = make(*args, **kwargs)
        made.add(http)
        return http

    monkeypatch.setattr(web_head, "HttpProtocol", remembered)
    listener = await open_welcomed_stream(rig, ALICE)
    await wait_until(lambda: not rig.server.server_state.tasks)
    assert not made, "by reference counts alone"
    rig.publish(accounts=["alice"])
    await listener.expect("event")


async def test_what_a_client_sends_on_its_stream_means_nothing(rig):
    listener = await open_welcomed_stream(rig, ALICE)
    raw = listener.connection
    raw.send(b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n" + b"\0" * 1_000_000)
    await raw.drain()
    rig.publish(accounts=["alice"])
    await listener.expect("event")


async def test_a_request_in_one_packet_with_another_is_answered_alone(rig):
    raw = await rig.open_tcp()
    request = f"GET /events?{ALICE} HTTP/1.1\r\nHost: here\r\n\r\n"
    answer = await raw.request(f"{request}GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n")
    listener = SseClient(raw, answer)
    await listener.expect("welcome")
    rig.publish(accounts=["alice"])
    await listener.expect("event")
    raw.abort()
    await wait_until(lambda: rig.admission.connection_count == 0)  # so it is still read from


async def test_half_a_request_behind_it_does_not_end_a_stream(
    open_rig: OpenBridge, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(web_head, "HEAD_TIMEOUT_SECONDS", 0.3)
    rig = await open_rig(heartbeat_seconds=0.2)
    raw = await rig.open_tcp()
    request = f"GET /events?{ALICE} HTTP/1.1\r\nHost: here\r\n\r\nGET /hea"
    listener = SseClient(raw, await raw.request(request))
    await listener.expect("welcome")
    for _ in range(5):
        await listener.expect("heartbeat")


async def test_a_stream_may_follow_on_a_connection_that_was_used(rig):
    raw = await rig.open_tcp()
    health = await raw.request("GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n")
    assert health.status == 200
    listener = SseClient(raw, await request_stream_on(raw, ALICE))
    await listener.expect("welcome")


async def test_the_end_of_a_stream_is_the_end_of_its_connection(open_rig: OpenBridge):
    rig = await open_rig(close_timeout_seconds=3600.0)
    rig.drain_seconds = 3600.0
    listener = await open_welcomed_stream(rig, ALICE)
    rig.server.should_exit = True
    await listener.wait_closed_with(4001)
    await wait_until(rig.serve_task.done)


# -- heartbeats ------------------------------------------------------------------------------------


async def test_heartbeats_come_as_events_with_the_cursor(open_rig: OpenBridge):
    rig = await open_rig(heartbeat_seconds=0.2)
    listener = await open_welcomed_stream(rig, ALICE)
    for _ in range(3):
        beat = await listener.expect("heartbeat")
        assert beat.keys() == {"op", "cursor"}
        assert decode_cursor(beat["cursor"]) == decode_cursor(listener.welcome["cursor"])
    rig.publish(accounts=["bob"])
    welcomed_at = decode_cursor(listener.welcome["cursor"])
    while decode_cursor((await listener.expect("heartbeat"))["cursor"]) == welcomed_at:
        pass
    assert decode_cursor(listener.last_event_id)["orders"].offsets == {0: 11, 1: 20}


async def test_a_heartbeat_says_for_how_long_kafka_has_been_away(open_rig: OpenBridge):
    rig = await open_rig(heartbeat_seconds=0.2)
    listener = await open_welcomed_stream(rig, ALICE)
    rig.upstream.stale_for = 7.5
    while "stale" not in (beat := await listener.expect("heartbeat")):
        pass
    assert beat["stale"] == 7.5


async def test_a_stream_is_never_silent_because_it_has_nothing_to_say(open_rig: OpenBridge):
    rig = await open_rig(heartbeat_seconds=0.1)
    listener = await open_welcomed_stream(rig, ALICE)
    for _ in range(12):
        await listener.expect("heartbeat")


async def test_between_far_heartbeats_comments_keep_proxies_from_giving_up(
    open_rig: OpenBridge, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(web_stream, "COMMENT_INTERVAL_SECONDS", 0.2)
    rig = await open_rig(heartbeat_seconds=3600.0)
    listener = await open_welcomed_stream(rig, ALICE)
    while len(listener.parser.comments) < 3:
        await listener.read()
    at = rig.publish(accounts=["alice"])
    assert (await listener.expect("event"))["at"] == at
    assert set(listener.parser.comments) == {":"}
