"""A small HTTP/1.1 client of one URL, for the publisher of keys and for the callback.

Rules: a request has one deadline from the first byte to the last, and its response has a limit in
bytes. Redirects are not followed: the operator did not configure their target. A URL on loopback
is never asked through a proxy.
"""

from __future__ import annotations

import asyncio
import ssl
from base64 import b64encode
from http import HTTPStatus
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from httptools import HttpParserError, HttpResponseParser

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_HEAD_BYTES: Final = 1 << 16
_MAX_IDLE_CONNECTIONS: Final = 16
_READ_BYTES: Final = 1 << 16


class HttpResponse(NamedTuple):
    """A whole response."""

    status: int
    body: bytes


class _Connection(NamedTuple):
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @property
    def is_usable(self) -> bool:
        return not (self.reader.at_eof() or self.writer.is_closing())


class HttpClient:
    """Requests `url`, with kept connections if `keeps_alive`."""

    def __init__(
        self, url: str, *, timeout_seconds: float, max_bytes: int, keeps_alive: bool = False
    ) -> None:
        """`url` is a valid `http:` or `https:` URL."""
        parts = urlsplit(url)
        self._is_tls = parts.scheme == "https"
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if self._is_tls else 80)
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._host_field = parts.netloc.rpartition("@")[2]
        self._timeout_seconds = timeout_seconds
        self._max_bytes = max_bytes
        self._keeps_alive = keeps_alive
        self._tls = ssl.create_default_context() if self._is_tls else None
        self._proxy = find_proxy(url)
        self._idle: list[_Connection] = []

    async def request(
        self, method: str, headers: Mapping[str, str], body: bytes = b""
    ) -> HttpResponse:
        """Return the response, whatever its status.

        Raises:
            OSError: If there is no whole one within the time and the bytes for it.

        Cancellation: safe; the connection is closed.
        """
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await self._request(self._encode(method, headers, body))
        except TimeoutError:
            raise TimeoutError(f"no whole response in {self._timeout_seconds:g} s") from None
        except (HttpParserError, ValueError) as error:
            raise OSError(f"the response is not HTTP: {error}") from None

    def close(self) -> None:
        """Close the kept connections."""
        while self._idle:
            self._idle.pop().writer.close()

    async def _request(self, request: bytes) -> HttpResponse:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_usable:
                connection.writer.close()
                continue
            try:
                return await self._exchange(connection, request)
            except _ClosedBeforeResponse:
                break  # the server closed it while it was idle
        return await self._exchange(await self._connect(), request)

    async def _exchange(self, connection: _Connection, request: bytes) -> HttpResponse:
        parser = _ResponseParser(self._max_bytes)
        try:
            connection.writer.write(request)
            while not parser.is_complete:
                parser.feed(await connection.reader.read(_READ_BYTES))
        except ConnectionError as error:
            connection.writer.close()
            raise (error if parser.has_begun else _ClosedBeforeResponse(str(error))) from None
        except BaseException:
            connection.writer.close()
            raise
        if self._keeps_alive and parser.may_keep_alive and len(self._idle) < _MAX_IDLE_CONNECTIONS:
            self._idle.append(connection)
        else:
            connection.writer.close()
        return HttpResponse(parser.status, bytes(parser.body))

    def _encode(self, method: str, headers: Mapping[str, str], body: bytes) -> bytes:
        via_proxy = self._proxy is not None and not self._is_tls
        target = f"http://{self._host_field}{self._target}" if via_proxy else self._target
        fields = {
            "Host": self._host_field,
            "User-Agent": "push-bridge",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            **({} if self._keeps_alive else {"Connection": "close"}),
            **({"Content-Length": str(len(body))} if body else {}),
            **(self._proxy.headers if via_proxy and self._proxy is not None else {}),
            **headers,
        }
        lines = [
            f"{method} {target} HTTP/1.1",
            *(f"{name}: {text}" for name, text in fields.items()),
        ]
        return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + body

    async def _connect(self) -> _Connection:
        if self._proxy is None:
            server_hostname = self._host if self._is_tls else None
            return _Connection(
                *await asyncio.open_connection(
                    self._host, self._port, ssl=self._tls, server_hostname=server_hostname
                )
            )
        connection = _Connection(*await asyncio.open_connection(self._proxy.host, self._proxy.port))
        if self._tls is not None:
            try:
                await self._open_tunnel(connection, self._proxy, self._tls)
            except BaseException:
                connection.writer.close()
                raise
        return connection

    async def _open_tunnel(
        self, connection: _Connection, proxy: Proxy, tls: ssl.SSLContext
    ) -> None:
        host = f"[{self._host}]" if ":" in self._host else self._host
        lines = [f"CONNECT {host}:{self._port} HTTP/1.1", f"Host: {host}:{self._port}"]
        lines += [f"{name}: {text}" for name, text in proxy.headers.items()]
        connection.writer.write("\r\n".join([*lines, "", ""]).encode())
        try:
            head = await connection.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            raise OSError("the proxy does not answer in HTTP") from None
        status = head.split(b" ", 2)[1:2]
        if status != [b"200"]:
            raise OSError(f"the proxy {proxy.host}:{proxy.port} refuses to connect")
        await connection.writer.start_tls(tls, server_hostname=self._host)


class _ClosedBeforeResponse(ConnectionError):
    """The server closed the connection before a byte of its response."""


class _ResponseParser:
    """Collects one response; `httptools` calls the `on_` methods."""

    def __init__(self, max_bytes: int) -> None:
        self._parser = HttpResponseParser(self)
        self._max_bytes = max_bytes
        self._received_bytes = 0
        self._ends_at_eof = True
        self.has_begun = False
        self.is_complete = False
        self.may_keep_alive = False
        self.status = 0
        self.body = bytearray()

    def feed(self, data: bytes) -> None:
        """Parse the bytes that came; none mean that the connection was closed."""
        if not data:
            if not self.status or not self._ends_at_eof:
                raise ConnectionError("the response ended early")
            self.is_complete = True
            return
        self.has_begun = True
        self._received_bytes += len(data)
        self._parser.feed_data(data)
        if (
            len(self.body) > self._max_bytes
            or self._received_bytes > self._max_bytes + MAX_HEAD_BYTES
        ):
            raise OSError(f"more than {self._max_bytes} bytes")

    def on_header(self, name: bytes, _value: bytes) -> None:
        if name.lower() in {b"content-length", b"transfer-encoding"}:
            self._ends_at_eof = False

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        if self.status < HTTPStatus.OK:  # an interim response: the real one follows
            self.status, self._ends_at_eof = 0, True
            return
        self.is_complete = True
        self.may_keep_alive = self._parser.should_keep_alive()


class Proxy(NamedTuple):
    """Where to ask instead, and the headers for it."""

    host: str
    port: int
    headers: Mapping[str, str]


def find_proxy(url: str) -> Proxy | None:
    """Return the proxy of `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` for `url`, if any."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    location = getproxies().get(parts.scheme)
    if not location or is_loopback_host(host) or proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    proxy = urlsplit(location if "://" in location else f"http://{location}")
    headers = {}
    if proxy.username:
        user = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
        headers["Proxy-Authorization"] = f"Basic {b64encode(user.encode()).decode()}"
    return Proxy(proxy.hostname or "", proxy.port or 80, headers)


def is_loopback_host(host: str) -> bool:
    """Whether `host` is this machine by name or address."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ip_address(name)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
