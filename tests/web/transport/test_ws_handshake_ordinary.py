"""The short way in: whatever it lets in, the library would let in, and answers the same."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.web.connections import connect_request
from bridge.web.transport.http_request import parse_head
from bridge.web.transport.ws_handshake import (
    SUBPROTOCOL,
    UpgradeRefusal,
    UpgradeRequest,
    encode_refusal,
    negotiate_handshake,
    try_fast_handshake,
)

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455, 1.3
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
USUAL = {
    b"host": b"bridge.example",
    b"upgrade": b"websocket",
    b"connection": b"Upgrade",
    b"sec-websocket-key": KEY,
    b"sec-websocket-version": b"13",
}
Head = list[tuple[bytes, bytes]]


def written(
    headers: Head, method: bytes = b"GET", target: bytes = b"/ws", version: bytes = b"1.1"
) -> bytes:
    first = b"%b %b HTTP/%b" % (method, target, version)
    return b"\r\n".join([first, *(b": ".join(each) for each in headers), b"", b""])


def asked(headers: Head, **more: bytes) -> Any:
    return try_fast_handshake(written(headers, **more))


def by_library(headers: Head) -> tuple[UpgradeRequest | None, bytes]:
    return negotiate_handshake(parse_head(written(headers)[:-4]), lambda _: None)


def answer_of(answer: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    first, *lines = answer.removesuffix(b"\r\n\r\n").split(b"\r\n")
    told = {n.lower(): v for n, _, v in (line.partition(b": ") for line in lines)}
    told.pop(b"date", None)
    return first, told


def test_the_example_of_the_rfc_is_answered_as_it_says() -> None:
    opening, answer = asked([*USUAL.items()], target=b"/ws?topics=orders")
    assert opening.target == "/ws?topics=orders"
    assert opening.header("host") == "bridge.example"
    assert opening.header("origin") is None
    first, told = answer_of(answer)
    assert first == b"HTTP/1.1 101 Switching Protocols"
    assert told == {
        b"upgrade": b"websocket",
        b"connection": b"Upgrade",
        b"sec-websocket-accept": ACCEPT,
    }


@pytest.mark.parametrize(
    "other",
    [
        {b"connection": b"keep-alive, Upgrade"},
        {b"upgrade": b"WebSocket"},
        {b"sec-websocket-protocol": SUBPROTOCOL.encode()},
        {b"sec-websocket-extensions": b"permessage-deflate; client_max_window_bits"},
        {b"origin": b"https://bridge.example", b"user-agent": b"Mozilla/5.0 (X11; Linux x86_64)"},
    ],
)
def test_what_browsers_and_libraries_send_is_ordinary(other: dict[bytes, bytes]) -> None:
    head = [*{**USUAL, **other}.items()]
    opening, answer = asked(head)
    assert (opening.target, answer_of(answer)) == ("/ws", answer_of(by_library(head)[1]))


@pytest.mark.parametrize(
    "other",
    [
        {b"upgrade": b"h2c"},
        {b"connection": b"close"},
        {b"connection": b"keep-alive"},
        {b"sec-websocket-version": b"8"},
        {b"sec-websocket-key": b"c2hvcnQ="},
        {b"sec-websocket-key": KEY[:-3] + b"R=="},
        {b"sec-websocket-protocol": b"mqtt"},
        {b"content-length": b"3"},
        {b"transfer-encoding": b"chunked"},
        {b"x-name": "Ÿ".encode()},
        {b"x-long": b"x" * 16_000},
        {b"host": b"user@bridge.example"},
        {b"x-%d" % n: b"" for n in range(200)},
    ],
)
def test_anything_else_is_left_to_the_library(other: dict[bytes, bytes]) -> None:
    assert asked([*{**USUAL, **other}.items()]) is None


@pytest.mark.parametrize("name", [b"host", b"sec-websocket-key", b"origin", b"x-forwarded-for"])
def test_a_header_that_comes_twice_is_left_to_the_library(name: bytes) -> None:
    assert asked([(name, b"first"), *USUAL.items(), (name, b"second")]) is None


def test_only_get_and_only_plain_targets_are_ordinary() -> None:
    usual = [*USUAL.items()]
    assert asked(usual)
    assert asked(usual, method=b"POST") is None
    assert asked(usual, version=b"1.0") is None
    assert asked(usual, target=b"/ws?\xff") is None
    assert asked(usual, target=b"/ws?" + b"x" * 16_000) is None


names = st.sampled_from([*USUAL, b"origin", b"sec-websocket-protocol", b"x-other"])
values = st.sampled_from([*USUAL.values(), b"", SUBPROTOCOL.encode(), b"keep-alive, Upgrade", b"h"])


@given(st.lists(st.tuples(names, values), max_size=4), st.lists(names, max_size=1))
def test_whatever_is_ordinary_the_library_lets_in_with_the_same_answer(
    more: Head, less: list[bytes]
) -> None:
    head = [(n, v) for n, v in {**USUAL, **dict(more)}.items() if n not in less]
    if found := asked(head):
        opening, answer = found
        expected, told = by_library(head)
        assert expected is not None
        assert {n: [*v] for n, v in expected.headers.items()} == opening.headers
        assert answer_of(answer) == answer_of(told)


@given(st.lists(st.tuples(names, values), max_size=3))
def test_however_a_header_is_written_it_is_the_same(more: Head) -> None:
    headers = [*{**USUAL, **dict(more)}.items()]
    shouted = [(name.title(), b" " + value + b"  ") for name, value in headers]
    assert asked(shouted) == asked(headers)


USUALLY = written([*USUAL.items()])


@pytest.mark.parametrize(
    "data",
    [
        USUALLY[:-1],
        USUALLY[:40],
        USUALLY + b"\x81",
        USUALLY + USUALLY,
        USUALLY.replace(b"GET", b"get"),
        USUALLY.replace(b"GET", b"POST"),
        USUALLY.replace(b"1.1", b"1.0"),
        USUALLY.replace(b"/ws", b"ws"),
        USUALLY.replace(b"/ws", b"/w s"),
        USUALLY.replace(b"/ws", b"http://a/ws"),
        USUALLY.replace(b"\r\n", b"\n"),
        USUALLY.replace(b"host: ", b"host : "),
        USUALLY.replace(b"host: ", b" host: "),
        USUALLY.replace(b"host: ", b"host\xe9: "),
        USUALLY.replace(b"bridge.example", b"a\r\n b"),
        USUALLY.replace(b"bridge.example", b"a\x00b"),
        USUALLY.replace(b"bridge.example", b"x" * 20_000),
        b"",
        b"\r\n" + USUALLY,
    ],
)
def test_what_is_not_a_whole_ordinary_request_is_uvicorns_to_read(data: bytes) -> None:
    assert try_fast_handshake(USUALLY)
    assert try_fast_handshake(data) is None


def test_a_refusal_is_told_whatever_the_library_says_of_the_request() -> None:
    why = UpgradeRefusal(404, "not here")
    lines = b"GET /elsewhere HTTP/1.1\r\nHost: a\r\n\r\n"
    assert negotiate_handshake(parse_head(lines[:-4]), lambda _: why) == (None, encode_refusal(why))
    assert encode_refusal(why).startswith(b"HTTP/1.1 404 Not Found\r\n")


texts = st.text(st.sampled_from("ab=&;%+20 é"), max_size=12)


@given(texts)
def test_a_query_that_needs_no_decoding_is_split_as_any_other(query: str) -> None:
    try:
        expected = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=50)
    except ValueError:
        return
    assert connect_request._split_query(query) == expected
