"""The life of an event stream: counted while it lasts, free of HTTP's machinery, and kept alive."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from bridge.core.protocol.cursor import read_cursor
from bridge.web.connections import sse as web_stream
from bridge.web.transport import http_protocol as web_head
from tests.web.listening import Listener, asked, listen
from tests.web.rig import until

if TYPE_CHECKING:
    import pytest

    from bridge.web.transport.http_protocol import Http
    from tests.web.conftest import OpenRig

ALICE = "account=alice&topics=orders"


async def test_a_stream_is_counted_until_it_ends(rig):
    listener = await listen(rig, ALICE)
    assert (rig.entrance.count, len(rig.sockets)) == (1, 1)
    listener.raw.abort()
    await until(lambda: rig.entrance.count == 0)
    assert len(rig.sockets) == 0
    assert "alice" not in rig.hub.interest.accounts
    assert not rig.entrance.closes, "it was the client that went"


async def test_uvicorn_knows_nothing_of_it_any_more(rig):
    listener = await listen(rig, ALICE)
    assert not rig.server.server_state.connections
    await until(lambda: not rig.server.server_state.tasks)
    rig.publish(accounts=["alice"])
    await listener.expect("event")


async def test_nothing_of_http_is_kept_for_it(rig, monkeypatch):
    made: weakref.WeakSet[Http] = weakref.WeakSet()
    make = web_head.Http

    def remembered(*args, **kwargs):
        http = make(*args, **kwargs)
        made.add(http)
        return http

    monkeypatch.setattr(web_head, "Http", remembered)
    listener = await listen(rig, ALICE)
    await until(lambda: not rig.server.server_state.tasks)
    assert not made, "by reference counts alone"
    rig.publish(accounts=["alice"])
    await listener.expect("event")


async def test_what_a_client_sends_on_its_stream_means_nothing(rig):
    listener = await listen(rig, ALICE)
    raw = listener.raw
    raw.send(b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n" + b"\0" * 1_000_000)
    await raw.sent()
    rig.publish(accounts=["alice"])
    await listener.expect("event")


async def test_a_request_in_one_packet_with_another_is_answered_alone(rig):
    raw = await rig.dial()
    request = f"GET /events?{ALICE} HTTP/1.1\r\nHost: here\r\n\r\n"
    answer = await raw.request(f"{request}GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n")
    listener = Listener(raw, answer)
    await listener.expect("welcome")
    rig.publish(accounts=["alice"])
    await listener.expect("event")
    raw.abort()
    await until(lambda: rig.entrance.count == 0)  # so it is still read from


async def test_half_a_request_behind_it_does_not_end_a_stream(
    open_rig: OpenRig, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(web_head, "HEAD_SECONDS", 0.3)
    rig = await open_rig(heartbeat=0.2)
    raw = await rig.dial()
    request = f"GET /events?{ALICE} HTTP/1.1\r\nHost: here\r\n\r\nGET /hea"
    listener = Listener(raw, await raw.request(request))
    await listener.expect("welcome")
    for _ in range(5):
        await listener.expect("heartbeat")


async def test_a_stream_may_follow_on_a_connection_that_was_used(rig):
    raw = await rig.dial()
    health = await raw.request("GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n")
    assert health.status == 200
    listener = Listener(raw, await asked(raw, ALICE))
    await listener.expect("welcome")


async def test_the_end_of_a_stream_is_the_end_of_its_connection(open_rig: OpenRig):
    rig = await open_rig(close_seconds=3600.0)
    rig.drain_seconds = 3600.0
    listener = await listen(rig, ALICE)
    rig.server.should_exit = True
    await listener.ended_with(4001)
    await until(rig.serving.done)


# -- heartbeats ------------------------------------------------------------------------------------


async def test_heartbeats_come_as_events_with_the_cursor(open_rig: OpenRig):
    rig = await open_rig(heartbeat=0.2)
    listener = await listen(rig, ALICE)
    for _ in range(3):
        beat = await listener.expect("heartbeat")
        assert beat == {"op": "heartbeat", "cursor": listener.welcome["cursor"]}
    rig.publish(accounts=["bob"])
    while (await listener.expect("heartbeat"))["cursor"] == listener.welcome["cursor"]:
        pass
    assert read_cursor(listener.id)["orders"].offsets == {0: 11, 1: 20}


async def test_a_heartbeat_says_for_how_long_kafka_has_been_away(open_rig: OpenRig):
    rig = await open_rig(heartbeat=0.2)
    listener = await listen(rig, ALICE)
    rig.upstream.stale_for = 7.5
    while "stale" not in (beat := await listener.expect("heartbeat")):
        pass
    assert beat["stale"] == 7.5


async def test_a_stream_is_never_silent_because_it_has_nothing_to_say(open_rig: OpenRig):
    rig = await open_rig(heartbeat=0.1)
    listener = await listen(rig, ALICE)
    for _ in range(12):
        await listener.expect("heartbeat")


async def test_between_far_heartbeats_comments_keep_proxies_from_giving_up(
    open_rig: OpenRig, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(web_stream, "COMMENT_SECONDS", 0.2)
    rig = await open_rig(heartbeat=3600.0)
    listener = await listen(rig, ALICE)
    while len(listener.stream.comments) < 3:
        await listener.read()
    at = rig.publish(accounts=["alice"])
    assert (await listener.expect("event"))["at"] == at
    assert set(listener.stream.comments) == {":"}
