"""Who reads too slowly pays for it alone: closed with 4002, cut off, and bounded in memory."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from bridge.web.connections import connection as web_pipe
from bridge.web.connections import pool as web_sockets
from tests.web.raw import framed
from tests.web.rig import until

if TYPE_CHECKING:
    from bridge.core.sessions.session import Session
    from tests.web.conftest import OpenRig
    from tests.web.rig import Rig

CEILING = 100_000
LARGE = "x" * 60_000
SMALL_WINDOW = 4096


def session_of(rig: Rig, account: str) -> Session:
    (session,) = rig.hub.interest.accounts[account]
    return session


def unsent(rig: Rig, account: str) -> int:
    unsent: int = session_of(rig, account).pipe.unsent
    return unsent


async def fill(rig: Rig, account: str) -> int:
    """Send events to `account`, who does not read, until it is closed on; return how many."""
    for count in range(1000):
        rig.publish(accounts=[account], data=LARGE)
        await asyncio.sleep(0)
        if account not in rig.hub.interest.accounts:
            return count
        # One portion is in the transport, and the outbox takes one event beyond its ceiling.
        assert unsent(rig, account) < CEILING + 2 * web_pipe.PORTION_BYTES
    raise AssertionError("a client that does not read was never closed on")


async def test_a_slow_reader_is_closed_with_4002_and_its_neighbours_miss_nothing(
    open_rig: OpenRig,
):
    rig = await open_rig(ceiling=CEILING)
    slow = await rig.open_raw("account=slow", receive_bytes=SMALL_WINDOW)
    fast = await rig.join("account=fast")
    events = 0
    while "slow" in rig.hub.interest.accounts:
        rig.publish(accounts=["slow", "fast"], data=LARGE)
        assert (await fast.expect("event"))["data"] == LARGE
        events += 1
        assert events < 1000
    await fast.is_served()
    code, closing = await slow.end()
    assert code == 4002
    assert closing is not None
    assert (closing["op"], closing["code"], closing["reconnect"]) == ("closing", 4002, True)
    assert closing["retry_after"] > 0


async def test_the_cursor_of_a_slow_readers_close_covers_exactly_what_it_was_sent(
    open_rig: OpenRig,
):
    rig = await open_rig(ceiling=CEILING)
    slow = await rig.open_raw("account=slow&topics=orders", receive_bytes=SMALL_WINDOW)
    events = await fill(rig, "slow")
    last = ""
    while (frame := await slow.json())["op"] == "event":
        last, events = frame["at"], events - 1
    assert events == 0
    assert frame["op"] == "closing"
    again = await rig.connect(f"topics=orders&account=slow&cursor={frame['cursor']},{last}")
    assert (await again.expect("welcome"))["cursor"] == f"{frame['cursor']},{last}"


async def test_a_client_that_stops_reading_is_cut_off_within_the_deadline(open_rig: OpenRig):
    rig = await open_rig(ceiling=CEILING, close_seconds=0.2, heartbeat=1.0)
    slow = await rig.open_raw("account=slow", receive_bytes=SMALL_WINDOW)
    await fill(rig, "slow")
    await until(lambda: len(rig.sockets) == 0)
    assert rig.entrance.count == 0
    await slow.rest()  # it ends


async def test_an_outbox_without_progress_is_closed_on_though_it_is_below_its_ceiling(
    open_rig: OpenRig,
):
    rig = await open_rig(ceiling=1 << 30, outbox_seconds=0.3, close_seconds=0.2, heartbeat=1.0)
    slow = await rig.open_raw("account=slow", receive_bytes=SMALL_WINDOW)
    while not unsent(rig, "slow"):
        rig.publish(accounts=["slow"], data=LARGE)
        await asyncio.sleep(0)
    neighbour = await rig.join("account=fast")
    session = session_of(rig, "slow")
    await until(lambda: session.close)
    assert session.close is not None
    assert session.close.code == 4002
    await until(lambda: len(rig.sockets) == 1)
    assert neighbour.connection.close_code is None
    await slow.rest()


async def test_a_slow_client_that_makes_progress_stays(open_rig: OpenRig):
    rig = await open_rig(ceiling=1 << 30, outbox_seconds=1.0, heartbeat=0.2)
    slow = await rig.open_raw("account=slow", receive_bytes=SMALL_WINDOW)
    while not session_of(rig, "slow").pipe.session.outbox.pending:
        rig.publish(accounts=["slow"], data=LARGE)
        await asyncio.sleep(0)
    clock = asyncio.get_running_loop().time
    until_then = clock() + 3
    while clock() < until_then:
        # Its outbox is never empty, so it is never read from either: it is slow, not silent.
        if unsent(rig, "slow") < CEILING:
            rig.publish(accounts=["slow"], data=LARGE)
        opcode, payload = await slow.frame()
        assert opcode != 0x8, payload
        await asyncio.sleep(0.001)


async def test_an_event_larger_than_the_ceiling_still_comes(open_rig: OpenRig):
    rig = await open_rig(ceiling=1000)
    client = await rig.join("account=alice")
    rig.publish(accounts=["alice"], data=LARGE)
    assert (await client.expect("event"))["data"] == LARGE


HEARTBEAT_FRAME = framed(b'{"op":"heartbeat"}')
PING_FRAME = framed(b"x" * 125, 0x9)


@pytest.mark.parametrize("flood", [HEARTBEAT_FRAME * 5000 + PING_FRAME * 1000, PING_FRAME * 5000])
async def test_a_client_that_asks_and_never_reads_costs_bounded_memory(open_rig: OpenRig, flood):
    topics = {f"topic-{number}": False for number in range(40)}
    rig = await open_rig(topics=topics, ceiling=CEILING)
    rude = await rig.open_raw("account=rude", receive_bytes=SMALL_WINDOW)
    neighbour = await rig.join("account=fast")
    socket = session_of(rig, "rude").pipe
    paused_for = 0
    while paused_for < 30:
        rude.send(flood)
        for _ in range(20):
            await asyncio.sleep(0)
            assert socket.unsent < CEILING + 2 * web_pipe.PORTION_BYTES
        paused_for += socket.paused
    assert len(socket._waiting) < 3 * (1 << 18) // len(HEARTBEAT_FRAME), "it is read no further"
    await neighbour.is_served()


async def test_who_reads_at_last_is_answered_everything_it_asked(open_rig: OpenRig):
    rig = await open_rig(ceiling=CEILING)
    late = await rig.open_raw("account=late", receive_bytes=SMALL_WINDOW)
    socket = session_of(rig, "late").pipe
    asked = 0
    while not socket.paused:
        late.send(HEARTBEAT_FRAME * 100)
        asked += 100
        await asyncio.sleep(0)
    for _ in range(asked):
        assert (await late.json())["op"] == "heartbeat"
    late.say("heartbeat", id="the last")
    assert (await late.json())["id"] == "the last"


async def test_who_does_not_read_for_some_heartbeats_is_slow_and_not_silent(
    open_rig: OpenRig, monkeypatch: pytest.MonkeyPatch
):
    rig = await open_rig(ceiling=1 << 30, heartbeat=0.1)
    late = await rig.open_raw("account=late", receive_bytes=SMALL_WINDOW)
    socket = session_of(rig, "late").pipe
    while not socket.paused:
        rig.publish(accounts=["late"], data=LARGE)
        await asyncio.sleep(0)
    beats = 0
    beat = rig.hub.beat

    def count(session: Session, *more: Any) -> None:
        nonlocal beats
        beats += session.pipe is socket
        beat(session, *more)

    monkeypatch.setattr(rig.hub, "beat", count)
    await until(lambda: beats > 5 or socket.session is None or socket.session.close is not None)
    assert beats > 5
    at = rig.publish(accounts=["late"])
    while (frame := await late.text()).get("at") != at:
        assert frame["op"] in {"event", "heartbeat"}, frame


async def test_a_flush_in_slices_reaches_everybody_though_somebody_leaves_meanwhile(
    open_rig: OpenRig, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(web_sockets, "FLUSH_SLICE", 1)
    rig = await open_rig()
    clients = [await rig.join("rooms=r") for _ in range(4)]
    monkeypatch.setattr(rig.sockets, "flush", lambda: None)
    at = rig.publish(rooms=["r"])
    flushing = asyncio.create_task(rig.sockets.flush_in_slices())
    await asyncio.sleep(0)
    sessions = rig.hub.interest.connections
    later = [client for client in clients if sessions[client.welcome["connection"]].outbox.pending]
    assert len(later) == 3, "one slice has been written, the others not yet"
    leaver = later[-1]
    sessions[leaver.welcome["connection"]].pipe.transport.abort()
    await flushing
    for client in clients:
        if client is not leaver:
            assert (await client.expect("event"))["at"] == at
