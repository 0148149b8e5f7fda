"""Plain HTTP connections: one request at a time, and a deadline for each step."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING

import pytest

from bridge.web.transport import http_connections, http_protocol
from bridge.web.transport.http_connections import HttpConnections, HttpLimits
from tests.web.in_process_bridge import wait_until
from tests.web.transport.http_server import serving

if TYPE_CHECKING:
    from tests.web.raw_connection import RawConnection

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n"
OK = b"HTTP/1.1 200 OK\r\n"


def problem_of(answer: bytes) -> tuple[int, str]:
    """The status and the detail of a whole problem response that ends its connection."""
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    assert b"content-type: application/problem+json" in lines
    assert b"connection: close" in lines
    problem = json.loads(body)
    assert b"http/1.1 %d " % problem["status"] in head.lower()
    return problem["status"], problem["detail"]


async def send_without_end(raw: RawConnection, piece: bytes) -> None:
    """Send `piece` again and again."""
    while True:
        raw.send(piece)
        await raw.drain()


@pytest.mark.parametrize("token", ["h2c", "websocket", "TLS/1.0", "x, h2c", "websocket, h2c"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "GET", "PATCH"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_an_upgrade_that_is_not_granted_changes_nothing(token, method, framing):
    length = "Content-Length: 4" if framing == "length" else "Transfer-Encoding: chunked"
    head = (
        f"{method} /v1/x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\n"
        f"Upgrade: {token}\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n{length}\r\n\r\n"
    )
    body = b"body" if framing == "length" else b"4\r\nbody\r\n0\r\n\r\n"
    async with serving() as http:
        together, apart = await http.open(), await http.open_after(head.encode())
        apart.send(body)
        together.send(head.encode() + body)
        for raw in (apart, together):
            answer = await raw.request("GET /next HTTP/1.0\r\n\r\n")
            assert (answer.status, answer.body) == (200, b"body")
            assert (await raw.read_to_end()).count(b"HTTP/1.1 200 ") == 1, "one for each request"
        request = (f"{method} /v1/x", b"body")
        assert sorted(http.app.requests) == sorted([request, request, *[("GET /next", b"")] * 2])


async def test_pipelined_requests_are_served_one_at_a_time():
    async with serving() as http:
        raw = await http.open_after(GET.replace(b"/ ", b"/wait ") + GET * 300)
        await wait_until(lambda: bool(http.app.requests))
        assert len(http.app.requests) == 1
        assert len(http.server.server_state.tasks) == 1
        http.app.go_on.set()
        raw.send(b"GET /last HTTP/1.0\r\n\r\n")
        assert (await raw.read_to_end()).count(OK) == 302
        assert http.app.requests[-1] == ("GET /last", b"")


async def test_a_client_that_only_pipelines_is_not_read_from():
    async with serving() as http:
        raw = await http.open_after(GET.replace(b"/ ", b"/wait "))
        before = len(http.app.requests)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(send_without_end(raw, GET * 10_000), 0.5)
        assert len(http.app.requests) == before


@pytest.mark.parametrize(
    ("name", "beginning"),
    [
        ("head_timeout", GET[:-2]),
        ("head_timeout", GET + GET[:9]),
        ("body_timeout", POST + b"\r\nab"),
        ("body_timeout", POST + b"Expect: 100-continue\r\n\r\n"),
    ],
)
async def test_a_step_that_takes_too_long_ends_the_connection(monkeypatch, name, beginning):
    monkeypatch.setattr(http_protocol, "HEAD_TIMEOUT_SECONDS", 0.1)
    monkeypatch.setattr(http_protocol, "BODY_TIMEOUT_SECONDS", 0.1)
    async with serving() as http:
        raw = await http.open_after(beginning)
        answer = await raw.read_to_end()
        if name == "body_timeout":
            assert problem_of(answer.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n"))[0] == 408
        assert http.connections.refused_by_reason == {name: 1}
        await wait_until(lambda: not http.server.server_state.tasks)
        raw.abort()
        await wait_until(lambda: len(http.connections) == 0)


async def test_a_body_that_makes_progress_has_all_the_time(monkeypatch):
    monkeypatch.setattr(http_protocol, "BODY_TIMEOUT_SECONDS", 0.2)
    async with serving() as http:
        raw = await http.open_after(POST + b"\r\n")
        for byte in (b"b", b"o", b"d"):
            raw.send(byte)
            await asyncio.sleep(0.12)
        raw.send(b"y")
        assert (await raw.request("")).body == b"body"


@pytest.mark.parametrize("framing", ["Content-Length: 100000000", "Transfer-Encoding: chunked"])
async def test_a_body_that_nobody_reads_is_not_waited_for(monkeypatch, framing):
    monkeypatch.setattr(http_protocol, "BODY_TIMEOUT_SECONDS", 0.1)
    async with serving() as http:
        raw = await http.open()
        request = f"POST /early HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n"
        assert (await raw.request(request)).status == 200
        raw.send(b"1" if "chunked" in framing else b"x")
        assert await raw.read_to_end() == b""
        assert http.connections.refused_by_reason == {"body_timeout": 1}


async def test_the_rest_of_a_body_that_was_answered_early_is_bounded(monkeypatch):
    monkeypatch.setattr(http_protocol, "_LINGER_BYTES", 1 << 18)
    async with serving() as http:
        raw = await http.open()
        request = "POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n"
        assert (await raw.request(request)).status == 200
        with pytest.raises(ConnectionError):
            await send_without_end(raw, b"x" * 65_536)


async def test_the_next_request_follows_a_body_that_nobody_read():
    async with serving() as http:
        raw = await http.open()
        request = "POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n"
        assert (await raw.request(request)).status == 200
        raw.send(b"body")
        assert (await raw.request("GET /next HTTP/1.1\r\nHost: a\r\n\r\n")).status == 200
        assert http.app.requests[-1] == ("GET /next", b"")


async def test_an_answer_that_nobody_reads_ends_in_its_time():
    async with serving(HttpLimits(answer_timeout_seconds=0.4)) as http:
        raw = await http.open(receive_bytes=4096)
        raw.send(GET.replace(b"/ ", b"/large "))
        await wait_until(lambda: http.connections.refused_by_reason["answer_timeout"] == 1)
        await wait_until(lambda: not http.server.server_state.tasks)
        assert len(http.connections) == 0


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
async def test_an_answer_that_is_read_slowly_is_sent_whole(version):
    async with serving(HttpLimits(answer_timeout_seconds=0.4)) as http:
        raw = await http.open(receive_bytes=1 << 20)
        raw.send(GET.replace(b"/ ", b"/large ").replace(b"1.1", version))
        read = 0
        while read < 8 << 20:
            read += len(await raw._reader.readexactly(1 << 20))
            await asyncio.sleep(0.1)
        assert not http.connections.refused_by_reason


async def test_an_idle_connection_ends_after_keepalive_seconds():
    async with serving(HttpLimits(keepalive_seconds=0.2)) as http:
        raw = await http.open()
        assert (await raw.request(GET.decode())).status == 200
        assert await raw.read_to_end() == b""
        assert not http.connections.refused_by_reason, "nothing is wrong with it"


async def test_beyond_http_connections_the_longest_idle_goes():
    async with serving(HttpLimits(max_connections=2)) as http:
        first, second = await http.open(), await http.open()
        await first.request(GET.decode())
        await second.request(GET.decode())
        third = await http.open()
        assert (await third.request(GET.decode())).status == 200
        assert await first.read_to_end() == b""
        assert (await second.request(GET.decode())).status == 200
        assert http.connections.refused_by_reason == {"idle": 1}
        assert len(http.connections) == 2


async def test_beyond_http_connections_a_new_one_gets_503_if_none_is_idle():
    async with serving(HttpLimits(max_connections=2)) as http:
        busy = [await http.open_after(GET.replace(b"/ ", b"/wait ")) for _ in range(2)]
        third = await http.open_after(GET)
        status, detail = problem_of(await third.read_to_end())
        assert (status, http.connections.refused_by_reason) == (503, {"connections": 1})
        assert "BRIDGE_LIMITS__HTTP_CONNECTIONS" in detail
        http.app.go_on.set()
        assert [(await raw.request("")).status for raw in busy] == [200, 200]
        assert (await (await http.open()).request(GET.decode())).status == 200


async def test_a_large_head_is_refused_as_a_problem_and_counted():
    async with serving() as http:
        for field, times in ((b"Cookie: %b\r\n" % (b"x" * 66_000), 1), (b"abc:\r\n", 20_000)):
            raw = await http.open()
            raw.send(GET[:-2] + field * times + b"\r\n")
            assert problem_of(await raw.read_to_end())[0] == 431
        cookie = f"Cookie: {'x' * 60_000}\r\n\r\n"
        assert (await (await http.open()).request(GET.decode()[:-2] + cookie)).status == 200
        assert http.connections.refused_by_reason == {"head_too_large": 2}


@pytest.mark.parametrize("trailer", [b"X: y\r\n", b"y" * 100])
async def test_trailers_without_end_are_refused_and_counted(trailer):
    async with serving() as http:
        raw = await http.open()
        raw.send(GET.replace(b"GET", b"POST")[:-2] + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: ")
        answer = asyncio.create_task(raw.read_to_end())
        sent = 0
        while not answer.done():
            assert sent < 1 << 20
            raw.send(trailer * 50)
            sent += 50 * len(trailer)
            await asyncio.sleep(0)
        assert problem_of(await answer)[0] == 431
        assert http.connections.refused_by_reason == {"head_too_large": 1}


async def test_a_body_in_one_byte_chunks_arrives_and_others_are_served_meanwhile():
    async with serving() as http:
        raw, other = await http.open(), await http.open()
        raw.send(GET.replace(b"GET", b"POST")[:-2] + b"Transfer-Encoding: chunked\r\n\r\n")
        raw.send(b"1\r\nx\r\n" * 50_000 + b"0\r\n\r\n")
        assert (await other.request(GET.decode())).status == 200
        assert (await raw.request("")).body == b"x" * 50_000


async def test_a_request_whose_body_is_still_coming_gets_503_at_the_end(caplog):
    async with serving() as http:
        held, waiting = await http.open_after(POST + b"\r\nbo"), await http.open_after(GET)
        chunked = await http.open_after(
            GET.replace(b"GET", b"POST")[:-2] + b"Transfer-Encoding: chunked\r\n\r\n"
        )
        http.server.should_exit = True
        for raw in (held, chunked):
            answer = await raw.read_to_end()
            assert problem_of(answer)[0] == 503
            assert b"Retry-After: 1" in answer
        assert (await waiting.read_to_end()).startswith(OK)
        async with asyncio.timeout(3):
            await http.serve_task
        assert http.app.disconnects == 2
    assert not [r for r in caplog.records if r.exc_info or r.levelno >= logging.ERROR]


async def test_a_request_that_waits_too_long_gets_503_at_the_end(caplog):
    async with serving() as http:
        waiting = await http.open_after(GET.replace(b"/ ", b"/wait "))
        http.server.should_exit = True
        assert problem_of(await waiting.read_to_end())[0] == 503
        async with asyncio.timeout(5):
            await http.serve_task
    assert not [r for r in caplog.records if r.exc_info or r.levelno >= logging.ERROR]


async def test_an_unread_answer_does_not_hold_up_the_end(caplog):
    async with serving() as http:
        raw = await http.open(receive_bytes=4096)
        raw.send(GET.replace(b"/ ", b"/large "))
        await wait_until(lambda: bool(http.app.requests))
        http.server.should_exit = True
        async with asyncio.timeout(5):
            await http.serve_task
    assert not [r for r in caplog.records if r.exc_info or r.levelno >= logging.ERROR]


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def test_refusals_are_logged_once_a_minute_with_their_count(caplog):
    clock = Clock()
    connections = HttpConnections(now=clock)
    for _ in range(500):
        connections.count_refused("bad_request")
    clock.seconds += 61
    connections.count_refused("bad_request")
    assert len(caplog.messages) == 3
    assert caplog.messages[1].endswith(" more_of_this_kind=499 seconds=60")


async def test_descriptors_in_reserve_are_kept_from_clients():
    async with serving(max_descriptors=4) as http:  # any connection has a higher one
        refused = await http.open()
        assert problem_of(await refused.read_to_end())[0] == 503
        assert http.connections.refused_by_reason == {"descriptors": 1}


def test_the_reserve_has_two_halves():
    class Transport:
        def __init__(self, descriptor: int) -> None:
            self.descriptor = descriptor

        def get_extra_info(self, name: str) -> Transport:
            assert name == "socket"
            return self

        def fileno(self) -> int:
            return self.descriptor

    connections = HttpConnections(max_descriptors=1024)
    at = {n: Transport(n) for n in (959, 960, 991, 992)}
    assert [connections.may_stream(at[n]) for n in at] == [True, False, False, False]  # type: ignore[arg-type]
    assert [connections.may_serve(at[n]) for n in at] == [True, True, True, False]  # type: ignore[arg-type]
    assert HttpConnections(max_descriptors=64).may_stream(Transport(40)), "a small limit works"  # type: ignore[arg-type]


def test_a_limit_of_descriptors_that_is_too_low_is_named_at_the_start(caplog, monkeypatch):
    monkeypatch.setattr(http_connections, "descriptor_limit", lambda: 1024)
    http_connections.warn_of_descriptors(18_000, 1_000)
    (record,) = caplog.records
    assert "limit of open files is 1024" in record.getMessage()
    assert "BRIDGE_LIMITS__CONNECTIONS=18000" in record.getMessage()
    http_connections.warn_of_descriptors(500, 100)
    assert len(caplog.records) == 1


async def test_an_accept_that_fails_is_counted_and_logged(caplog):
    connections, loop = HttpConnections(), asyncio.get_running_loop()
    error = OSError(24, "Too many open files")
    connections.handle_loop_error(loop, {"message": "socket.accept()", "exception": error})
    assert connections.refused_by_reason == {"accept_failed": 1}
    assert "BRIDGE_LIMITS__CONNECTIONS" in caplog.text
    connections.handle_loop_error(loop, {"message": "a bug", "exception": ValueError("x")})
    assert "a bug" in caplog.text
