"""Heads and bodies byte by byte: one reading of each, within one limit."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.web.transport.http_request import (
    MAX_FIELDS,
    MAX_HEAD_BYTES,
    BadRequestHead,
    BodyReader,
    HeadReader,
    RequestHead,
    parse_head,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

HEAD = b"GET /x?y=1 HTTP/1.1\r\nHost: a\r\n\r\n"


def head_of(first: bytes = b"GET / HTTP/1.1", *fields: bytes) -> RequestHead:
    return parse_head(b"\r\n".join([first, *fields]))


def refusal_of(first: bytes = b"GET / HTTP/1.1", *fields: bytes) -> int:
    with pytest.raises(BadRequestHead) as refused:
        head_of(first, *fields)
    return refused.value.status


def feed_all(reader: HeadReader | BodyReader, parts: Iterable[bytes]) -> None:
    for part in parts:
        reader.feed(part)


def refusal_of_feed(*parts: bytes) -> int:
    with pytest.raises(BadRequestHead) as refused:
        feed_all(HeadReader(), parts)
    return refused.value.status


def chunked(*fields: bytes) -> BodyReader:
    return BodyReader(
        head_of(b"POST / HTTP/1.1", b"Host: a", b"Transfer-Encoding: chunked", *fields)
    )


@given(st.lists(st.integers(0, len(HEAD)), max_size=5), st.sampled_from([b"", b"rest"]))
def test_a_head_in_any_pieces_is_the_same(cuts: list[int], rest: bytes) -> None:
    reader, found, tail = HeadReader(), None, b""
    offsets = [0, *sorted(cuts), len(HEAD)]
    for start, end in itertools.pairwise(offsets):
        if found is None:
            found = reader.feed(HEAD[start:end])
    if found is None:
        found = reader.feed(rest)
    else:
        tail = rest
    assert found is not None
    assert (found[0].target, found[0].headers) == ("/x?y=1", [(b"host", b"a")])
    assert found[1] + tail == rest


def test_empty_lines_before_a_request_are_skipped() -> None:
    assert HeadReader().feed(b"\r\n\r\n" + HEAD)
    reader = HeadReader()
    assert reader.feed(b"\r") is None
    assert reader.feed(b"\n" + HEAD)


def test_a_head_has_64_kib_and_100_fields() -> None:
    line = b"X: %b\r\n" % (b"x" * 991)
    start, filler = b"GET / HTTP/1.1\r\nHost: a\r\n", b"Y: %b\r\n\r\n"
    room = MAX_HEAD_BYTES - len(start) - 50 * len(line) - len(filler % b"")
    whole = start + 50 * line + filler % (b"y" * room)
    assert len(whole) == MAX_HEAD_BYTES
    assert HeadReader().feed(whole)
    assert refusal_of_feed(start + 50 * line + filler % (b"y" * (room + 1))) == 431
    short = b"GET / HTTP/1.1\r\nHost: a\r\n"
    assert HeadReader().feed(short + (MAX_FIELDS - 1) * b"a:b\r\n" + b"\r\n")
    assert refusal_of_feed(short + MAX_FIELDS * b"a:b\r\n" + b"\r\n") == 431
    assert refusal_of_feed(short + MAX_FIELDS * b"a:b\r\n") == 431, "before its end"
    assert refusal_of_feed(*(b"\r\n" for _ in range(1000))) == 431


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01",  # TLS
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"\x00",
        b"SSH-2.0-OpenSSH_9.6@x\r\n",
        b"G=T",
    ],
)
def test_what_cannot_become_a_request_is_refused_at_once(data: bytes) -> None:
    assert refusal_of_feed(data) == 400


@pytest.mark.parametrize(
    ("status", "first", "fields"),
    [
        (400, b"GET /", ()),
        (400, b"GET  / HTTP/1.1", (b"Host: a",)),
        (400, b"GET /\xff HTTP/1.1", (b"Host: a",)),
        (505, b"GET / HTTP/2.0", (b"Host: a",)),
        (505, b"PRI * HTTP/2.0", ()),
        (400, b"GET / HTTP/1.1", ()),
        (400, b"GET / HTTP/1.1", (b"Host: a", b"Host: a")),
        (400, b"GET / HTTP/1.0", (b"Host: a", b"host: b")),
        (400, b"GET / HTTP/1.1", (b"Host: a b",)),
        (400, b"GET / HTTP/1.1", (b"Host: me@a",)),
        (400, b"GET / HTTP/1.1", (b"Host: a, b",)),
        (400, b"GET / HTTP/1.1", (b"Host: a", b"X")),
        (400, b"GET / HTTP/1.1", (b"Host: a", b"X : y")),
        (400, b"GET / HTTP/1.1", (b"Host: a", b"X: y", b" folded")),
        (400, b"GET / HTTP/1.1", (b"Host: a", b"X: y\x00")),
        (400, b"GET / HTTP/1.1", (b"Host: a", b"X: y\nZ: z")),
        (400, b"GET x HTTP/1.1", (b"Host: a",)),
        (400, b"GET ftp://a/ HTTP/1.1", (b"Host: a",)),
        (400, b"GET http://me@a/ HTTP/1.1", (b"Host: a",)),
        (400, b"GET http://[a/ HTTP/1.1", (b"Host: a",)),
        (400, b"GET http:///x HTTP/1.1", (b"Host: a",)),
        (400, b"CONNECT a:443 HTTP/1.1", (b"Host: a",)),
        (400, b"GET * HTTP/1.1", (b"Host: a",)),
        (400, b"POST / HTTP/1.1", (b"Host: a", b"Content-Length: 3", b"Content-Length: 4")),
        (400, b"POST / HTTP/1.1", (b"Host: a", b"Content-Length: +3")),
        (400, b"POST / HTTP/1.1", (b"Host: a", b"Content-Length: 3, 3")),
        (400, b"POST / HTTP/1.1", (b"Host: a", b"Content-Length: ")),
        (
            400,
            b"POST / HTTP/1.1",
            (b"Host: a", b"Content-Length: 3", b"Transfer-Encoding: chunked"),
        ),
        (400, b"POST / HTTP/1.0", (b"Host: a", b"Transfer-Encoding: chunked")),
        (501, b"POST / HTTP/1.1", (b"Host: a", b"Transfer-Encoding: gzip, chunked")),
        (501, b"POST / HTTP/1.1", (b"Host: a", b"Transfer-Encoding: identity")),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(
    status: int, first: bytes, fields: tuple[bytes, ...]
) -> None:
    assert refusal_of(first, *fields) == status


def test_a_url_as_target_names_the_path_and_the_host() -> None:
    head = head_of(b"GET http://b.example:80/events?x=1#f HTTP/1.1", b"Host: a", b"X: y")
    assert head.target == "/events?x=1"
    assert head.values(b"host") == [b"b.example:80"]
    assert head.values(b"x") == [b"y"]
    assert head_of(b"GET https://[::1] HTTP/1.1", b"Host: a").target == "/"
    assert head_of(b"OPTIONS * HTTP/1.1", b"Host: a").target == "/"


def test_connections_end_as_the_version_says() -> None:
    assert head_of(b"GET / HTTP/1.1", b"Host: a").keeps_alive
    assert not head_of(
        b"GET / HTTP/1.1", b"Host: a", b"Connection: x", b"connection: Close"
    ).keeps_alive
    assert not head_of(b"GET / HTTP/1.0").keeps_alive


BODY = b"5;name=value\r\nhello\r\n1 \r\n \r\nA\r\n" + b"0123456789\r\n0\r\nX: y\r\n\r\n"


@given(st.lists(st.integers(0, len(BODY)), max_size=6))
def test_a_chunked_body_in_any_pieces_is_the_same(cuts: list[int]) -> None:
    reader, body, rest = chunked(), b"", b""
    offsets = [0, *sorted(cuts), len(BODY) + 4]
    data = BODY + b"next"
    for start, end in itertools.pairwise(offsets):
        if reader.is_complete:
            rest += data[start:end]
            continue
        pieces, rest = reader.feed(data[start:end])
        body += b"".join(pieces)
    assert (body, rest, reader.is_complete) == (b"hello 0123456789", b"next", True)


@pytest.mark.parametrize(
    "data",
    [b"x\r\n", b"\r\n", b"-1\r\n", b"0x1\r\n", b"1\r\nab\r\n", b"1\nab", b"F" * 17, b"0\r\nX\r\n"],
)
def test_a_chunk_that_is_malformed_is_refused(data: bytes) -> None:
    with pytest.raises(BadRequestHead) as refused:
        chunked().feed(data)
    assert refused.value.status == 400


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (b"0\r\n", b"X: y\r\n"),
        (b"0\r\n", b"X: %b\r\n" % (b"y" * 1000)),
        (b"0\r\nX: ", b"y" * 1000),
        (b"1;", b"y" * 1000),
        (b"", b"1;" + b"y" * 1000 + b"\r\nx\r\n"),
    ],
    ids=["trailers", "long trailers", "one trailer", "one extension", "extensions"],
)
def test_all_that_is_no_body_counts_against_the_head(start: bytes, piece: bytes) -> None:
    reader = chunked()
    reader.feed(start)
    with pytest.raises(BadRequestHead) as refused:
        feed_all(reader, [piece] * (MAX_HEAD_BYTES // len(piece) + 1))
    assert refused.value.status == 431


def test_trailers_and_fields_count_together() -> None:
    fields = [b"a: b"] * (MAX_FIELDS - 3)
    chunked(*fields).feed(b"0\r\na: b\r\n\r\n")
    with pytest.raises(BadRequestHead) as refused:
        chunked(*fields).feed(b"0\r\na: b\r\na: b\r\n\r\n")
    assert refused.value.status == 431


def test_many_small_chunks_are_a_body() -> None:
    reader = chunked()
    for _ in range(MAX_HEAD_BYTES):
        pieces, _ = reader.feed(b"1\r\nx\r\n")
        assert pieces == [b"x"]


def test_a_body_ends_at_its_length() -> None:
    reader = BodyReader(head_of(b"POST / HTTP/1.1", b"Host: a", b"Content-Length: 5"))
    assert reader.feed(b"abc") == ([b"abc"], b"")
    assert not reader.is_complete
    assert reader.feed(b"defg") == ([b"de"], b"fg")
    assert reader.is_complete
