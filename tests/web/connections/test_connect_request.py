"""What a client asks for: by a URL or by its first frame, the same things under the same rules."""

from __future__ import annotations

import json
from urllib.parse import quote, urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.core.protocol.cursor import TOPIC_ID_BYTES, TopicOffsets, encode_cursor
from bridge.core.protocol.frames import BadFrame, Hello, decode_hello
from bridge.core.protocol.names import is_valid_name, is_valid_topic
from bridge.web.connections.connect_request import (
    BadRequest,
    ConnectRequest,
    parse_connect_request,
    parse_query,
    parse_websocket_query,
)

CURSOR = encode_cursor({"orders": TopicOffsets(bytes(TOPIC_ID_BYTES), {0: 10, 1: 20})})
NAMES = ["topics", "rooms", "types", "cursor", "since", "token", "account", "hello", "other"]


def wished(query: str, *, topics: int = 3, rooms: int = 3) -> ConnectRequest:
    return parse_connect_request(parse_query(query), max_topics=topics, max_rooms=rooms)


def refusal(query: str) -> str:
    with pytest.raises(BadRequest) as caught:
        wished(query)
    return str(caught.value)


pairs = st.lists(
    st.tuples(
        st.sampled_from(NAMES),
        st.one_of(
            st.text(max_size=20),
            st.sampled_from([CURSOR, "a,b", "order.*", "2026-11-21T09:00:00Z", "1"]),
        ),
    ),
    max_size=4,
)
queries = st.one_of(
    st.text(max_size=60),
    st.text("topicsrm=&,%0aF;+*", max_size=40),
    pairs.map(lambda some: "&".join(f"{name}={value}" for name, value in some)),
    st.builds(
        urlencode,
        pairs,
        errors=st.just("replace"),
    ),
)


@example("rooms=%")
@example("rooms=%ff")
@example("rooms=\udcff")
@example("&".join(f"a{n}=1" for n in range(60)))
@given(queries)
def test_any_query_gives_a_wish_or_a_bad_request(query):
    try:
        asked = wished(query)
    except BadRequest as bad:
        str(bad).encode()  # it goes into an answer
    else:
        assert all(is_valid_topic(topic) for topic in asked.topics or ())
        assert all(is_valid_name(room) for room in asked.rooms)


@given(queries)
def test_any_query_says_whether_a_hello_will_follow_or_is_a_bad_request(query):
    try:
        follows = parse_websocket_query(query) is None
    except BadRequest as bad:
        str(bad).encode()
    else:
        assert not follows or query.strip("&") == "hello=1"


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=12) | st.just(CURSOR),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(NAMES), values), st.sampled_from(["hello", "helo", None]))
def test_any_first_frame_gives_a_wish_or_the_one_documented_error(fields, op):
    frame = json.dumps({**fields, **({"op": op} if op else {})}).encode()
    try:
        parse_connect_request(decode_hello(frame), max_topics=3, max_rooms=3)
    except (BadFrame, BadRequest) as bad:
        str(bad).encode()
    else:
        assert op == "hello"


def test_both_ways_ask_for_the_same_things():
    query = urlencode(
        {
            "topics": "orders,news",
            "rooms": "order:42,lobby",
            "types": "order.*,tick",
            "cursor": f"{CURSOR},orders:0:17",
            "token": "t",
            "account": "alice",
        }
    )
    frame = {
        "op": "hello",
        "topics": ["orders", "news"],
        "rooms": ["order:42", "lobby"],
        "types": ["order.*", "tick"],
        "cursor": f"{CURSOR},orders:0:17",
        "token": "t",
        "account": "alice",
    }
    assert parse_query(query) == decode_hello(json.dumps(frame).encode())
    asked = wished(query)
    assert asked.topics == frozenset({"orders", "news"})
    assert asked.rooms == ("order:42", "lobby")
    assert asked.types is not None
    assert asked.types.patterns == ("order.*", "tick")
    assert asked.cursor_text == f"{CURSOR},orders:0:17"
    assert asked.cursor is not None
    assert asked.cursor["orders"].offsets == {0: 18, 1: 20}


