"""Fetching a document: bounded in every way, from a real server and from a file."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from bridge.web.auth import fetch as downloading
from bridge.web.auth.fetch import MAX_BYTES, download, parse_location, redact_location
from bridge.web.auth.http_client import HttpClient, find_proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@contextlib.asynccontextmanager
async def serving(*parts: bytes, hold: asyncio.Event | None = None) -> AsyncIterator[str]:
    """A server that answers everything with `parts`; the last one once it may."""
    requests: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            requests.append(await reader.readuntil(b"\r\n\r\n"))
            for part in parts[:-1]:
                writer.write(part)
            await writer.drain()
            if hold is not None:
                await hold.wait()
            writer.write(parts[-1])
            await writer.drain()
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/jwks?key=k"


def ok(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


async def test_a_url_gives_what_is_there() -> None:
    async with serving(ok(b"the keys")) as url:
        assert await download(url) == b"the keys"


async def test_the_event_loop_goes_on_meanwhile() -> None:
    may_answer = asyncio.Event()
    async with serving(ok(b"the keys")[:-1], b"s", hold=may_answer) as url:
        asked = asyncio.create_task(download(url))
        await asyncio.sleep(0)
        assert not asked.done()
        may_answer.set()
        assert await asked == b"the keys"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: file:///keys.json\r\nContent-Length: 0\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200_000 + b"\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        ok(b"x" * (MAX_BYTES + 1)),
    ],
    ids=lambda answer: str(answer[:40]),
)
async def test_every_other_answer_is_an_error(answer: bytes) -> None:
    async with serving(answer) as url:
        with pytest.raises(OSError, match=r"."):
            await download(url)


async def test_a_redirect_is_not_followed() -> None:
    async with serving(ok(b"keys of others")) as elsewhere:
        answer = b"HTTP/1.1 302 Found\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n"
        async with serving(answer % elsewhere.encode()) as url:
            with pytest.raises(OSError, match="302"):
                await download(url)


@pytest.mark.parametrize(
    "head", [b"", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\n\r\n"], ids=str
)
async def test_an_answer_that_never_ends_is_given_up(
    monkeypatch: pytest.MonkeyPatch, head: bytes
) -> None:
    monkeypatch.setattr(downloading, "TIMEOUT_SECONDS", 0.05)
    never = asyncio.Event()
    async with serving(head, b"", hold=never) as url:
        with pytest.raises(TimeoutError, match="no whole response"):
            await download(url)
        never.set()


@pytest.mark.parametrize(
    ("begin", "drip"),
    [
        (b"", b"H"),
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
        (b"HTTP/1.1 200 OK\r\nX: ", b"y"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n"),
        (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    ],
    ids=["line", "fields", "field", "body", "chunks", "trailers", "interim"],
)
async def test_a_publisher_that_drips_is_given_up_after_one_deadline(
    monkeypatch: pytest.MonkeyPatch, begin: bytes, drip: bytes
) -> None:
    monkeypatch.setattr(downloading, "TIMEOUT_SECONDS", 0.2)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(begin)
            while not writer.is_closing():
                writer.write(drip)
                await writer.drain()
                await asyncio.sleep(0.01)
        writer.close()
        has_ended.set()

    has_ended = asyncio.Event()
    async with asyncio.timeout(5), await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        with pytest.raises(OSError, match=r"no whole response|not HTTP"):
            await download(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/jwks")
        await has_ended.wait()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nthe\r\n5\r\n keys\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\nthe keys",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + ok(b"the keys"),
    ],
    ids=["chunks", "until it closes", "interim"],
)
async def test_every_form_of_a_body_is_read(answer: bytes) -> None:
    async with serving(answer) as url:
        assert await download(url) == b"the keys"


# -- proxies ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9/",
        "http://127.8.8.8/",
        "http://localhost:9/",
        "https://LOCALHOST/",
        "http://id.localhost/",
        "http://[::1]:9/",
        "http://[::ffff:127.0.0.1]/",
    ],
)
def test_loopback_is_never_asked_through_a_proxy(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://proxy.example:3128")
    monkeypatch.delenv("no_proxy", raising=False)
    assert find_proxy(url) is None
    assert find_proxy("https://id.example/") == ("proxy.example", 3128, {})


async def test_keys_elsewhere_are_asked_through_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(ok(b"the keys")) as proxy:
        monkeypatch.setenv("http_proxy", proxy.replace("http://", "http://me:pass@"))
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        assert await download("http://id.example/keys") == b"the keys"


async def test_a_connection_that_was_closed_while_idle_is_replaced() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(ok(b"yes"))
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        client = HttpClient(url, timeout_seconds=5, max_bytes=100, keeps_alive=True)
        for _ in range(3):
            assert await client.request("GET", {}) == (200, b"yes")
        client.close()


async def test_where_nobody_listens_is_an_error() -> None:
    with pytest.raises(OSError, match=r"."):
        await download("http://127.0.0.1:1/")


async def test_a_file_gives_what_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "the keys.json"
    path.write_bytes(b"the keys")
    assert await download(parse_location(str(path))) == b"the keys"
    assert await download(parse_location(path.as_uri())) == b"the keys"
    path.write_bytes(b"x" * (MAX_BYTES + 1))
    with pytest.raises(OSError, match="more than"):
        await download(path)
    with pytest.raises(OSError, match="No such file"):
        await download(tmp_path / "none")


@pytest.mark.parametrize(
    "where",
    [
        "ftp://a/b",
        "http://",
        "http:///b",
        "http://a:99999/",
        "http://[",
        "http://a b/",
        "https://user:password@a/",
    ],
)
def test_what_can_be_no_place_is_refused(where: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_location(where)


def test_what_a_log_shows_of_a_place_has_no_credential(tmp_path: Path) -> None:
    url = parse_location("https://id.example:8443/keys?key=secret#secret")
    assert redact_location(url) == "https://id.example:8443/keys"
    assert redact_location(tmp_path) == str(tmp_path)
