"""Frames as text on an event stream: whatever producers write, a browser gets every frame whole."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.protocol import close_codes, frames
from bridge.core.protocol.cursor import TopicOffsets, encode_cursor
from bridge.core.protocol.envelope import is_valid_json
from bridge.core.protocol.event import Body, Event
from bridge.core.sessions.session import Outbox
from bridge.web.transport import sse_format
from tests.harness.event_stream_parser import EventStreamParser

CURSOR = encode_cursor({"orders": TopicOffsets(b"8 bytes.", {0: 10})})
OTHER = encode_cursor({"orders": TopicOffsets(b"8 bytes.", {0: 11})})


def with_id(blocks: bytes, cursor: str) -> bytes:
    """The blocks as a flush writes them, with `cursor` in the last one."""
    outbox = Outbox()
    outbox.append(blocks)
    outbox.insert_before_end(sse_format.encode_id(cursor), len(sse_format.BLOCK_END))
    return outbox.pop(1 << 30)


def read(*parts: bytes) -> EventStreamParser:
    stream = EventStreamParser()
    for part in parts:
        stream.feed(part)
    return stream


def frame(data: bytes, **more: Any) -> bytes:
    event = Event(5, 0, Body.UNCHECKED, data, **more)
    return frames.build_event_frame("orders", 0, event).encode(frames.TO_ALL)


blanks = st.text(" \t\r\n", max_size=4)
texts = st.text(max_size=12) | st.sampled_from(
    ["\n\ndata: forged", "\r\nid: forged", "\u2028", "\u0085", "\ufeff", "\0", ":", "event: x"]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda within: st.lists(within, max_size=3) | st.dictionaries(texts, within, max_size=3),
    max_leaves=8,
)


@st.composite
def json_with_blanks(draw: st.DrawFn) -> bytes:
    """A value as JSON, with line ends wherever the grammar lets them stand."""

    def written(value: Any) -> str:
        match value:
            case list():
                inner = ",".join(written(each) for each in value)
                text = f"[{draw(blanks)}{inner}{draw(blanks)}]"
            case dict():
                pairs = [f"{written(key)}:{written(it)}" for key, it in value.items()]
                text = f"{{{draw(blanks)}{','.join(pairs)}}}"
            case _:
                text = json.dumps(value, ensure_ascii=draw(st.booleans()))
        return f"{draw(blanks)}{text}{draw(blanks)}"

    return written(draw(values)).encode("utf-8", "surrogatepass")


@given(
    st.lists(st.one_of(json_with_blanks(), st.binary(max_size=30)), min_size=1, max_size=4),
    st.data(),
)
def test_whatever_is_in_a_record_the_frame_arrives_whole_and_alone(records, data):
    # What the bridge does not take for JSON goes out as base64; what it takes goes out as it is.
    sent = [frame(record) for record in records]
    text = with_id(b"".join(map(sse_format.encode_frame, sent)), CURSOR)
    cut = data.draw(st.integers(0, len(text)))
    stream = read(text[:cut], text[cut:])
    assert [json.loads(event.data) for event in stream.dispatched] == [*map(json.loads, sent)]
    assert {event.type for event in stream.dispatched} <= {"event"}
    assert stream.last_event_id == CURSOR
    assert stream.reconnection_ms is None


@given(json_with_blanks())
def test_nothing_but_blanks_between_tokens_is_changed(data):
    if not is_valid_json(data):
        return
    text = read(sse_format.encode_frame(frame(data))).dispatched[0].data.encode()
    assert text == frame(data).replace(b"\r", b" ").replace(b"\n", b" ")
    assert len(text) == len(frame(data))


def test_line_ends_in_a_producers_meta_break_nothing():
    sent = frame(b"1", meta=b'{\r\n"a":\n1}')
    (event,) = read(sse_format.encode_frame(sent)).dispatched
    assert json.loads(event.data)["meta"] == {"a": 1}


@pytest.mark.parametrize(
    "told",
    [
        frames.Welcome("c", "alice", "i", ["orders"], [], 25.0, None, CURSOR),
        frames.Gap("orders", "limit", CURSOR),
        frames.Live(3, CURSOR),
        frames.Heartbeat(CURSOR, stale=1.5),
        frames.RoomsChanged(["a"], [], CURSOR),
    ],
)
def test_a_frame_is_an_event_of_the_name_of_its_op(told):
    text = sse_format.encode_frame(frames.encode_frame(told))
    assert text.count(b"\n") == 3, "one line of its name, one of data, and an empty one"
    (event,) = read(text).dispatched
    assert json.loads(event.data) == json.loads(frames.encode_frame(told))
    assert (event.type, event.id) == (json.loads(event.data)["op"], "")


def test_an_id_covers_its_own_block_and_stays_until_the_next():
    stream = read(with_id(sse_format.encode_frame(frame(b"1")) * 2, CURSOR))
    assert [event.id for event in stream.dispatched] == ["", CURSOR]
    stream.feed(sse_format.encode_frame(frame(b"1")))
    assert stream.last_event_id == CURSOR
    stream.feed(with_id(sse_format.encode_frame(frame(b"1")), OTHER))
    assert stream.last_event_id == OTHER


def test_a_block_that_was_cut_off_counts_neither_as_event_nor_as_id():
    text = with_id(sse_format.encode_frame(frame(b"1")), CURSOR)
    text += with_id(sse_format.encode_frame(frame(b"2")), OTHER)
    stream = read(text[:-1])
    assert (len(stream.dispatched), stream.last_event_id) == (1, CURSOR)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.integers(1, 100))
def test_no_block_is_without_data_however_the_outbox_is_emptied(sizes, max_bytes):
    outbox = Outbox()
    outbox.append(sse_format.encode_retry(5.0))
    for size in sizes:
        outbox.append(sse_format.encode_frame(frame(b"1" * size)))
        outbox.insert_before_end(sse_format.encode_id(CURSOR), len(sse_format.BLOCK_END))
    pieces = []
    while outbox.pending_bytes:
        pieces.append(outbox.pop(max_bytes))
    assert all(piece.endswith(b"\n\n") for piece in pieces if not piece.startswith(b"retry"))
    text = b"".join(pieces)
    assert text.startswith(b"retry: 5000\nevent: event\ndata: ")
    blocks = text.split(b"\n\n")
    assert blocks.pop() == b""
    assert len(blocks) == len(sizes)
    assert all(
        b"\ndata: " in block and block.endswith(b"\nid: " + CURSOR.encode()) for block in blocks
    )


def test_the_time_to_come_back_is_told_in_milliseconds():
    block = sse_format.encode_frame(frame(b"1"))
    stream = read(sse_format.encode_retry(1.2345) + block)
    assert (stream.reconnection_ms, len(stream.dispatched)) == (1234, 1)
    assert read(sse_format.encode_retry(0.0) + block).reconnection_ms == 0


def test_a_comment_is_nothing_to_a_page():
    stream = read(sse_format.COMMENT, sse_format.encode_frame(frame(b"1")))
    assert (len(stream.comments), len(stream.dispatched)) == (1, 1)


@pytest.mark.parametrize("why", close_codes.CLOSE_CODES)
def test_in_the_block_of_a_closing_stands_what_its_code_advises(why):
    told = frames.Closing(why.code, why.reason, why.should_reconnect, 2.5, CURSOR)
    block = sse_format.encode_frame(frames.encode_frame(told))
    assert block.index(b"\n\n") == len(block) - 2, "one block"
    stream = read(block)
    assert json.loads(stream.dispatched[0].data)["cursor"] == CURSOR
    if why.should_reconnect:
        assert (stream.last_event_id, stream.reconnection_ms) == (CURSOR, 2500)
    else:
        assert (stream.last_event_id, stream.reconnection_ms) == (f"final:{why.code}", 0)
        assert stream.last_event_id.startswith(sse_format.FINAL_ID_PREFIX)


def test_a_closing_without_a_cursor_leaves_the_one_before():
    stream = read(with_id(sse_format.encode_frame(frame(b"1")), CURSOR))
    told = frames.Closing(4005, "expired", reconnect=True, retry_after=0.0, cursor=None)
    stream.feed(sse_format.encode_frame(frames.encode_frame(told)))
    assert stream.last_event_id == CURSOR
