"""Frames as they are read, and the ends that follow from codes and answers."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosedError
from websockets.frames import Close
from websockets.http11 import Response

from bridge.client.errors import (
    CONNECTION_BROKEN,
    ConnectionEnd,
    end_from_close,
    end_from_http_response,
    parse_retry_after,
)
from bridge.client.frames import parse_frame, raw_field
from bridge.client.items import item_from_frame

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
DIGITS = "9" * 5000
NOW = datetime(2026, 11, 21, 9, tzinfo=UTC)


@given(st.dictionaries(st.text(), JSON, max_size=5), st.sampled_from([None, 0, 2]), st.booleans())
def test_raw_field_returns_the_text_as_written(
    fields: dict[str, object], indent: int | None, plain: bool
) -> None:
    text = json.dumps(fields, indent=indent, ensure_ascii=plain)
    for name, value in fields.items():
        told = raw_field(text, name)
        assert told is not None
        assert told in text
        assert json.loads(told) == value
    assert raw_field(text, "no such field") is None or "no such field" in fields


def test_data_text_keeps_every_digit() -> None:
    text = f'{{"op":"event", "data" : {{"n": 1.10, "m":{DIGITS}}} ,"id":"1"}}'
    assert raw_field(text, "data") == f'{{"n": 1.10, "m":{DIGITS}}}'


def test_large_numbers_are_parsed() -> None:
    frame = parse_frame(f'{{"op":"event","data":[{DIGITS},-{DIGITS},7]}}')
    assert frame["data"] == [Decimal(DIGITS), Decimal(f"-{DIGITS}"), 7]
    assert type(frame["data"][2]) is int


@pytest.mark.parametrize("text", ["", "[]", "7", '{"at":1}', '{"op":1}', '{"op":"x"', "null"])
def test_invalid_frame_raises(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_frame(text)


@pytest.mark.parametrize("at", ["t:0:x", "t:0:", "", "t:0", "0"])
def test_event_without_position_raises(at: str) -> None:
    fields = dict.fromkeys(("topic", "to", "id", "type", "time"), "x")
    with pytest.raises(ValueError, match="not a position"):
        item_from_frame({"op": "event", "at": at, **fields}, "")


# -- ends ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "is_final"),
    [
        *((code, False) for code in (None, 1000, 1006, 1011, 4001, 4499, 4600, 4777)),
        *((code, True) for code in (4500, 4501, 4599)),
        *((code, False) for code in (302, 408, 425, 429, 500, 503, 599)),
        *((code, True) for code in (400, 401, 403, 404, 426)),
    ],
)
def test_code_decides_whether_to_reconnect(code: int | None, is_final: bool) -> None:
    assert ConnectionEnd(code, "").is_final is is_final


def test_received_close_precedes_the_closing_frame() -> None:
    announced = {"code": 4006, "reason": "later", "retry_after": 2.5}
    came = ConnectionClosedError(Close(4001, "leaving"), None)
    broke = ConnectionClosedError(None, None)
    assert end_from_close(came, announced, "{}") == ConnectionEnd(4001, "leaving", 2.5, "{}")
    assert end_from_close(broke, announced, "{}") == ConnectionEnd(4006, "later", 2.5, "{}")
    assert end_from_close(broke, None, None) == ConnectionEnd(None, CONNECTION_BROKEN)
    assert (
        end_from_close(ConnectionClosedError(Close(4001, ""), None), None, None).reason
        == CONNECTION_BROKEN
    )


@pytest.mark.parametrize(
    ("body", "reason"),
    [(b'{"detail": "no"}', "no"), (b"no\n", "no"), (b"", "Gone"), (b"[1]", "[1]"), (None, "Gone")],
)
def test_http_response_has_the_reason(body: bytes | None, reason: str) -> None:
    answer = Response(503, "Gone", Headers({"Retry-After": "7"}), body or b"")
    assert end_from_http_response(answer, NOW) == ConnectionEnd(503, reason, 7)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7),
        ("Sat, 21 Nov 2026 09:01:00 GMT", 60),
        ("Sat, 21 Nov 2026 08:00:00 GMT", 0),
        ("Sat, 21 Nov 2026 09:01:00 -0000", 60),
        ("", None),
        ("soon", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str, seconds: float | None) -> None:
    assert parse_retry_after(text, NOW) == seconds
