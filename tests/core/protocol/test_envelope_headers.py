"""Contract 2.2: the audience by headers, the value not opened."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.core.protocol.envelope import decode_record
from bridge.core.protocol.event import Body, Event
from tests.core.envelope_results import MAX_BYTES, invalid_reason, read_event
from tests.core.factories import TIMESTAMP, ConsumerRecord, record
from tests.core.strategies import TRACEPARENT

TRACED = ("traceparent", TRACEPARENT.encode())


def test_every_header_is_read_and_the_value_is_data() -> None:
    event = read_event(
        record(
            b"\xff not opened",
            ("push-accounts", b"ann, bob"),
            ("push-rooms", b"order%3A42 ,\tr%20c"),
            ("push-connections", b"c1"),
            ("push-all", b"true"),
            ("push-id", b"o-1842"),
            ("push-type", b"order.shipped"),
            ("push-time", b"2026-11-21T10:00:00+01:00"),
            ("push-tag", "é".encode()),
            ("push-meta", b'{"trace": 1.0}'),
            ("push-later", b"\xff"),
            ("traceparent", b"\xff"),
        )
    )
    assert event == Event(
        offset=7,
        timestamp=TIMESTAMP,
        body=Body.UNCHECKED,
        data=b"\xff not opened",
        connections=["c1"],
        accounts=["ann", "bob"],
        rooms=["order:42", "r c"],
        all=True,
        id="o-1842",
        type="order.shipped",
        time="2026-11-21T09:00:00Z",
        tag="é",
        meta=b'{"trace": 1.0}',
    )


@pytest.mark.parametrize(
    ("name", "value", "audience"),
    [
        ("push-accounts", b"ann", {"accounts": ["ann"]}),
        ("push-rooms", b"r", {"rooms": ["r"]}),
        ("push-connections", b"c1", {"connections": ["c1"]}),
        ("push-all", b"true", {"all": True}),
    ],
)
def test_any_audience_header_wins_over_the_envelope(
    name: str, value: bytes, audience: dict[str, Any]
) -> None:
    native = b'{"accounts": ["eve"], "rooms": ["eve"], "connections": ["eve"], "all": true}'
    event = read_event(record(native, (name, value)))
    assert event == Event(7, TIMESTAMP, Body.UNCHECKED, native, **audience)


def test_an_empty_audience_header_still_routes_and_names_nobody() -> None:
    assert decode_record(record({"all": True}, ("push-rooms", b" \t")), MAX_BYTES) is None
    assert decode_record(record({"all": True}, ("push-all", b"false")), MAX_BYTES) is None


def test_without_an_audience_header_the_others_mean_nothing() -> None:
    others = ("push-id", "push-type", "push-tag", "push-time", "push-meta")
    event = read_event(record({"all": True}, *((name, b"\xff") for name in others)))
    assert event == Event(7, TIMESTAMP, Body.JSON, b"null", all=True)


def test_a_null_header_is_absent() -> None:
    assert read_event(record({"all": True}, ("push-rooms", None))).all
    event = read_event(record(b"1", ("push-rooms", b"r"), ("push-id", None), ("push-all", None)))
    assert event == Event(7, TIMESTAMP, Body.UNCHECKED, b"1", rooms=["r"])


def test_a_header_that_is_repeated_goes_on_with_its_list() -> None:
    event = read_event(record(b"1", ("push-rooms", b"a,b"), ("push-rooms", b"c")))
    assert event.rooms == ["a", "b", "c"]


def test_a_tombstone_that_headers_address_is_an_event_that_says_deleted() -> None:
    event = read_event(record(None, ("push-accounts", b"ann"), ("push-type", b"gone")))
    assert event == Event(7, TIMESTAMP, Body.DELETED, b"", accounts=["ann"], type="gone")
    assert read_event(record(b"", ("push-accounts", b"ann"))).body is Body.UNCHECKED


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        *((f"push-{one}", b"a,,b", "bad_name") for one in ("accounts", "rooms", "connections")),
        *(
            (f"push-{one}", b"\xff", "bad_header")
            for one in ("accounts", "id", "type", "tag", "meta")
        ),
        ("push-rooms", b",", "bad_name"),
        ("push-rooms", b"a%2Cb", "bad_name"),
        ("push-rooms", b"a%0A", "bad_name"),
        ("push-rooms", b"%", "bad_header"),
        ("push-rooms", b"a%2", "bad_header"),
        ("push-rooms", b"a%zz", "bad_header"),
        ("push-rooms", b"%%41", "bad_header"),
        ("push-rooms", b"%FF", "bad_header"),
        ("push-rooms", b"*", "bad_name"),
        ("push-all", b"True", "bad_header"),
        ("push-all", b"", "bad_header"),
        ("push-time", b"soon", "bad_time"),
        ("push-meta", b"{", "bad_header"),
        ("push-meta", b"", "bad_header"),
    ],
)
def test_one_wrong_header_makes_the_whole_record_dead(name: str, value: bytes, why: str) -> None:
    assert invalid_reason(record(b"1", ("push-accounts", b"ann"), (name, value))) == why


def test_percent_encoding_reaches_every_character_of_a_name() -> None:
    event = read_event(record(b"1", ("push-rooms", b"%E6%97%A5%25%3a%20, %C3%a9")))
    assert event.rooms == ["日%: ", "é"]


def test_null_as_meta_is_absent() -> None:
    assert read_event(record(b"1", ("push-all", b"true"), ("push-meta", b" null "))).meta is None


@pytest.mark.parametrize(
    "it",
    [
        record({"all": True}, ("x", b"\xff"), TRACED, ("tracestate", b"a=b")),
        record(b"1", TRACED, ("push-all", b"true")),
        record(b"1", ("push-all", b"true"), TRACED, ("traceparent", None)),
        record(None, ("push-all", b"true"), TRACED),
    ],
)
def test_the_trace_is_by_header_however_the_record_is_addressed(it: ConsumerRecord) -> None:
    assert read_event(it).traceparent == TRACEPARENT


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("traceparent", None)],
        [("traceparent", b"\xff")],
        [("traceparent", TRACEPARENT.upper().encode())],
        [("Traceparent", TRACEPARENT.encode())],
        [TRACED, TRACED],
        [TRACED, ("traceparent", b"")],
    ],
)
@pytest.mark.parametrize("addressed", [[], [("push-all", b"true")]])
def test_without_one_that_is_valid_there_is_no_trace_and_no_harm(
    headers: list[tuple[str, bytes | None]], addressed: list[tuple[str, bytes | None]]
) -> None:
    event = read_event(record({"all": True, "traceparent": TRACEPARENT}, *headers, *addressed))
    assert event.traceparent is None


def test_a_trace_alone_is_no_audience() -> None:
    assert decode_record(record(None, TRACED), MAX_BYTES) is None
    assert decode_record(record({"data": 1}, TRACED), MAX_BYTES) is None
    assert decode_record(record(b"1", TRACED, ("push-rooms", b"")), MAX_BYTES) is None
