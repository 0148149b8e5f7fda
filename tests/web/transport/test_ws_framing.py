"""WebSocket's frames: any bytes give messages or a violation, however they are cut up."""

from __future__ import annotations

import sys
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.uri import parse_uri

from bridge.web.transport import ws_framing
from bridge.web.transport.ws_framing import (
    FRAGMENT,
    FrameParser,
    ProtocolViolation,
    WebSocketMessage,
    parse_close_code,
)
from tests.web.raw_connection import frame_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable

LIMIT = 300
MASK = b"mask"


def read(data: bytes, cuts: Iterable[int] = (), limit: int = LIMIT) -> list[WebSocketMessage]:
    """Feed `data`, cut at these places; return the whole messages."""
    inbound = FrameParser(limit)
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    messages = []
    for start, end in pairwise(places):
        inbound.feed(data[start:end])
        messages += pop_all(inbound)
    return [message for message in messages if message is not FRAGMENT]


def pop_all(inbound: FrameParser) -> list[WebSocketMessage]:
    """Parse all whole frames that were fed."""
    return list(iter(inbound.pop, None))


def violation(data: bytes, limit: int = LIMIT) -> int:
    with pytest.raises(ProtocolViolation) as caught:
        read(data, limit=limit)
    assert caught.value.reason
    return caught.value.code


def read_or_code(data: bytes, cuts: Iterable[int] = ()) -> list[WebSocketMessage] | int:
    try:
        return read(data, cuts)
    except ProtocolViolation as broken:
        return broken.code


cuts = st.lists(st.integers(0, 10_000), max_size=12)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60).map(str.encode)
controls = st.builds(
    lambda opcode, payload: (WebSocketMessage(opcode, payload), frame_bytes(payload, opcode)),
    st.sampled_from([Opcode.PING, Opcode.PONG, Opcode.CLOSE]),
    st.binary(max_size=125),
)


@st.composite
def messages(draw: st.DrawFn) -> list[tuple[WebSocketMessage, bytes]]:
    """One message in any number of fragments, with control frames in between, in their order."""
    opcode = draw(st.sampled_from([Opcode.TEXT, Opcode.BINARY]))
    payload = draw(texts if opcode is Opcode.TEXT else st.binary(max_size=200))
    ends = sorted(draw(st.lists(st.integers(0, len(payload)), max_size=4)))
    pieces = [
        payload[start:end] for start, end in zip([0, *ends], [*ends, len(payload)], strict=True)
    ]
    sent: list[tuple[WebSocketMessage, bytes]] = []
    unfinished = b""
    for number, piece in enumerate(pieces):
        is_last = number == len(pieces) - 1
        unfinished += frame_bytes(piece, Opcode.CONT if number else opcode, fin=is_last)
        if is_last:
            sent.append((WebSocketMessage(opcode, payload), unfinished))
        else:
            for message, data in draw(st.lists(controls, max_size=2)):
                sent.append((message, unfinished + data))
                unfinished = b""
    return sent


streams = st.lists(st.one_of(messages(), controls.map(lambda one: [one])), max_size=5)


@given(streams, cuts)
def test_any_split_of_a_valid_stream_gives_the_same_messages(stream, places):
    parts = [part for each in stream for part in each]
    data = b"".join(sent for _, sent in parts)
    assert read(data, places) == [message for message, _ in parts]


@given(st.lists(st.one_of(st.binary(max_size=20), texts.map(frame_bytes)), max_size=6), cuts)
def test_any_bytes_give_messages_or_a_violation(pieces, places):
    verdict = read_or_code(b"".join(pieces), places)
    assert isinstance(verdict, list) or verdict in {1002, 1007, 4502}


@given(st.binary(max_size=60), cuts)
def test_how_a_stream_is_cut_up_does_not_change_whether_it_is_a_violation(data, places):
    assert read_or_code(data, places) == read_or_code(data)


@given(st.binary(max_size=70_000), st.sampled_from([ws_framing.TEXT, ws_framing.BINARY]))
def test_what_the_bridge_sends_is_read_back_by_websockets(payload, opcode):
    client = ClientProtocol(parse_uri("ws://bridge/ws"), state=OPEN, max_size=None)
    client.receive_data(ws_framing.encode_frame(opcode, payload))
    (received,) = client.events_received()
    assert received == Frame(Opcode(opcode), payload, fin=True)


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_every_width_of_length_is_written_and_read(size):
    assert read(frame_bytes(b"x" * size), limit=size) == [
        WebSocketMessage(ws_framing.TEXT, b"x" * size)
    ]
    assert ws_framing.encode_text(b"x" * size) == frame_bytes(b"x" * size, mask=False)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(frame_bytes(b"a", mask=False), id="not masked"),
        pytest.param(bytes([0xC1, 0x80]) + MASK, id="rsv1, as of a compressed message"),
        pytest.param(bytes([0xA1, 0x80]) + MASK, id="rsv2"),
        pytest.param(bytes([0x91, 0x80]) + MASK, id="rsv3"),
        pytest.param(bytes([0x83, 0x80]) + MASK, id="a reserved data opcode"),
        pytest.param(bytes([0x8B, 0x80]) + MASK, id="a reserved control opcode"),
        pytest.param(frame_bytes(b"", Opcode.CONT), id="a continuation of nothing"),
        pytest.param(
            frame_bytes(b"a", fin=False) + frame_bytes(b"b"), id="a message inside a message"
        ),
        pytest.param(bytes([0x09, 0x80]) + MASK, id="a fragmented ping"),
        pytest.param(bytes([0x89, 0xFE, 0, 126]) + MASK + bytes(126), id="a ping of 126 bytes"),
        pytest.param(bytes([0x81, 0xFE, 0, 1]) + MASK + b"a", id="a length longer than needed"),
        pytest.param(
            bytes([0x81, 0xFF]) + (126).to_bytes(8, "big") + MASK + bytes(126),
            id="a length much longer than needed",
        ),
    ],
)
def test_what_breaks_websocket_is_1002(data):
    assert violation(data) == 1002


