"""The server's side of the WebSocket handshake (RFC 6455, section 4.2).

Rule: ordinary requests, as browsers and libraries send them, match a regular expression. All others
are parsed as HTTP first, and get the same answer. An upgrade to anything else changes nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from websockets.utils import accept_key

from bridge.web.http.problems import encode_problem

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bridge.web.transport.http_request import RequestHead

SUBPROTOCOL: Final = "push-bridge.v1"
_CONNECTION_VALUES: Final = frozenset({b"upgrade", b"keep-alive, upgrade"})
_BODY_HEADERS: Final = frozenset({b"content-length", b"transfer-encoding"})
# 16 bytes in canonical base64.
_match_key: Final = re.compile(rb"[A-Za-z0-9+/]{21}[AQgw]==").fullmatch
# A host name or an IPv4 address, and a port. Others are checked by the HTTP parser.
_match_host: Final = re.compile(rb"[A-Za-z0-9.-]*(?::[0-9]*)?").fullmatch
_match_request: Final = re.compile(
    rb"GET (/[!-~]*) HTTP/1\.1\r\n((?:[A-Za-z0-9-]+:[ -~]*\r\n)+)\r\n"
).fullmatch
_find_headers: Final = re.compile(rb"([A-Za-z0-9-]+):([ -~]*)\r\n").findall
_FAST_PATH_MAX_BYTES: Final = 16_000
_MAX_HEADERS: Final = 100
_ACCEPT_RESPONSE: Final = (
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: {accept}\r\n{more}\r\n"
)
_SUBPROTOCOL_HEADER: Final = f"Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n"
_VERSION: Final = b"13"
_VERSION_HEADERS: Final = {
    "Upgrade": "websocket",
    "Connection": "Upgrade, close",
    "Sec-WebSocket-Version": _VERSION.decode(),
}


class UpgradeRequest(NamedTuple):
    """A request to open a WebSocket; header names are in lower case."""

    target: str
    headers: Mapping[str, Sequence[str]]

    def header(self, name: str) -> str | None:
        """Return the first value of a header, None if it is absent."""
        values = self.headers.get(name)
        return values[0] if values else None


class UpgradeRefusal(NamedTuple):
    """An HTTP status instead of an upgrade, with the remedy in `detail`."""

    status: int
    detail: str


def try_fast_handshake(data: bytes) -> tuple[UpgradeRequest, bytes] | None:
    """Return the request in the first bytes of a connection, and the response that accepts it.

    None if they are not one whole ordinary request.
    """
    match = _match_request(data) if len(data) <= _FAST_PATH_MAX_BYTES else None
    if match is None:
        return None
    target, header_lines = match[1], _find_headers(match[2])
    headers = {name.lower(): value.strip(b" ") for name, value in header_lines}
    key = headers.get(b"sec-websocket-key", b"")
    protocol = headers.get(b"sec-websocket-protocol")
    if not (
        len(headers) == len(header_lines) <= _MAX_HEADERS
        and headers.get(b"upgrade", b"").lower() == b"websocket"
        and headers.get(b"connection", b"").lower() in _CONNECTION_VALUES
        and headers.get(b"sec-websocket-version") == b"13"
        and _match_key(key)
        and (protocol is None or protocol == SUBPROTOCOL.encode())
        and headers.keys().isdisjoint(_BODY_HEADERS)
        and b"host" in headers
        and _match_host(headers[b"host"])
    ):
        return None
    upgrade_request = UpgradeRequest(
        target.decode(), {n.decode(): [v.decode()] for n, v in headers.items()}
    )
    more = "" if protocol is None else _SUBPROTOCOL_HEADER
    return upgrade_request, _ACCEPT_RESPONSE.format(
        accept=accept_key(key.decode()), more=more
    ).encode()


def is_upgrade(head: RequestHead) -> bool:
    """Whether this is a handshake, be it right or wrong. HTTP/1.0 has none (RFC 9110, 7.8)."""
    return (
        head.method == "GET"
        and head.http_version == "1.1"
        and b"websocket" in head.elements(b"upgrade")
        and b"upgrade" in head.elements(b"connection")
        and bool(head.values(b"sec-websocket-key") or head.values(b"sec-websocket-version"))
    )


def negotiate_handshake(
    head: RequestHead, find_refusal: Callable[[UpgradeRequest], UpgradeRefusal | None]
) -> tuple[UpgradeRequest | None, bytes]:
    """Check a handshake; return its request if it is accepted, and the response.

    `find_refusal` comes first: its refusal wins over what is wrong with the handshake.
    """
    headers: dict[str, list[str]] = {}
    for name, value in head.headers:
        headers.setdefault(name.decode(), []).append(value.decode("latin-1"))
    upgrade_request = UpgradeRequest(head.target, headers)
    if refusal := find_refusal(upgrade_request):
        return None, encode_refusal(refusal)
    if head.values(b"sec-websocket-version") != [_VERSION]:
        detail = "the version of WebSocket here is 13 (Sec-WebSocket-Version)"
        return None, encode_problem(426, detail, _VERSION_HEADERS)
    keys = head.values(b"sec-websocket-key")
    if len(keys) != 1 or not _match_key(keys[0]):
        return None, encode_problem(400, "Sec-WebSocket-Key is not 16 bytes in base64")
    offered = b",".join(head.values(b"sec-websocket-protocol")).split(b",")
    is_offered = SUBPROTOCOL.encode() in [each.strip(b" \t") for each in offered]
    more = _SUBPROTOCOL_HEADER if is_offered else ""
    accept = accept_key(keys[0].decode())
    return upgrade_request, _ACCEPT_RESPONSE.format(accept=accept, more=more).encode()


def encode_refusal(refusal: UpgradeRefusal) -> bytes:
    """Return the RFC 9457 response in place of an upgrade."""
    return encode_problem(refusal.status, refusal.detail)
