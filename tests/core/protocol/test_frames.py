"""Contract 3.2: frames, as they are written and as they are read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from msgspec import UNSET

from bridge.core.protocol import frames
from bridge.core.protocol.frames import (
    BadFrame,
    HeartbeatRequest,
    Hello,
    Subscribe,
    TokenUpdate,
    Unsubscribe,
)
from tests.core.frame_shape import read_members
from tests.core.strategies import client_frames, hellos

# -- from the server -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "text"),
    [
        (
            frames.Welcome("c1", "ann", "i1", ["orders"], ["r"], 25.0, "2026-11-21T09:00:00Z", "C"),
            (
                '{"op":"welcome","connection":"c1","account":"ann","instance":"i1","topics":["orders"],'
                '"rooms":["r"],"heartbeat":25.0,"expires":"2026-11-21T09:00:00Z","cursor":"C"}'
            ),
        ),
        (
            frames.Welcome("c1", None, "i1", [], [], 0.5, None, "C"),
            (
                '{"op":"welcome","connection":"c1","account":null,"instance":"i1","topics":[],'
                '"rooms":[],"heartbeat":0.5,"expires":null,"cursor":"C"}'
            ),
        ),
        (
            frames.Gap("orders", "expired", "C"),
            '{"op":"gap","topic":"orders","reason":"expired","cursor":"C"}',
        ),
        (frames.Live(3, "C"), '{"op":"live","replayed":3,"cursor":"C"}'),
        (frames.Heartbeat("C"), '{"op":"heartbeat","cursor":"C"}'),
        (
            frames.Heartbeat("C", "x", 1.5),
            '{"op":"heartbeat","cursor":"C","id":"x","stale":1.5}',
        ),
        (
            frames.RoomsChanged(["r"], ["s"], "C"),
            '{"op":"rooms","joined":["r"],"left":["s"],"cursor":"C"}',
        ),
        (
            frames.OkReply(["orders"], ["r"], "C", id=5),
            '{"op":"reply","topics":["orders"],"rooms":["r"],"cursor":"C","ok":true,"id":5}',
        ),
        (
            frames.OkReply([], [], "C"),
            '{"op":"reply","topics":[],"rooms":[],"cursor":"C","ok":true}',
        ),
        (
            frames.ErrorReply("forbidden", "why", id="x"),
            '{"op":"reply","error":"forbidden","reason":"why","ok":false,"id":"x"}',
        ),
        (
            frames.ErrorReply("bad_frame", 'a "quote"'),
            '{"op":"reply","error":"bad_frame","reason":"a \\"quote\\"","ok":false}',
        ),
        (
            frames.Closing(4001, "draining", True, 2.5, "C"),
            (
                '{"op":"closing","code":4001,"reason":"draining","reconnect":true,"retry_after":2.5,'
                '"cursor":"C"}'
            ),
        ),
    ],
)
def test_a_frame_has_exactly_the_fields_of_the_contract(
    frame: frames.ServerFrame, text: str
) -> None:
    assert frames.encode_frame(frame) == text.encode()


# -- from the client -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "frame"),
    [
        (
            b'{"op":"subscribe","topics":["orders"],"rooms":["r"],"id":"x"}',
            Subscribe(["orders"], ["r"], "x"),
        ),
        (b'{"op":"subscribe"}', Subscribe([], [])),
        (b' {"id":-7,"rooms":["r"],"op":"unsubscribe"} ', Unsubscribe([], ["r"], -7)),
        (b'{"op":"heartbeat"}', HeartbeatRequest()),
        (b'{"op":"heartbeat","id":36893488147419103232}', HeartbeatRequest(2**65)),
        (b'{"op":"token","token":"t","id":""}', TokenUpdate("t", "")),
    ],
)
def test_each_frame_that_a_client_may_send_is_read(text: bytes, frame: frames.ClientFrame) -> None:
    assert frames.decode_frame(text) == frame


def test_two_frames_do_not_share_their_lists() -> None:
    first, second = (
        frames.decode_frame(b'{"op":"subscribe"}'),
        frames.decode_frame(b'{"op":"subscribe"}'),
    )
    assert isinstance(first, Subscribe)
    assert isinstance(second, Subscribe)
    assert first.topics is not second.topics


@pytest.mark.parametrize(
    "text",
    [
        *(
            b"",
            b"[]",
            b"1",
            b"null",
            b"hello",
            b'{"op":"heartbeat"',
            b'{"op":"heartbeat"}{}',
            b"\xff",
        ),
        *(
            b"{}",
            b'{"op":null}',
            b'{"op":1}',
            b'{"op":"welcome"}',
            b'{"op":"hello"}',
            b'{"op":"x"}',
        ),
        *(b'{"op":"heartbeat","stale":1}', b'{"op":"subscribe","types":["a"]}', b'{"op":"token"}'),
        *(b'{"op":"subscribe","topics":"orders"}', b'{"op":"subscribe","rooms":[1]}'),
        *(b'{"op":"subscribe","topics":null}', b'{"op":"heartbeat","id":null}'),
        *(b'{"op":"heartbeat","id":1.5}', b'{"op":"heartbeat","id":true}', b"[" * 65_536),
        *(b'{"op":"subscribe","rooms":["\xff"]}', b'{"op":"subscribe","rooms":["\\ud800"]}'),
    ],
)
def test_an_unknown_op_or_field_or_what_is_no_object_is_a_bad_frame(text: bytes) -> None:
    with pytest.raises(BadFrame, match=r"^not a frame that a client may send: ."):
        frames.decode_frame(text)


@pytest.mark.parametrize(
    ("text", "id"),
    [
        (b'{"op":"nope","id":"x"}', "x"),
        (b'{"id":7,"op":"subscribe","types":[]}', 7),
        (b'{"id":7}', 7),
        (b'{"op":"subscribe","topics":1,"id":-1}', -1),
        (b'{"op":"nope"}', UNSET),
        (b'{"op":"nope","id":[]}', UNSET),
        (b'{"op":"nope","id":1', UNSET),
        (b"[" * 65_536, UNSET),
    ],
)
def test_a_bad_frame_keeps_its_id_as_far_as_it_can_be_read(
    text: bytes, id: frames.RequestId
) -> None:
    with pytest.raises(BadFrame) as caught:
        frames.decode_frame(text)
    assert caught.value.request_id == id


@given(client_frames)
def test_any_bytes_are_a_frame_or_bad_and_can_be_answered(text: bytes) -> None:
    try:
        answer: frames.ServerFrame = frames.Heartbeat("C", frames.decode_frame(text).id)
    except BadFrame as bad:
        answer = frames.ErrorReply("bad_frame", str(bad), id=bad.request_id)
    answered = dict(read_members(frames.encode_frame(answer)))
    if "id" in answered:
        sent = json.loads(text)["id"]
        assert answered["id"] in {sent, str(sent)}


# -- the first frame -------------------------------------------------------------------------------


def test_a_hello_says_all_that_the_url_could() -> None:
    said: dict[str, Any] = {
        "topics": ["orders"],
        "rooms": ["r"],
        "types": ["order.*"],
        "cursor": "C",
        "since": "2026-11-21T09:00:00Z",
        "token": "t",
        "account": "ann",
    }
    assert frames.decode_hello(json.dumps({"op": "hello", **said}).encode()) == Hello(**said)


def test_an_empty_list_means_none_and_an_absent_one_does_not() -> None:
    assert frames.decode_hello(b'{"op":"hello","topics":[],"rooms":[],"types":[]}') == Hello(
        [], [], []
    )
    assert frames.decode_hello(b'{"op":"hello"}') == Hello(None, None, None)
    assert frames.decode_hello(b'{"op":"hello","topics":null}') == Hello(None)


@pytest.mark.parametrize(
    "text",
    [
        *(
            b"",
            b"{}",
            b'{"token":"t"}',
            b"[]",
            b'{"op":"heartbeat"}',
            b'{"op":"subscribe"}',
            b"\xff",
        ),
        *(
            b'{"op":"hello","topics":"orders"}',
            b'{"op":"hello","id":1}',
            b'{"op":"hello","rooms":[1]}',
        ),
        *(b'{"op":"hello","token":1}', b'{"op":"hello"', b'{"op":"hello"}{}', b"[" * 65_536),
    ],
)
def test_what_is_no_hello_is_a_bad_frame(text: bytes) -> None:
    with pytest.raises(BadFrame, match=r"^not a hello"):
        frames.decode_hello(text)


@given(hellos)
def test_any_bytes_are_a_hello_or_a_bad_frame(text: bytes) -> None:
    try:
        hello = frames.decode_hello(text)
    except BadFrame:
        return
    fields = {name: getattr(hello, name) for name in Hello.__struct_fields__}
    assert {**dict.fromkeys(fields), **json.loads(text)} == {"op": "hello", **fields}
