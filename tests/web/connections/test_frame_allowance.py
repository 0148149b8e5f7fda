"""Contract-2, 0: a client's frames are taken a few at a time, and beyond the allowance later."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from websockets.frames import Opcode

from bridge.web.connections.turns import FRAMES_PER_TURN
from bridge.web.connections.websocket import MAX_FRAMES_BEFORE_WELCOME, WebSocketConnection
from bridge.web.transport.ws_framing import FrameParser
from tests.web.in_process_bridge import connection_of, wait_until
from tests.web.raw_connection import frame_bytes

if TYPE_CHECKING:
    from tests.web.conftest import OpenBridge
    from tests.web.in_process_bridge import InProcessBridge
    from tests.web.raw_connection import RawConnection


def text_frame(**fields: Any) -> bytes:
    return frame_bytes(json.dumps(fields).encode())


EMPTY_FRAGMENT = frame_bytes(b"", Opcode.CONT, fin=False)
FIRST_FRAGMENT = frame_bytes(b"", fin=False)
#: What a stranger may flood a connection with: its first frame, and the one that it repeats.
FLOODS = {
    "pings": (b"", frame_bytes(b"", Opcode.PING)),
    "pongs": (b"", frame_bytes(b"", Opcode.PONG)),
    "empty fragments": (FIRST_FRAGMENT, EMPTY_FRAGMENT),
    "fragments of a byte": (FIRST_FRAGMENT, frame_bytes(b"x", Opcode.CONT, fin=False)),
    "heartbeats": (b"", text_frame(op="heartbeat")),
    "subscribes beyond the limit": (b"", text_frame(op="subscribe", rooms=["a", "b"])),
    "unsubscribes": (b"", text_frame(op="unsubscribe", rooms=["a"])),
    "tokens": (b"", text_frame(op="token", token="x")),
    "bad frames": (b"", frame_bytes(b"{")),
    "binary frames": (b"", frame_bytes(b"x", Opcode.BINARY)),
}
floods = pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS.keys())


async def open_quiet(rig: InProcessBridge, query: str = "") -> tuple[RawConnection, Any]:
    """Open a WebSocket; return it and the bridge's end of it."""
    before = set(rig.hub.registry.by_id)
    raw = await rig.open_websocket(query)
    (new,) = set(rig.hub.registry.by_id) - before
    return raw, connection_of(rig.hub.registry.by_id[new])


