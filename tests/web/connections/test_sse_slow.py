"""Event streams of those who read too slowly, not at all, or have gone: no neighbour suffers."""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import TYPE_CHECKING

import pytest

from bridge.web.connections import connection as web_pipe
from tests.web.in_process_bridge import connection_of, wait_until
from tests.web.sse_client import open_welcomed_stream

if TYPE_CHECKING:
    from bridge.core.sessions.session import Session
    from tests.web.conftest import OpenBridge
    from tests.web.in_process_bridge import InProcessBridge
    from tests.web.sse_client import SseClient

CEILING = 100_000
LARGE = "x" * 60_000
SMALL_WINDOW = 4096


def session_of(rig: InProcessBridge, account: str) -> Session:
    (session,) = rig.hub.subscriptions.by_account[account]
    return session


async def slow_reader(rig: InProcessBridge) -> SseClient:
    return await open_welcomed_stream(rig, "account=slow&topics=orders", receive_bytes=SMALL_WINDOW)


async def fill(rig: InProcessBridge) -> int:
    """Send events to who does not read, until it is closed on; return how many."""
    pipe = connection_of(session_of(rig, "slow"))
    for count in range(1000):
        rig.publish(accounts=["slow"], data=LARGE)
        await asyncio.sleep(0)
        if "slow" not in rig.hub.subscriptions.by_account:
            return count
        # One portion is in the transport, and the outbox takes one event beyond its ceiling.
        assert pipe.unsent_bytes < CEILING + 2 * web_pipe.WRITE_CHUNK_BYTES
    raise AssertionError("a client that does not read was never closed on")


async def test_a_slow_reader_is_closed_with_4002_and_comes_back_for_the_rest(open_rig: OpenBridge):
    rig = await open_rig(ceiling=CEILING)
    slow = await slow_reader(rig)
    fast = await open_welcomed_stream(rig, "account=fast")
    socket_ = await rig.connect_welcomed("account=fast")
    sent = 0
    while "slow" in rig.hub.subscriptions.by_account:
        rig.publish(accounts=["slow", "fast"], data=LARGE)
        assert (await fast.expect("event"))["data"] == LARGE
        assert (await socket_.expect("event"))["data"] == LARGE
        sent += 1
        assert sent < 1000
    frames = await slow.read_to_end()
    closing = frames.pop()
    assert (closing["op"], closing["code"], closing["reconnect"]) == ("closing", 4002, True)
    assert [frame["at"] for frame in frames] == [f"orders:0:{10 + n}" for n in range(sent - 1)]
    assert slow.last_event_id == closing["cursor"], "the event that did not fit is not covered"
    assert rig.counters.closes_by_code == {4002: 1}
    back = await open_welcomed_stream(
        rig, "account=slow&topics=orders", {"Last-Event-ID": slow.last_event_id}
    )
    assert (await back.expect("event"))["at"] == f"orders:0:{9 + sent}"
    assert (await back.expect("live"))["replayed"] == 1


async def test_who_stops_reading_is_cut_off_within_the_deadline(open_rig: OpenBridge):
    rig = await open_rig(ceiling=CEILING, close_timeout_seconds=0.2, heartbeat_seconds=1.0)
    slow = await slow_reader(rig)
    await fill(rig)
    await wait_until(lambda: len(rig.pool) == 0)
    assert rig.admission.connection_count == 0
    await slow.connection.read_to_end()  # it ends


async def test_an_outbox_without_progress_is_closed_on_though_it_is_below_its_ceiling(
    open_rig: OpenBridge,
):
    rig = await open_rig(
        ceiling=1 << 30,
        outbox_timeout_seconds=0.3,
        close_timeout_seconds=0.2,
        heartbeat_seconds=1.0,
    )
    slow = await slow_reader(rig)
    session = session_of(rig, "slow")
    while not session.outbox.pending_bytes:
        rig.publish(accounts=["slow"], data=LARGE)
        await asyncio.sleep(0)
    await wait_until(lambda: session.close_code)
    assert session.close_code is not None
    assert session.close_code.code == 4002
    await wait_until(lambda: len(rig.pool) == 0)
    await slow.connection.read_to_end()


async def test_who_reads_slowly_but_reads_stays(open_rig: OpenBridge):
    rig = await open_rig(ceiling=1 << 30, outbox_timeout_seconds=0.4, heartbeat_seconds=0.1)
    slow = await slow_reader(rig)
    pipe = connection_of(session_of(rig, "slow"))
    clock = asyncio.get_running_loop().time
    until_then = clock() + 1.2
    while clock() < until_then:
        if pipe.unsent_bytes < CEILING:  # its outbox is never empty
            rig.publish(accounts=["slow"], data=LARGE)
        assert (await slow.frame())["op"] in {"event", "heartbeat"}
        await asyncio.sleep(0.001)


async def test_what_was_sent_while_it_did_not_read_all_comes_in_order(open_rig: OpenBridge):
    rig = await open_rig(ceiling=1 << 30)
    late = await slow_reader(rig)
    pipe = connection_of(session_of(rig, "slow"))
    sent: list[str] = []
    while not pipe.is_write_paused or len(sent) < 40:
        sent.append(rig.publish(accounts=["slow"], data=LARGE))
        await asyncio.sleep(0)
    assert [(await late.expect("event"))["at"] for _ in sent] == sent
    at = rig.publish(accounts=["slow"])
    assert (await late.expect("event"))["at"] == at


@pytest.mark.skipif(sys.platform != "linux", reason="TCP_USER_TIMEOUT is Linux's")
async def test_who_acknowledges_nothing_for_long_is_given_up_by_the_kernel_as_silent(
    open_rig: OpenBridge,
):
    # A window that stays shut is to the kernel what an answer that never comes is.
    rig = await open_rig(
        ceiling=1 << 30,
        heartbeat_seconds=0.2,
        outbox_timeout_seconds=0.5,
        close_timeout_seconds=0.1,
    )
    gone = await slow_reader(rig)
    stream = connection_of(session_of(rig, "slow"))
    timeout = stream.transport.get_extra_info("socket").getsockopt(
        socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT
    )
    assert timeout == 600
    rig.publish(accounts=["slow"], data="x" * 25_000)
    await wait_until(lambda: len(rig.pool) == 0 or stream.unsent_bytes)
    assert len(rig.pool) == 0, "to the bridge it seemed that all was sent"
    assert rig.counters.closes_by_code == {4003: 1}
    await gone.connection.read_to_end()


async def test_a_stream_that_a_drain_can_not_end_in_order_is_cut_off(open_rig: OpenBridge):
    rig = await open_rig(ceiling=1 << 30)
    rig.drain_seconds = 0.2
    slow = await slow_reader(rig)
    pipe = connection_of(session_of(rig, "slow"))
    while not pipe.is_write_paused:
        rig.publish(accounts=["slow"], data=LARGE)
        await asyncio.sleep(0)
    rig.server.should_exit = True
    await wait_until(rig.serve_task.done)
    assert (len(rig.pool), rig.admission.connection_count) == (0, 0)
    await slow.connection.read_to_end()