def test_what_is_absent_asks_for_every_topic_no_room_and_all_types():
    assert wished("") == ConnectRequest(None, (), None, "", None)


def test_an_empty_list_in_a_hello_means_none():
    hello = decode_hello(b'{"op":"hello","topics":[],"rooms":[],"types":[]}')
    asked = parse_connect_request(hello, max_topics=3, max_rooms=3)
    assert asked.topics == frozenset()
    assert asked.rooms == ()
    assert asked.types is not None
    assert not asked.types.matches("order.shipped")


@pytest.mark.parametrize(
    "query",
    ["cursor=", "topics=", "rooms", "types=&topics=orders", "token=", "account=", "since="],
)
def test_a_parameter_that_is_empty_in_a_url_is_a_bad_request_that_names_it(query):
    assert refusal(query).startswith(f"{query.partition('=')[0]} is empty")


@pytest.mark.parametrize("query", ["tpoics=orders", "Topics=orders", "format=json"])
def test_an_unknown_parameter_is_a_bad_request_that_names_it(query):
    assert query.partition("=")[0] in refusal(query)


def test_a_parameter_given_twice_is_a_bad_request():
    assert "rooms" in refusal("rooms=a&rooms=b")


@pytest.mark.parametrize(
    "query",
    [
        "topics=a,,b",
        "topics=a:b",
        f"topics={'a' * 201}",
        "topics=a b",
        "topics=*",
        "rooms=a,,b",
        "rooms=a*",
        "rooms=a%00",
        f"rooms={'é' * 101}",
        "account=a,b",
        "account=*",
        "types=*.shipped",
        "types=order.*,",
    ],
)
def test_a_bad_name_is_a_bad_request_that_says_where(query):
    assert refusal(query).startswith(f"{query.partition('=')[0]}: ")


def test_more_topics_or_rooms_than_allowed_are_a_bad_request():
    assert wished("topics=a,b,c&rooms=1,2,3").rooms == ("1", "2", "3")
    assert "BRIDGE_LIMITS__TOPICS" in refusal("topics=a,b,c,d")
    assert "BRIDGE_LIMITS__ROOMS" in refusal("rooms=a,b,c,d")


def test_a_name_that_is_given_twice_counts_once():
    assert wished("rooms=a,b,a,c,b").rooms == ("a", "b", "c")


@pytest.mark.parametrize(
    "cursor",
    ["x", CURSOR[:-1], CURSOR[:-1] + "!", CURSOR + "A", CURSOR + ",", CURSOR + ",news:0:1"],
)
def test_a_garbled_cursor_is_a_bad_request(cursor):
    assert refusal(f"cursor={quote(cursor)}").startswith("cursor: ")


@pytest.mark.parametrize(
    "since", ["yesterday", "2026-11-21", "2026-02-30T00:00:00Z", "2026-11-21 09:00:00Z"]
)
def test_a_since_that_is_no_rfc3339_time_is_a_bad_request(since):
    assert refusal(f"since={quote(since)}").startswith("since: ")


def test_since_together_with_a_cursor_is_a_bad_request():
    assert refusal(f"since=2026-11-21T09:00:00Z&cursor={CURSOR}").startswith("since: not together")


@pytest.mark.parametrize(
    "query", ["hello=1&topics=orders", "token=t&hello=1", "hello=0", "hello=", "hello=1&hello=1"]
)
def test_hello_stands_alone(query):
    with pytest.raises(BadRequest):
        parse_websocket_query(query)


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'"hello"',
        b'{"op":"hello"',
        b'{"op":"heartbeat"}',
        b'{"op":"hello","rooms":"lobby"}',
        b'{"op":"hello","account":7}',
        b'{"op":"hello","nonsense":1}',
        b'{"op":"hello","hello":"1"}',
        b"[" * 100_000,
    ],
)
def test_a_first_frame_that_is_no_hello_is_a_bad_frame(frame):
    with pytest.raises(BadFrame):
        decode_hello(frame)


def test_a_null_in_a_hello_is_absent():
    frame = b'{"op":"hello","topics":null,"cursor":null,"account":null}'
    assert decode_hello(frame) == Hello()
