"""Coming back to an event stream: by `Last-Event-ID`, as browsers do, by a cursor, or by a time."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest

from bridge.core.protocol.cursor import TopicOffsets, decode_cursor, encode_cursor
from tests.web.in_process_bridge import TOPIC_ID, wait_until
from tests.web.sse_client import open_stream, open_welcomed_stream, request_stream

if TYPE_CHECKING:
    from tests.web.conftest import OpenBridge
    from tests.web.in_process_bridge import InProcessBridge
    from tests.web.sse_client import SseClient

ALICE = "account=alice&topics=orders"
START = encode_cursor({"orders": TopicOffsets(TOPIC_ID, {0: 10, 1: 20})})
#: Beyond what has been read, so that Kafka has to judge it; `rig.upstream` says when it does.
AHEAD = encode_cursor({"orders": TopicOffsets(TOPIC_ID, {0: 10, 1: 21})})
WHEN, WHEN_MS = "2026-11-21T09:00:00.5Z", 1_795_251_600_500


def offsets(cursor: str) -> dict[int, int]:
    return dict(decode_cursor(cursor)["orders"].offsets)


async def events(listener: SseClient) -> list[str]:
    """The positions of the events up to `live`."""
    found = []
    while (frame := await listener.frame())["op"] != "live":
        assert frame["op"] == "event", frame
        found.append(frame["at"])
    assert frame["replayed"] == len(found)
    return found


async def test_who_comes_back_with_the_last_id_misses_nothing_and_gets_nothing_twice(rig):
    left = await open_welcomed_stream(rig, ALICE)
    seen = [rig.publish(accounts=["alice"]) for _ in range(3)]
    assert [(await left.expect("event"))["at"] for _ in seen] == seen
    left.connection.abort()
    missed = [rig.publish(accounts=["alice"]) for _ in range(3)]
    rig.publish(accounts=["bob"])
    missed += [rig.publish(partition=1, all=True)]
    back = await open_welcomed_stream(rig, ALICE, {"Last-Event-ID": left.last_event_id})
    assert back.welcome["cursor"] == left.last_event_id
    assert await events(back) == missed
    assert offsets(back.last_event_id) == {0: 17, 1: 21}
    at = rig.publish(accounts=["alice"])
    assert (await back.expect("event"))["at"] == at


async def test_who_breaks_off_between_events_and_their_cursor_gets_them_again(rig):
    left = await open_welcomed_stream(rig, ALICE)
    at = rig.publish(accounts=["alice"])
    await left.expect("event")
    left.parser.connect()
    left.parser.feed(left.chunks[-1].partition(b"id: ")[0])
    back = await open_welcomed_stream(rig, ALICE, {"Last-Event-ID": left.welcome["cursor"]})
    assert await events(back) == [at]


async def test_positions_may_follow_as_in_any_cursor(rig):
    seen = [rig.publish(accounts=["alice"]), rig.publish(accounts=["alice"])]
    missed = [rig.publish(accounts=["alice"])]
    back = await open_welcomed_stream(rig, ALICE, {"Last-Event-ID": ",".join([START, *seen])})
    assert back.welcome["cursor"] == ",".join([START, *seen])
    assert await events(back) == missed


async def test_a_cursor_in_the_url_is_as_good(rig):
    missed = [rig.publish(accounts=["alice"])]
    assert await events(await open_welcomed_stream(rig, f"{ALICE}&cursor={START}")) == missed


async def test_the_last_id_wins_over_the_cursor_of_the_url_that_it_began_with(rig):
    rig.publish(accounts=["alice"])
    listener = await open_welcomed_stream(rig, f"{ALICE}&cursor={START}")
    assert len(await events(listener)) == 1
    listener.connection.abort()
    missed = [rig.publish(accounts=["alice"])]
    back = await open_welcomed_stream(
        rig, f"{ALICE}&cursor={START}", {"Last-Event-ID": listener.last_event_id}
    )
    assert await events(back) == missed


@pytest.mark.parametrize("name", ["lastEventId", "lastEventID"])
async def test_the_last_id_may_stand_in_the_url(rig, name):
    missed = [rig.publish(accounts=["alice"])]
    rig.upstream.brokers.since_offsets = {"orders": {0: 10, 1: 20}}
    for rest in ("", f"&cursor={AHEAD}", f"&since={WHEN}"):
        query = f"{ALICE}&{name}={START}{rest}"
        assert await events(await open_welcomed_stream(rig, query)) == missed
    assert rig.upstream.brokers.since_requests == []
    answer = await request_stream(rig, f"{ALICE}&{name}=final:4501")
    assert (answer.status, answer.body) == (204, b"")
    assert (await request_stream(rig, f"{ALICE}&{name}=garbled")).status == 400


@pytest.mark.parametrize("name", ["lastEventId", "lastEventID"])
async def test_the_header_wins_over_the_last_id_in_the_url(rig, name):
    first, second = rig.publish(accounts=["alice"]), rig.publish(accounts=["alice"])
    header = {"Last-Event-ID": f"{START},{first}"}
    assert await events(await open_welcomed_stream(rig, f"{ALICE}&{name}={START}", header)) == [
        second
    ]
    assert (await request_stream(rig, f"{ALICE}&{name}=final:4501", **header)).status == 200
    assert (await request_stream(rig, f"{ALICE}&{name}=", **header)).status == 200


@pytest.mark.parametrize("name", ["lastEventId", "lastEventID"])
async def test_an_empty_last_id_in_the_url_is_none(rig, name):
    welcome = (await open_welcomed_stream(rig, f"{ALICE}&{name}=")).welcome
    assert offsets(welcome["cursor"]) == offsets(START)


async def test_the_last_id_stands_in_the_url_once(rig):
    for twice in (f"lastEventId={START}&lastEventId={START}", f"lastEventId=&lastEventID={START}"):
        assert (await request_stream(rig, f"{ALICE}&{twice}")).status == 400


async def test_an_empty_last_id_is_none(rig):
    welcome = (await open_welcomed_stream(rig, ALICE, {"Last-Event-ID": ""})).welcome
    assert decode_cursor(welcome["cursor"]) == decode_cursor(START)


async def test_since_replays_from_a_time_and_the_last_id_wins_over_it_later(rig):
    rig.publish(accounts=["alice"])
    later = [rig.publish(accounts=["alice"]) for _ in range(2)]
    rig.upstream.brokers.since_offsets = {"orders": {0: 11, 1: 20}}
    query = urlencode({"account": "alice", "topics": "orders", "since": WHEN})
    listener = await open_welcomed_stream(rig, query)
    assert rig.upstream.brokers.since_requests == [WHEN_MS]
    assert await events(listener) == later
    listener.connection.abort()
    missed = [rig.publish(accounts=["alice"])]
    assert (
        await events(
            await open_welcomed_stream(rig, query, {"Last-Event-ID": listener.last_event_id})
        )
        == missed
    )
    assert rig.upstream.brokers.since_requests == [WHEN_MS], "the time is not looked for again"


async def test_what_can_not_be_replayed_is_a_gap(rig):
    behind = encode_cursor({"orders": TopicOffsets(TOPIC_ID, {0: 9, 1: 20})})
    back = await open_welcomed_stream(rig, ALICE, {"Last-Event-ID": behind})
    assert (await back.expect("gap"))["reason"] == "expired"
    assert await events(back) == []
    assert offsets(back.last_event_id) == {0: 10, 1: 20}


async def test_the_id_is_right_in_the_middle_of_a_replay(open_rig: OpenBridge):
    rig = await open_rig(ceiling=2000)  # so it is replayed in many portions
    missed = [rig.publish(accounts=["alice"], data="x" * 300) for _ in range(100)]
    got: list[str] = []
    back = await open_welcomed_stream(rig, ALICE, {"Last-Event-ID": START})
    breaks = 0
    while len(got) < 100:
        # Whatever has come since the newest id is forgotten, as when the connection breaks there.
        got.append((await back.expect("event"))["at"])
        if len(got) % 7 == 0 and len(got) < 100:
            covered = offsets(back.last_event_id)[0] - 10
            while len(got) < covered:
                got.append((await back.expect("event"))["at"])
            del got[covered:]
            back.connection.abort()
            back = await open_welcomed_stream(rig, ALICE, {"Last-Event-ID": back.last_event_id})
            breaks += 1
    assert got == missed
    assert breaks > 3


async def test_heartbeats_come_during_a_replay_and_cover_what_has_come(open_rig: OpenBridge):
    rig = await open_rig(heartbeat_seconds=0.2)
    rig.upstream.brokers.ends = {"orders": {1: 21}}
    rig.upstream.brokers.may_respond.clear()
    back = await open_welcomed_stream(rig, ALICE, {"Last-Event-ID": AHEAD})
    rig.publish(accounts=["alice"])
    for _ in range(3):
        assert offsets((await back.expect("heartbeat"))["cursor"]) == offsets(AHEAD)
    assert offsets(back.last_event_id) == offsets(AHEAD)
    rig.upstream.brokers.may_respond.set()
    assert (await back.next_of("event"))["at"] == "orders:0:10"
    await back.next_of("live")
    assert offsets(back.last_event_id) == {0: 11, 1: 21}


async def test_who_waits_too_long_for_its_replay_is_told_4006_on_the_stream(open_rig: OpenBridge):
    rig = await open_rig(wait_seconds=0.3)
    rig.upstream.brokers.is_reachable = False
    back = await open_welcomed_stream(rig, ALICE, {"Last-Event-ID": AHEAD})
    closing = await back.wait_closed_with(4006)
    assert closing["cursor"] == back.last_event_id
    assert offsets(back.last_event_id) == offsets(AHEAD)
    assert back.parser.reconnection_ms == closing["retry_after"] * 1000
    assert rig.counters.closes_by_code == {4006: 1}


async def test_a_client_that_vanishes_during_a_replay_is_forgotten(rig):
    rig.upstream.brokers.may_respond.clear()
    back = await open_welcomed_stream(rig, ALICE, {"Last-Event-ID": AHEAD})
    assert len(rig.hub.replaying) == 1
    back.connection.abort()
    await wait_until(lambda: rig.admission.connection_count == 0)
    assert not rig.hub.replaying


# -- while the time of `since` is looked for -------------------------------------------------------


async def looked_for(rig: InProcessBridge) -> None:
    await wait_until(lambda: rig.upstream.brokers.since_requests)
    assert rig.admission.connection_count == 1, "it has its place"


async def test_where_kafka_does_not_find_the_time_it_is_a_503(open_rig: OpenBridge):
    rig = await open_rig(wait_seconds=0.3)
    rig.upstream.brokers.is_reachable = False
    answer = await request_stream(rig, f"topics=orders&since={WHEN}")
    assert (answer.status, int(answer.headers["retry-after"]) > 0) == (503, True)
    assert (rig.admission.connection_count, rig.counters.closes_by_code) == (0, {4006: 1})


async def test_a_client_that_vanishes_meanwhile_gives_its_place_back(rig):
    rig.upstream.brokers.may_respond.clear()
    raw = await rig.open_tcp()
    raw.send(f"GET /events?{ALICE}&since={WHEN} HTTP/1.1\r\nHost: here\r\n\r\n".encode())
    await looked_for(rig)
    raw.abort()
    await wait_until(lambda: rig.admission.connection_count == 0)
    rig.upstream.brokers.may_respond.set()
    await wait_until(lambda: not rig.server.server_state.tasks)
    assert "alice" not in rig.hub.subscriptions.by_account


async def test_a_drain_does_not_wait_for_the_time_to_be_found(rig):
    rig.upstream.brokers.may_respond.clear()
    raw = await rig.open_tcp()
    raw.send(f"GET /events?{ALICE}&since={WHEN} HTTP/1.1\r\nHost: here\r\n\r\n".encode())
    await looked_for(rig)
    rig.server.should_exit = True
    assert (await raw.request("")).status == 503
    await wait_until(rig.serve_task.done)
    assert rig.counters.closes_by_code == {4001: 1}


@pytest.mark.parametrize("query", [ALICE, f"{ALICE}&cursor={START}"])
async def test_a_drain_ends_streams_with_4001_and_what_it_takes_to_come_back(rig, query):
    listener = await open_stream(rig, query)
    await listener.expect("welcome")
    at = rig.publish(accounts=["alice"])
    assert (await listener.next_of("event"))["at"] == at
    rig.server.should_exit = True
    closing = await listener.wait_closed_with(4001)
    assert closing["cursor"] == listener.last_event_id
    assert listener.parser.reconnection_ms == closing["retry_after"] * 1000 > 0
    await wait_until(rig.serve_task.done)
    assert rig.counters.closes_by_code == {4001: 1}
