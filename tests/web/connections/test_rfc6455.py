"""RFC 6455, case by case: the bridge answers as `websockets` does to the same bytes."""

from __future__ import annotations

import asyncio

import pytest
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from tests.web.raw_connection import RawConnection, frame_bytes

CONT, TEXT, BINARY, CLOSE = Opcode.CONT, Opcode.TEXT, Opcode.BINARY, Opcode.CLOSE
PING, PONG = Opcode.PING, Opcode.PONG
MASK = b"mask"
BYE = frame_bytes((1000).to_bytes(2, "big"), CLOSE)


def close_bytes(code: int, reason: bytes = b"") -> bytes:
    return frame_bytes(code.to_bytes(2, "big") + reason, CLOSE)


def fragments(*payloads: bytes, opcode: int = TEXT, between: bytes = b"") -> bytes:
    last = len(payloads) - 1
    return between.join(
        frame_bytes(payload, CONT if number else opcode, fin=number == last)
        for number, payload in enumerate(payloads)
    )


VALID_CODES = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999]
INVALID_CODES = [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535]
PINGS = b"".join(frame_bytes(bytes([65 + n]), PING) for n in range(10))
CASES = {
    **{f"ping of {n} bytes": frame_bytes(b"p" * n, PING) + BYE for n in (0, 1, 124, 125)},
    "ping with any bytes": frame_bytes(b"\x00\xff\xfe", PING) + BYE,
    "ping of 126 bytes": bytes([0x89, 0xFE, 0, 126]) + MASK + bytes(126),
    "ten pings": PINGS + BYE,
    "pong unasked": frame_bytes(b"x", PONG) + frame_bytes(b"a", PING) + BYE,
    **{
        f"reserved bits {bits:#x}": bytes([0x81 | bits, 0x80]) + MASK
        for bits in range(0x10, 0x80, 0x10)
    },
    **{
        f"reserved opcode {opcode}": bytes([0x80 | opcode, 0x80]) + MASK
        for opcode in (*range(3, 8), *range(11, 16))
    },
    "text in fragments": fragments(b"a", b"", b"b") + BYE,
    "binary in fragments": fragments(b"\xff", b"\xfe", opcode=BINARY) + BYE,
    "ping between fragments": fragments(b"a", b"b", between=frame_bytes(b"p", PING)) + BYE,
    "pings between fragments": fragments(b"a", b"b", b"c", between=PINGS[:14]) + BYE,
    "ping in fragments": bytes([0x09, 0x80]) + MASK + frame_bytes(b"b", CONT),
    "pong in fragments": bytes([0x0A, 0x80]) + MASK + frame_bytes(b"b", CONT),
    "continuation of nothing": frame_bytes(b"a", CONT),
    "last continuation of nothing": frame_bytes(b"a", CONT, fin=False),
    "text inside of a text": frame_bytes(b"a", fin=False) + frame_bytes(b"b"),
    "binary inside of a text": frame_bytes(b"a", fin=False) + frame_bytes(b"b", BINARY),
    "continuation after the end": fragments(b"a", b"b") + frame_bytes(b"c", CONT),
    "not masked": frame_bytes(b"a", mask=False),
    "UTF-8 split between fragments": fragments("é".encode()[:1], "é".encode()[1:]) + BYE,
    "not UTF-8": frame_bytes(b"\xce\xba\xed\xa0\x80"),
    "not UTF-8 in the last fragment": fragments("κ".encode(), b"\xff"),
    "UTF-8 cut short": frame_bytes("κ".encode()[:1]),
    "overlong UTF-8": frame_bytes(b"\xc0\xaf"),
    "beyond Unicode": frame_bytes(b"\xf4\x90\x80\x80"),
    "a noncharacter": frame_bytes("\uffff".encode()) + BYE,
    "close without a code": frame_bytes(b"", CLOSE),
    "close of a byte": frame_bytes(b"\x03", CLOSE),
    "close with a reason of 123 bytes": close_bytes(1000, b"r" * 123),
    "close of 126 bytes": bytes([0x88, 0xFE, 0, 126]) + MASK + bytes(126),
    "close with a reason that is no UTF-8": close_bytes(1000, b"\xff"),
    "ping after the close": BYE + frame_bytes(b"late", PING),
    "text after the close": BYE + frame_bytes(b"late"),
    "two closes": BYE + BYE,
    **{f"close {code}": close_bytes(code) for code in (*VALID_CODES, *INVALID_CODES)},
}


def reference_answer(data: bytes) -> list[bytes]:
    """The pongs, and the code of the close, that `websockets` answers."""
    server = ServerProtocol(state=OPEN)
    server.receive_data(data)
    opcode, message = TEXT, b""
    for event in server.events_received():  # its connections decode texts themselves
        assert isinstance(event, Frame)
        if event.opcode in {TEXT, BINARY, CONT}:
            opcode = opcode if event.opcode is CONT else event.opcode
            message = message * (event.opcode is CONT) + bytes(event.data)
            if event.fin and opcode is TEXT:
                try:
                    message.decode()
                except UnicodeDecodeError:
                    server.fail(CloseCode.INVALID_DATA)
    answers = b"".join(server.data_to_send())
    pongs = []
    while answers[0] & 0x0F == PONG:
        pongs.append(answers[2 : 2 + answers[1]])
        answers = answers[2 + answers[1] :]
    return [*pongs, answers[2:4]]


async def answer(raw: RawConnection) -> list[bytes]:
    """The pongs, and the code of the close, that the bridge answers."""
    answers = []
    while True:
        opcode, payload = await raw.read_frame()
        if opcode == PONG:
            answers.append(payload)
        if opcode == CLOSE:
            return [*answers, payload[:2]]


@pytest.mark.parametrize("data", CASES.values(), ids=CASES.keys())
async def test_the_bridge_answers_as_websockets_does(rig, data):
    raw = await rig.open_websocket()
    raw.send(data)
    assert await answer(raw) == reference_answer(data)


@pytest.mark.parametrize(
    "name", ["ten pings", "pings between fragments", "not UTF-8", "close 4999"]
)
async def test_it_does_so_byte_by_byte(rig, name):
    raw = await rig.open_websocket()
    for byte in CASES[name]:
        raw.send(bytes([byte]))
        await asyncio.sleep(0)
    assert await answer(raw) == reference_answer(CASES[name])
