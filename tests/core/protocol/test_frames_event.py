"""Contract 3.2: the `event` frame, into which a producer's bytes are spliced and break nothing."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.protocol.event import Body, Event
from bridge.core.protocol.frames import (
    TO_ACCOUNT,
    TO_ALL,
    TO_CONNECTION,
    build_event_frame,
    to_for_room,
)
from tests.core.factories import TIMESTAMP_TEXT, event
from tests.core.frame_shape import check_event_frame
from tests.core.strategies import TRACEPARENT, json_texts, texts


def frame(of: Event, to: str = TO_ALL) -> bytes:
    return build_event_frame("orders", 3, of).encode(to)


def test_a_full_event_has_every_field_in_order() -> None:
    full = event(
        1842,
        b'{"order": 42}',
        id="o-1842",
        type="order.shipped",
        time="2026-11-21T09:00:00Z",
        tag="3",
        meta=b'{"trace": "4bf9"}',
        traceparent=TRACEPARENT,
        accounts=["ann", "mallory"],
    )
    assert frame(full, TO_ACCOUNT) == (
        b'{"op":"event","topic":"orders","at":"orders:3:1842","to":"account","id":"o-1842",'
        b'"type":"order.shipped","time":"2026-11-21T09:00:00Z","tag":"3",'
        b'"meta":{"trace": "4bf9"},'
        b'"traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",'
        b'"data":{"order": 42}}'
    )


def test_what_the_producer_left_out_has_the_contracts_defaults() -> None:
    assert frame(event(5)) == (
        b'{"op":"event","topic":"orders","at":"orders:3:5","to":"all","id":"orders:3:5",'
        b'"type":"event","time":"' + TIMESTAMP_TEXT.encode() + b'","data":null}'
    )


def test_an_empty_id_type_or_tag_is_not_absent() -> None:
    fields = check_event_frame(frame(event(5, id="", type="", tag="")))
    assert (fields["id"], fields["type"], fields["tag"]) == ("", "", "")


@pytest.mark.parametrize(
    ("to", "told"),
    [
        (TO_CONNECTION, "connection"),
        (TO_ACCOUNT, "account"),
        (to_for_room("order:42"), "room:order:42"),
        (to_for_room('a"b\\'), 'room:a"b\\'),
        (TO_ALL, "all"),
    ],
)
def test_to_says_why_you_got_it(to: str, told: str) -> None:
    assert check_event_frame(frame(event(), to))["to"] == told


def test_to_never_says_who_else_did() -> None:
    made = event(0, accounts=["mallory"], rooms=["secret"], connections=["c9"], all=True)
    text = frame(made, TO_CONNECTION).decode()
    assert not any(word in text for word in ("mallory", "secret", "c9", "all"))


@given(json_texts)
def test_data_goes_out_as_it_was_written(text: str) -> None:
    for body in (Body.JSON, Body.UNCHECKED):
        made = frame(event(0, text.encode(), body=body))
        check_event_frame(made)
        assert made.endswith(b',"data":' + text.encode() + b"}")


@given(st.binary(max_size=30))
def test_bytes_that_are_no_json_go_out_as_base64_and_come_back_whole(data: bytes) -> None:
    fields = check_event_frame(frame(event(0, data, body=Body.UNCHECKED)))
    assert ("data" in fields) != ("data_base64" in fields)
    if "data_base64" in fields:
        assert b64decode(fields["data_base64"], validate=True) == data


@pytest.mark.parametrize(
    "data", [b"", b'1,"op":"closing"', b'null}\n{"op":"closing"', b'"\xff"', b"{", b"NaN"]
)
def test_no_value_can_forge_a_frame(data: bytes) -> None:
    fields = check_event_frame(frame(event(0, data, body=Body.UNCHECKED)))
    assert b64decode(fields["data_base64"]) == data


def test_a_value_is_looked_at_once() -> None:
    made = event(0, b"\xff", body=Body.UNCHECKED)
    first = frame(made)
    assert (made.body, made.data) == (Body.BASE64, b"/w==")
    assert frame(made) == first
    good = event(0, b"{}", body=Body.UNCHECKED)
    frame(good)
    assert good.body is Body.JSON


def test_a_tombstone_says_deleted_and_has_no_data() -> None:
    fields = check_event_frame(frame(event(0, b"", body=Body.DELETED)))
    assert fields["deleted"] is True


@given(id=texts, type=texts, tag=texts, room=texts)
def test_no_text_of_a_producer_can_forge_a_frame(id: str, type: str, tag: str, room: str) -> None:
    fields: dict[str, Any] = check_event_frame(
        frame(event(0, id=id, type=type, tag=tag), to_for_room(room))
    )
    assert (fields["id"], fields["type"], fields["tag"]) == (id, type, tag)
    assert fields["to"] == f"room:{room}"
