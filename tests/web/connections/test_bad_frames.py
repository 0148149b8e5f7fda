"""Frames that break the contract: answered, counted, and too many or too large ones closed on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.web.raw_connection import frame_bytes

if TYPE_CHECKING:
    from tests.web.conftest import OpenBridge
    from tests.web.in_process_bridge import InProcessBridge

BAD = [
    "",
    "not JSON",
    "7",
    "null",
    "[]",
    "{}",
    '{"op":"subscribe"',
    '{"op":"publish","topic":"orders"}',
    '{"op":"hello"}',
    '{"op":7}',
    '{"rooms":["r"]}',
    '{"op":"subscribe","rooms":"r"}',
    '{"op":"subscribe","rooms":[1]}',
    '{"op":"subscribe","rooms":null}',
    '{"op":"subscribe","romms":["r"]}',
    '{"op":"subscribe","id":[]}',
    '{"op":"subscribe","id":1.5}',
    '{"op":"subscribe","rooms":["a*"]}',
    '{"op":"subscribe","topics":["a,b"]}',
    '{"op":"heartbeat","cursor":"x"}',
    '{"op":"token"}',
    '{"op":"token","token":7}',
    b'{"op":"heartbeat"}',
    "[" * 60_000,
]


@pytest.mark.parametrize("frame", BAD, ids=lambda frame: str(frame)[:40])
async def test_a_bad_frame_is_answered_and_the_connection_lives_on(rig, frame):
    client = await rig.connect_welcomed()
    await client.connection.send(frame)
    reply = await client.expect("reply")
    assert reply.pop("reason")
    assert reply == {"op": "reply", "ok": False, "error": "bad_frame"}
    await client.check_responsive()


async def test_a_bad_frame_is_answered_with_its_id(rig):
    client = await rig.connect_welcomed()
    for id in ("abc", 7):
        reply = await client.request("dance", id=id)
        assert (reply["error"], reply["id"]) == ("bad_frame", id)


async def bad_frames_until_the_end(rig: InProcessBridge, frame: str | bytes) -> int:
    client = await rig.connect_welcomed()
    for _ in range(20):
        await client.connection.send(frame)
        assert (await client.expect("reply"))["error"] == "bad_frame"
    await client.check_responsive()
    await client.connection.send(frame)
    end = await client.wait_closed()
    assert [each["op"] for each in end.frames] == ["reply", "closing"]
    assert end.closing_frame["reconnect"] is False
    return end.code


async def test_more_than_20_bad_frames_in_a_minute_close_with_4502(rig):
    assert await bad_frames_until_the_end(rig, "not JSON") == 4502
    assert await bad_frames_until_the_end(rig, b"binary") == 4502


async def test_refusals_that_are_no_bad_frames_do_not_count_towards_4502(rig):
    client = await rig.connect_welcomed()
    for _ in range(30):
        assert (await client.request("subscribe", topics=["no-such-topic"]))["error"] == "forbidden"
    await client.check_responsive()


async def test_nothing_follows_closing_however_much_a_client_says(rig):
    raw = await rig.open_websocket()
    raw.send(frame_bytes(b"binary", 0x2) * 50 + frame_bytes(b'{"op":"heartbeat"}') * 50)
    for _ in range(21):
        assert (await raw.json())["error"] == "bad_frame"
    assert (await raw.json())["op"] == "closing"
    assert (await raw.read_frame())[0] == 0x8
    raw.send(frame_bytes(b"", 0x8))
    assert await raw.read_to_end() == b""


async def test_a_frame_over_the_limit_closes_with_4502(open_rig: OpenBridge):
    rig = await open_rig(max_frame_bytes=200)
    client, neighbour = await rig.connect_welcomed(), await rig.connect_welcomed()
    await client.send("heartbeat", id="x" * 100)
    await client.expect("heartbeat")
    await client.send("heartbeat", id="x" * 200)
    end = await client.wait_closed()
    assert (end.code, end.closing_frame["code"], end.closing_frame["reconnect"]) == (
        4502,
        4502,
        False,
    )
    assert "BRIDGE_LIMITS__FRAME_BYTES" in end.reason
    await neighbour.check_responsive()


async def test_a_hello_over_the_limit_closes_with_4502(open_rig: OpenBridge):
    rig = await open_rig(max_frame_bytes=200)
    client = await rig.connect("hello=1")
    await client.send("hello", rooms=["x" * 200])
    assert (await client.wait_closed()).code == 4502


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame_bytes(b"{}", mask=False), 1002),
        (bytes([0xC1, 0x80]) + b"mask", 1002),
        (frame_bytes(b"", 0x0), 1002),
        (frame_bytes(b"\xff"), 1007),
        (frame_bytes(b"\x03", 0x8), 1002),
        (frame_bytes(b"\x03\xed", 0x8), 1002),
    ],
    ids=["unmasked", "reserved bit", "lone continuation", "not utf-8", "half a code", "code 1005"],
)
async def test_what_breaks_websocket_closes_with_its_own_code(rig, data, code):
    raw = await rig.open_websocket()
    raw.send(data)
    closed, closing = await raw.read_until_close()
    assert closed == code
    assert closing is not None
    assert (closing["op"], closing["code"]) == ("closing", code)


async def test_a_fragmented_frame_with_a_ping_inside_is_one_frame(rig):
    raw = await rig.open_websocket()
    raw.send(frame_bytes(b'{"op":"heart', fin=False))
    raw.send(frame_bytes(b"inside", 0x9))
    assert await raw.read_frame() == (0xA, b"inside")
    raw.send(frame_bytes(b'beat","id":', 0x0, fin=False) + frame_bytes(b"7}", 0x0))
    assert (await raw.json())["id"] == 7


async def test_a_frame_that_comes_byte_by_byte_is_one_frame(rig):
    raw = await rig.open_websocket()
    for byte in frame_bytes(b'{"op":"heartbeat","id":7}'):
        raw.send(bytes((byte,)))
        await raw.drain()
    assert (await raw.json())["id"] == 7


@pytest.mark.parametrize("payload", [b"", b"\x03\xe8", b"\x0f\xa1bye"])
async def test_a_close_by_the_client_is_answered_with_its_own_code(rig, payload):
    raw = await rig.open_websocket()
    raw.send(frame_bytes(payload, 0x8) + frame_bytes(b'{"op":"heartbeat"}'))
    assert await raw.read_frame() == (0x8, payload[:2])
    assert await raw.read_to_end() == b""
