"""Contract 2.1, 2.4: which records are events, for whom, and which are dead."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.core.protocol.envelope import decode_record, is_valid_json
from bridge.core.protocol.event import Body, Event
from bridge.core.protocol.frames import TO_ALL, build_event_frame
from tests.core.envelope_results import (
    INVALID_REASONS,
    MAX_BYTES,
    invalid_reason,
    read_event,
    read_outcome,
)
from tests.core.factories import TIMESTAMP, ConsumerRecord, record
from tests.core.frame_shape import check_event_frame, read_members
from tests.core.strategies import corrupted, json_object, json_texts, records
from tests.tiers import example_count

# -- the native envelope ---------------------------------------------------------------------------


def test_every_field_of_the_native_envelope_is_read() -> None:
    event = read_event(
        record(
            b'{"id": "o-1842", "type": "order.shipped", "time": "2026-11-21T10:00:00+01:00",'
            b' "tag": "3", "accounts": ["ann", "bob"], "rooms": ["order:42"],'
            b' "connections": ["c1"], "all": true, "meta": {"trace": "4bf9"},'
            b' "data": {"order": 42}}',
            offset=9,
        )
    )
    assert event == Event(
        offset=9,
        timestamp=TIMESTAMP,
        body=Body.JSON,
        data=b'{"order": 42}',
        connections=["c1"],
        accounts=["ann", "bob"],
        rooms=["order:42"],
        all=True,
        id="o-1842",
        type="order.shipped",
        time="2026-11-21T09:00:00Z",
        tag="3",
        meta=b'{"trace": "4bf9"}',
    )


def test_everything_but_an_audience_is_optional() -> None:
    event = read_event(record({"rooms": ["r"]}))
    assert event == Event(7, TIMESTAMP, Body.JSON, b"null", rooms=["r"])
    assert event.type == "event"


def test_null_is_absent() -> None:
    fields = ("id", "type", "time", "tag", "accounts", "connections", "all", "meta", "data")
    assert read_event(record({**dict.fromkeys(fields), "rooms": ["r"]})) == Event(
        7, TIMESTAMP, Body.JSON, b"null", rooms=["r"]
    )


def test_unknown_fields_are_ignored() -> None:
    assert read_event(record({"all": True, "priority": [1], "Accounts": 5})).all


@pytest.mark.parametrize(
    "value", [{}, {"data": 1}, {"accounts": [], "rooms": [], "connections": [], "all": False}]
)
def test_what_names_no_audience_is_for_nobody_and_no_error(value: dict[str, Any]) -> None:
    assert decode_record(record(value), MAX_BYTES) is None


def test_a_tombstone_that_no_header_addresses_is_for_nobody() -> None:
    assert decode_record(record(None), MAX_BYTES) is None
    assert decode_record(record(None, ("push-id", b"1")), MAX_BYTES) is None


@pytest.mark.parametrize(
    "value",
    [
        *({"id": 1}, {"type": 1}, {"tag": 1}, {"time": 1}, {"all": "true"}, {"all": 1}),
        *({"accounts": "ann"}, {"rooms": [1]}, {"connections": {}}, {"accounts": ["ann", None]}),
    ],
)
def test_a_value_of_another_type_makes_the_record_dead(value: dict[str, Any]) -> None:
    assert invalid_reason(record({"rooms": ["r"], **value})) == "bad_envelope"


@pytest.mark.parametrize("field", ["accounts", "rooms", "connections"])
@pytest.mark.parametrize("name", ["", "a,b", "*", "a\n", "x" * 201])
def test_one_bad_name_makes_the_whole_record_dead(field: str, name: str) -> None:
    assert invalid_reason(record({"all": True, field: ["good", name]})) == "bad_name"


def test_a_time_that_is_none_makes_the_record_dead() -> None:
    assert invalid_reason(record({"all": True, "time": "yesterday"})) == "bad_time"
    assert invalid_reason(record({"time": "yesterday"})) == "bad_time"


@pytest.mark.parametrize("value", [b"[]", b"1", b'"ann"', b"null", b"true"])
def test_a_value_that_is_no_object_is_dead(value: bytes) -> None:
    assert invalid_reason(record(value)) == "bad_envelope"


@pytest.mark.parametrize(
    "text",
    [
        *(
            b"\xff",
            b"01",
            b"NaN",
            b"[1,]",
            b'"\n"',
            b'"\\q"',
            b"'a'",
            b'"\xed\xa0\x80"',
            b"1 2",
            b"",
        ),
        b"[" * 100_000,
    ],
)
@pytest.mark.parametrize("field", ["data", "meta", "surprise"])
def test_what_is_no_json_is_dead_wherever_it_stands(field: str, text: bytes) -> None:
    value = b'{"all":true,"' + field.encode() + b'":' + text + b"}"
    assert invalid_reason(record(value), len(value)) == "bad_json"


def test_a_value_over_the_limit_is_dead_and_one_at_it_is_not() -> None:
    value = b'{"all":true}'
    assert read_event(record(value, ("x", b""))).all
    assert decode_record(record(value), len(value)) is not None
    assert invalid_reason(record(value), len(value) - 1) == "too_large"
    assert invalid_reason(record(value, ("push-all", b"true")), len(value) - 1) == "too_large"


@given(json_texts)
def test_data_and_meta_keep_their_tokens(text: str) -> None:
    event = read_event(record(json_object({"all": "true", "data": text, "meta": text})))
    assert event.data == text.encode()
    assert event.meta == (None if text == "null" else text.encode())


# -- any bytes -------------------------------------------------------------------------------------


@settings(max_examples=example_count(400))
@given(records)
def test_any_record_is_an_event_or_nobodys_or_dead_and_no_event_breaks_its_frame(
    it: ConsumerRecord,
) -> None:
    event = read_outcome(it, 300)
    if event is None or isinstance(event, str):
        assert event in {None, *INVALID_REASONS}
        return
    assert event.connections or event.accounts or event.rooms or event.all
    fields = check_event_frame(build_event_frame("orders", 3, event).encode(TO_ALL))
    assert fields["at"] == f"orders:3:{it.offset}"
    assert ("deleted" in fields) == (it.value is None)


@given(st.binary(max_size=20) | corrupted(json_texts.map(str.encode)))
def test_what_is_taken_for_json_is_what_a_parser_takes(value: bytes) -> None:
    try:
        # Half a surrogate pair, as an escape, is JSON; but no UTF-8 can write what it stands for.
        json.dumps(read_members(value), ensure_ascii=False).encode()
    except ValueError:
        assert not is_valid_json(value)
    else:
        assert is_valid_json(value)


def test_json_nested_without_end_is_not_taken_for_json() -> None:
    assert is_valid_json(b"[" * 100 + b"]" * 100)
    assert not is_valid_json(b"[" * 100_000 + b"]" * 100_000)


def test_half_a_surrogate_pair_or_another_encoding_is_not_taken_for_json() -> None:
    assert is_valid_json(json.dumps("😀").encode())
    assert is_valid_json('"😀"'.encode())
    assert not is_valid_json(b'"\\ud83d"')
    assert not is_valid_json(b'"\xff"')
    assert not is_valid_json('"a"'.encode("utf-16"))
    assert not is_valid_json(b"\xef\xbb\xbf1")