@pytest.mark.parametrize(
    "parts",
    [
        [frame_bytes(b"\xff")],
        [frame_bytes("é".encode()[:1])],
        [frame_bytes(b"a", fin=False), frame_bytes(b"\xc0\xaf", Opcode.CONT)],
        [frame_bytes(b"\xed\xa0\x80")],
    ],
    ids=["not utf-8", "cut short", "in a fragment", "a surrogate"],
)
def test_a_text_that_is_not_utf8_is_1007(parts):
    assert violation(b"".join(parts)) == 1007


def test_a_character_may_be_split_between_fragments():
    start, end = "é".encode()[:1], "é".encode()[1:]
    data = frame_bytes(start, fin=False) + frame_bytes(end, Opcode.CONT)
    assert read(data) == [WebSocketMessage(ws_framing.TEXT, "é".encode())]


def test_bytes_that_are_not_utf8_are_no_violation_in_a_binary_message():
    assert read(frame_bytes(b"\xff", Opcode.BINARY)) == [
        WebSocketMessage(ws_framing.BINARY, b"\xff")
    ]


def test_a_frame_over_the_limit_is_4502_before_its_payload_has_come():
    assert violation(frame_bytes(b"x" * (LIMIT + 1))[:8]) == 4502
    assert violation(bytes([0x81, 0xFF]) + b"\xff" * 8) == 4502


def test_fragments_over_the_limit_together_are_4502():
    whole = frame_bytes(b"x" * LIMIT, fin=False)
    assert read(whole) == []
    assert violation(whole + frame_bytes(b"x", Opcode.CONT)) == 4502


def test_the_limit_is_of_one_message_and_not_of_the_stream():
    assert len(read(frame_bytes(b"x" * LIMIT) * 5)) == 5
    in_two = frame_bytes(b"x" * 200, fin=False) + frame_bytes(b"x" * 100, Opcode.CONT)
    assert len(read(in_two * 5)) == 5


def test_control_frames_do_not_count_towards_the_limit():
    assert len(read(frame_bytes(b"x" * 125, Opcode.PING) * 5, limit=125)) == 5


@pytest.mark.parametrize("payload", [b"", b"z"], ids=["empty", "of one byte"])
def test_fragments_without_end_cost_bounded_memory(payload):
    inbound = FrameParser(1 << 16)
    inbound.feed(frame_bytes(b"a", fin=False))
    for _ in range(100):
        inbound.feed(frame_bytes(payload, Opcode.CONT, fin=False) * 100)
        assert pop_all(inbound)
    assert sum(map(sys.getsizeof, (inbound._buffer, inbound._fragments))) < 16_384
    inbound.feed(frame_bytes(b"!", Opcode.CONT))
    assert pop_all(inbound) == [WebSocketMessage(ws_framing.TEXT, b"a" + payload * 10_000 + b"!")]


def test_a_frame_is_parsed_when_it_is_wanted_and_each_fragment_is_one():
    inbound = FrameParser(LIMIT)
    inbound.feed(frame_bytes(b"a") + frame_bytes(b"b", fin=False) + b"garbage after it" * 20)
    assert inbound.pop() == WebSocketMessage(ws_framing.TEXT, b"a")
    assert inbound.pop() is FRAGMENT
    assert inbound.has_bytes
    with pytest.raises(ProtocolViolation):
        inbound.pop()


@pytest.mark.parametrize(
    ("payload", "code"), [(b"", 1005), (b"\x03\xe8", 1000), (b"\x0f\xa1bye", 4001)]
)
def test_a_close_frame_has_a_code_or_none(payload, code):
    assert parse_close_code(payload) == code


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535])
def test_a_close_code_that_nobody_may_send_is_1002(code):
    with pytest.raises(ProtocolViolation) as caught:
        parse_close_code(code.to_bytes(2, "big"))
    assert caught.value.code == 1002


def test_a_close_frame_of_one_byte_is_1002_and_one_with_garbled_text_1007():
    with pytest.raises(ProtocolViolation) as caught:
        parse_close_code(b"\x03")
    assert caught.value.code == 1002
    with pytest.raises(ProtocolViolation) as caught:
        parse_close_code(b"\x03\xe8\xff")
    assert caught.value.code == 1007


@given(st.binary(max_size=130))
def test_any_close_payload_gives_a_code_or_a_violation(payload):
    try:
        code = parse_close_code(payload)
    except ProtocolViolation as broken:
        code = broken.code
    assert 1000 <= code <= 4999


@example(4502, "é" * 100)
@given(st.integers(4000, 4999), st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
def test_a_close_frame_of_ours_is_valid_whatever_its_reason(code, reason):
    client = ClientProtocol(parse_uri("ws://bridge/ws"), state=OPEN)
    client.receive_data(ws_framing.encode_close(code, reason))
    assert client.close_rcvd is not None, client.parser_exc
    assert client.close_rcvd.code == code
    assert reason.startswith(client.close_rcvd.reason)
    assert client.close_rcvd.reason or not reason
