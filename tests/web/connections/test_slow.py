"""Who reads too slowly pays for it alone: closed with 4002, cut off, and bounded in memory."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from bridge.web.connections import connection as web_pipe
from bridge.web.connections import flushing as flushing_module
from bridge.web.connections import pool as pool_module
from bridge.web.connections.turns import FRAMES_PER_TURN
from tests.web.in_process_bridge import connection_of, wait_until
from tests.web.raw_connection import frame_bytes

if TYPE_CHECKING:
    from bridge.core.sessions.session import Session
    from tests.web.conftest import OpenBridge
    from tests.web.in_process_bridge import InProcessBridge

CEILING = 100_000
LARGE = "x" * 60_000
SMALL_WINDOW = 4096


def session_of(rig: InProcessBridge, account: str) -> Session:
    (session,) = rig.hub.subscriptions.by_account[account]
    return session


def unsent(rig: InProcessBridge, account: str) -> int:
    unsent: int = connection_of(session_of(rig, account)).unsent_bytes
    return unsent


async def fill(rig: InProcessBridge, account: str) -> int:
    """Send events to `account`, who does not read, until it is closed on; return how many."""
    for count in range(1000):
        rig.publish(accounts=[account], data=LARGE)
        await asyncio.sleep(0)
        if account not in rig.hub.subscriptions.by_account:
            return count
        # One portion is in the transport, and the outbox takes one event beyond its ceiling.
        assert unsent(rig, account) < CEILING + 2 * web_pipe.WRITE_CHUNK_BYTES
    raise AssertionError("a client that does not read was never closed on")


async def test_a_slow_reader_is_closed_with_4002_and_its_neighbours_miss_nothing(
    open_rig: OpenBridge,
):
    rig = await open_rig(ceiling=CEILING)
    slow = await rig.open_websocket("account=slow", receive_bytes=SMALL_WINDOW)
    fast = await rig.connect_welcomed("account=fast")
    events = 0
    while "slow" in rig.hub.subscriptions.by_account:
        rig.publish(accounts=["slow", "fast"], data=LARGE)
        assert (await fast.expect("event"))["data"] == LARGE
        events += 1
        assert events < 1000
    await fast.check_responsive()
    code, closing = await slow.read_until_close()
    assert code == 4002
    assert closing is not None
    assert (closing["op"], closing["code"], closing["reconnect"]) == ("closing", 4002, True)
    assert closing["retry_after"] > 0


async def test_the_cursor_of_a_slow_readers_close_covers_exactly_what_it_was_sent(
    open_rig: OpenBridge,
):
    rig = await open_rig(ceiling=CEILING)
    slow = await rig.open_websocket("account=slow&topics=orders", receive_bytes=SMALL_WINDOW)
    events = await fill(rig, "slow")
    last = ""
    while (frame := await slow.json())["op"] == "event":
        last, events = frame["at"], events - 1
    assert events == 0
    assert frame["op"] == "closing"
    again = await rig.connect(f"topics=orders&account=slow&cursor={frame['cursor']},{last}")
    assert (await again.expect("welcome"))["cursor"] == f"{frame['cursor']},{last}"


async def test_a_client_that_stops_reading_is_cut_off_within_the_deadline(open_rig: OpenBridge):
    rig = await open_rig(ceiling=CEILING, close_timeout_seconds=0.2, heartbeat_seconds=1.0)
    slow = await rig.open_websocket("account=slow", receive_bytes=SMALL_WINDOW)
    await fill(rig, "slow")
    await wait_until(lambda: len(rig.pool) == 0)
    assert rig.admission.connection_count == 0
    await slow.read_to_end()  # it ends


async def test_an_outbox_without_progress_is_closed_on_though_it_is_below_its_ceiling(
    open_rig: OpenBridge,
):
    rig = await open_rig(
        ceiling=1 << 30,
        outbox_timeout_seconds=0.3,
        close_timeout_seconds=0.2,
        heartbeat_seconds=1.0,
    )
    slow = await rig.open_websocket("account=slow", receive_bytes=SMALL_WINDOW)
    while not unsent(rig, "slow"):
        rig.publish(accounts=["slow"], data=LARGE)
        await asyncio.sleep(0)
    neighbour = await rig.connect_welcomed("account=fast")
    session = session_of(rig, "slow")
    await wait_until(lambda: session.close_code)
    assert session.close_code is not None
    assert session.close_code.code == 4002
    await wait_until(lambda: len(rig.pool) == 1)
    assert neighbour.connection.close_code is None
    await slow.read_to_end()


async def test_time_in_which_the_instance_stood_still_is_not_the_clients(
    open_rig: OpenBridge, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pool_module, "STANDSTILL_SECONDS", 0.3)
    rig = await open_rig(
        ceiling=1 << 30,
        outbox_timeout_seconds=0.4,
        hello_timeout_seconds=0.4,
        close_timeout_seconds=0.2,
        heartbeat_seconds=1.0,
    )
    reader = await rig.open_websocket("account=reader", receive_bytes=SMALL_WINDOW)
    await (await rig.open_tcp()).upgrade("/ws?hello=1")
    while not unsent(rig, "reader"):
        rig.publish(accounts=["reader"], data=LARGE)
        await asyncio.sleep(0)
    session = session_of(rig, "reader")
    await asyncio.sleep(0.1)  # a check has seen the progress that there was
    time.sleep(0.8)  # noqa: ASYNC251 - the whole process is stopped
    await asyncio.sleep(0.1)  # the checks that are overdue
    assert session.close_code is None
    assert not rig.counters.closes_by_code
    await wait_until(lambda: session.close_code)  # from now on it is the reader's own time
    await reader.read_to_end()


async def test_a_slow_client_that_makes_progress_stays(open_rig: OpenBridge):
    rig = await open_rig(ceiling=1 << 30, outbox_timeout_seconds=0.4, heartbeat_seconds=0.1)
    slow = await rig.open_websocket("account=slow", receive_bytes=SMALL_WINDOW)
    while not connection_of(session_of(rig, "slow")).session.outbox.pending_bytes:
        rig.publish(accounts=["slow"], data=LARGE)
        await asyncio.sleep(0)
    clock = asyncio.get_running_loop().time
    until_then = clock() + 1.2
    while clock() < until_then:
        # Its outbox is never empty, so it is never read from either: it is slow, not silent.
        if unsent(rig, "slow") < CEILING:
            rig.publish(accounts=["slow"], data=LARGE)
        opcode, payload = await slow.read_frame()
        assert opcode != 0x8, payload
        await asyncio.sleep(0.001)


async def test_an_event_larger_than_the_ceiling_still_comes(open_rig: OpenBridge):
    rig = await open_rig(ceiling=1000)
    client = await rig.connect_welcomed("account=alice")
    rig.publish(accounts=["alice"], data=LARGE)
    assert (await client.expect("event"))["data"] == LARGE


HEARTBEAT_FRAME = frame_bytes(b'{"op":"heartbeat"}')
PING_FRAME = frame_bytes(b"x" * 125, 0x9)


@pytest.mark.parametrize("flood", [HEARTBEAT_FRAME * 5000 + PING_FRAME * 1000, PING_FRAME * 5000])
async def test_a_client_that_asks_and_never_reads_costs_bounded_memory(open_rig: OpenBridge, flood):
    topics = {f"topic-{number}": False for number in range(40)}
    rig = await open_rig(topics=topics, ceiling=CEILING, max_frames_per_second=1_000_000)
    rude = await rig.open_websocket("account=rude", receive_bytes=SMALL_WINDOW)
    neighbour = await rig.connect_welcomed("account=fast")
    socket = connection_of(session_of(rig, "rude"))
    paused_for = 0
    while paused_for < 30:
        rude.send(flood)
        for _ in range(20):
            await asyncio.sleep(0)
            assert socket.unsent_bytes < CEILING + 2 * web_pipe.WRITE_CHUNK_BYTES
        paused_for += socket.is_write_paused
    assert len(socket._frame_parser._buffer) < 2 * (1 << 18), "it is read no further"
    await neighbour.check_responsive()


async def test_who_reads_at_last_is_answered_everything_it_asked(open_rig: OpenBridge):
    rig = await open_rig(ceiling=CEILING, max_frames_per_second=1_000_000)
    late = await rig.open_websocket("account=late", receive_bytes=SMALL_WINDOW)
    socket = connection_of(session_of(rig, "late"))
    asked = 0
    while not socket.is_write_paused:
        late.send(HEARTBEAT_FRAME * FRAMES_PER_TURN)
        asked += FRAMES_PER_TURN
        await asyncio.sleep(0)
    for _ in range(asked):
        assert (await late.json())["op"] == "heartbeat"
    late.send_frame("heartbeat", id="the last")
    assert (await late.json())["id"] == "the last"


async def test_who_does_not_read_for_some_heartbeats_is_slow_and_not_silent(
    open_rig: OpenBridge, monkeypatch: pytest.MonkeyPatch
):
    rig = await open_rig(ceiling=1 << 30, heartbeat_seconds=0.1)
    late = await rig.open_websocket("account=late", receive_bytes=SMALL_WINDOW)
    socket = connection_of(session_of(rig, "late"))
    while not socket.is_write_paused:
        rig.publish(accounts=["late"], data=LARGE)
        await asyncio.sleep(0)
    beats = 0
    beat = rig.hub.send_heartbeat

    def count(session: Session, *more: Any) -> None:
        nonlocal beats
        beats += session.connection is socket
        beat(session, *more)

    monkeypatch.setattr(rig.hub, "send_heartbeat", count)
    await wait_until(
        lambda: beats > 5 or socket.session is None or socket.session.close_code is not None
    )
    assert beats > 5
    at = rig.publish(accounts=["late"])
    while (frame := await late.read_text()).get("at") != at:
        assert frame["op"] in {"event", "heartbeat"}, frame


async def test_a_flush_in_slices_reaches_everybody_though_somebody_leaves_meanwhile(
    open_rig: OpenBridge, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(flushing_module, "BATCH_SIZE", 1)
    rig = await open_rig()
    clients = [await rig.connect_welcomed("rooms=r") for _ in range(4)]
    monkeypatch.setattr(rig.flusher, "flush", lambda: None)
    at = rig.publish(rooms=["r"])
    flushing = asyncio.create_task(rig.pool.flusher.flush_in_batches())
    await asyncio.sleep(0)
    sessions = rig.hub.subscriptions.by_connection
    later = [
        client for client in clients if sessions[client.welcome["connection"]].outbox.pending_bytes
    ]
    assert len(later) == 3, "one slice has been written, the others not yet"
    leaver = later[-1]
    connection_of(sessions[leaver.welcome["connection"]]).transport.abort()
    await flushing
    for client in clients:
        if client is not leaver:
            assert (await client.expect("event"))["at"] == at