@pytest.fixture
def parsed_per_turn(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many frames each call of `handle_frames` parsed."""
    counts: list[int] = []
    pop, handle_frames = FrameParser.pop, WebSocketConnection.handle_frames

    def counted_pop(self: FrameParser) -> Any:
        message = pop(self)
        counts[-1] += message is not None
        return message

    def counted(self: WebSocketConnection) -> bool:
        counts.append(0)
        return handle_frames(self)

    monkeypatch.setattr(FrameParser, "pop", counted_pop)
    monkeypatch.setattr(WebSocketConnection, "handle_frames", counted)
    return counts


@floods
async def test_a_flood_is_taken_a_few_frames_a_turn_and_no_further_than_the_allowance(
    open_rig: OpenBridge, parsed_per_turn: list[int], flood
):
    rig = await open_rig(max_frames_per_second=20)
    raw, connection = await open_quiet(rig)
    neighbour = await rig.connect_welcomed()
    first, repeated = flood
    raw.send(first + repeated * 20_000)
    await wait_until(lambda: connection._hold_timer is not None or connection._is_ignoring)
    await neighbour.check_responsive()
    assert max(parsed_per_turn) <= FRAMES_PER_TURN
    assert sum(parsed_per_turn) <= 5 * 20 + 20
    assert connection._frame_parser is None or len(connection._frame_parser._buffer) <= 1 << 18


async def test_beyond_its_allowance_a_client_is_not_read_from_until_it_may_go_on(
    open_rig: OpenBridge,
):
    rig = await open_rig(max_frames_per_second=100)
    raw, connection = await open_quiet(rig)
    for number in range(520):
        raw.send_frame("heartbeat", id=number)
    for number in range(500):
        assert (await raw.read_text())["id"] == number
    await wait_until(lambda: connection._hold_timer is not None)
    assert not connection.transport.is_reading()
    assert [(await raw.read_text())["id"] for _ in range(20)] == [*range(500, 520)]
    await wait_until(connection.transport.is_reading)


async def test_who_waits_for_its_allowance_is_not_called_silent_meanwhile(open_rig: OpenBridge):
    rig = await open_rig(max_frames_per_second=10, heartbeat_seconds=0.1)
    raw, connection = await open_quiet(rig)
    raw.send(frame_bytes(b"", Opcode.PONG) * 60 + text_frame(op="heartbeat", id="last"))
    await wait_until(lambda: connection._hold_timer is not None)
    held_since = connection.last_seen
    await wait_until(lambda: rig.pool.now() - held_since > 4 * 0.1)
    while (await raw.read_text()).get("id") != "last":
        pass
    assert rig.pool.now() - held_since >= 1.0  # so long it had to wait, ten heartbeats
    assert connection.session.close_code is None


async def test_ten_names_count_as_a_frame(open_rig: OpenBridge):
    rig = await open_rig(max_frames_per_second=10)
    raw, connection = await open_quiet(rig)
    rooms = [f"room-{number}" for number in range(100)]
    for _ in range(5):
        raw.send_frame("unsubscribe", id=1, rooms=rooms)
        assert (await raw.read_text())["id"] == 1
    assert connection.allowance.wait_seconds(rig.pool.now() + 0.5) == 0
    raw.send_frame("unsubscribe", id=2, rooms=rooms)
    assert (await raw.read_text())["id"] == 2
    assert connection.allowance.wait_seconds(rig.pool.now()) > 0


async def test_names_in_a_hello_do_not_count(open_rig: OpenBridge):
    rig = await open_rig(max_frames_per_second=10)
    raw = await rig.open_tcp()
    assert (await raw.upgrade("/ws?hello=1")).status == 101
    raw.send_frame("hello", rooms=[f"room-{number}" for number in range(200)])
    assert (await raw.read_text())["op"] == "welcome"
    (session,) = rig.hub.registry.by_id.values()
    assert connection_of(session).allowance.wait_seconds(rig.pool.now() - 4.8) == 0


@pytest.mark.parametrize(
    ("first", "repeated"),
    [
        (b"", frame_bytes(b"", Opcode.PING)),
        (b"", frame_bytes(b"", Opcode.PONG)),
        (FIRST_FRAGMENT, EMPTY_FRAGMENT),
    ],
    ids=["pings", "pongs", "fragments"],
)
async def test_before_its_welcome_a_client_may_send_64_frames_in_all(rig, first, repeated):
    raw = await rig.open_tcp()
    assert (await raw.upgrade("/ws?hello=1")).status == 101
    raw.send(first + repeated * (MAX_FRAMES_BEFORE_WELCOME - bool(first)))
    raw.send(repeated)
    code, closing = await raw.read_until_close()
    assert code == 4502
    assert closing is not None
    assert (closing["op"], closing["reconnect"]) == ("closing", False)


async def test_the_64th_frame_may_be_the_hello(rig):
    raw = await rig.open_tcp()
    assert (await raw.upgrade("/ws?hello=1")).status == 101
    raw.send(frame_bytes(b"", Opcode.PONG) * (MAX_FRAMES_BEFORE_WELCOME - 1))
    raw.send_frame("hello")
    assert (await raw.read_text())["op"] == "welcome"
    raw.send(frame_bytes(b"", Opcode.PONG) * (2 * MAX_FRAMES_BEFORE_WELCOME))
    raw.send_frame("heartbeat", id="alive")
    while (await raw.read_text()).get("id") != "alive":
        pass


@pytest.mark.parametrize(
    ("query", "garbage", "code"),
    [
        ("", frame_bytes(b"{") * 21, 4502),
        ("", frame_bytes(b"", mask=False), 1002),
        ("", frame_bytes(b"\xff"), 1007),
        ("?hello=1", frame_bytes(b"{"), 4502),
        ("?hello=1", frame_bytes(b"", Opcode.PONG) * 65, 4502),
    ],
    ids=["bad frames", "not masked", "not UTF-8", "a bad hello", "pongs before the hello"],
)
async def test_what_closes_is_not_parsed_any_more(
    rig, parsed_per_turn: list[int], query, garbage, code
):
    raw = await rig.open_tcp()
    assert (await raw.upgrade(f"/ws{query}")).status == 101
    raw.send(garbage + frame_bytes(b"", Opcode.PING) * 10_000)
    read: list[int] = []
    while not read or read[-1] != Opcode.CLOSE:
        opcode, payload = await raw.read_frame()
        read.append(opcode)
    assert int.from_bytes(payload[:2], "big") == code
    assert Opcode.PONG not in read
    raw.send(frame_bytes(b"", Opcode.PING) * 10_000)
    assert await raw.read_to_end() == b"", "it hears no more than the close"
    assert sum(parsed_per_turn) <= 65


async def test_a_client_that_was_closed_on_while_it_flooded_ends_with_its_own_close(
    open_rig: OpenBridge,
):
    rig = await open_rig()
    raw, connection = await open_quiet(rig)
    raw.send(frame_bytes(b"", Opcode.PONG) * 100)
    raw.send(frame_bytes((1000).to_bytes(2, "big"), Opcode.CLOSE))
    await asyncio.sleep(0)
    drain = asyncio.create_task(rig.pool.drain(0.0, 20.0))
    await raw.read_until_close()
    await drain
    assert connection.transport.is_closing()
