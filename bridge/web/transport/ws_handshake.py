"""The server's side of the WebSocket handshake (RFC 6455, section 4.2).

Rule: ordinary requests, as browsers and libraries send them, match a regular expression. All others
go to `websockets`; nothing is accepted that the library would not accept.
"""

from __future__ import annotations

import logging
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from websockets.server import ServerProtocol
from websockets.utils import accept_key

from bridge.web.http.problems import problem_response

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from websockets.http11 import Request

SUBPROTOCOL: Final = "push-bridge.v1"
_log = logging.getLogger(__name__)
_log.setLevel(logging.CRITICAL)  # malformed handshakes are the clients' errors
_CONNECTION_VALUES: Final = frozenset({b"upgrade", b"keep-alive, upgrade"})
_BODY_HEADERS: Final = frozenset({b"content-length", b"transfer-encoding"})
# 16 bytes in canonical base64.
_match_key: Final = re.compile(rb"[A-Za-z0-9+/]{21}[AQgw]==").fullmatch
_match_request: Final = re.compile(
    rb"GET (/[!-~]*) HTTP/1\.1\r\n((?:[A-Za-z0-9-]+:[ -~]*\r\n)+)\r\n"
).fullmatch
_find_headers: Final = re.compile(rb"([A-Za-z0-9-]+):([ -~]*)\r\n").findall
_FAST_PATH_MAX_BYTES: Final = 16_000
_MAX_HEADERS: Final = 100
_MAX_LINE_BYTES: Final = 8_000
_ACCEPT_RESPONSE: Final = (
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: {accept}\r\n{more}\r\n"
)
_SUBPROTOCOL_HEADER: Final = f"Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n"
_REFUSAL_RESPONSE: Final = (
    "HTTP/1.1 {status} {title}\r\nConnection: close\r\nContent-Type: {type}\r\n"
    "Content-Length: {size}\r\n\r\n"
)
# For bytes in which `websockets` finds no request.
_BAD_REQUEST_RESPONSE: Final = (
    b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
)


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
        and max(map(len, (target, *headers.values()))) < _MAX_LINE_BYTES
    ):
        return None
    upgrade_request = UpgradeRequest(
        target.decode(), {n.decode(): [v.decode()] for n, v in headers.items()}
    )
    more = "" if protocol is None else _SUBPROTOCOL_HEADER
    return upgrade_request, _ACCEPT_RESPONSE.format(
        accept=accept_key(key.decode()), more=more
    ).encode()


def negotiate_handshake(
    data: bytes, find_refusal: Callable[[UpgradeRequest], UpgradeRefusal | None]
) -> tuple[UpgradeRequest | None, bytes]:
    """Let `websockets` check a request; return it if it is accepted, and the response.

    `find_refusal` comes first: its refusal of a readable request wins over the library's.
    """
    server_protocol = ServerProtocol(
        subprotocols=[SUBPROTOCOL],  # type: ignore[list-item]
        select_subprotocol=_select_subprotocol,
        logger=_log,
    )
    server_protocol.receive_data(data)
    for event in server_protocol.events_received():
        request = cast("Request", event)
        headers: dict[str, list[str]] = {}
        for name, value in request.headers.raw_items():
            headers.setdefault(name.lower(), []).append(value)
        upgrade_request = UpgradeRequest(request.path, headers)
        if refusal_found := find_refusal(upgrade_request):
            return None, encode_refusal(refusal_found)
        response = server_protocol.accept(request)
        server_protocol.send_response(response)
        if response.status_code == 101:  # noqa: PLR2004
            return upgrade_request, b"".join(server_protocol.data_to_send())
    return None, b"".join(server_protocol.data_to_send()) or _BAD_REQUEST_RESPONSE


def encode_refusal(refusal: UpgradeRefusal) -> bytes:
    """Return the RFC 9457 response in place of an upgrade."""
    response = problem_response(refusal.status, refusal.detail)
    body = bytes(response.body)
    head = _REFUSAL_RESPONSE.format(
        status=refusal.status,
        title=HTTPStatus(refusal.status).phrase,
        type=response.headers["Content-Type"],
        size=len(body),
    )
    return head.encode() + body


def _select_subprotocol(_server_protocol: ServerProtocol, offered: Any) -> Any:  # noqa: ANN401 - websockets' NewType
    """Return our subprotocol if it is offered, else None."""
    return SUBPROTOCOL if SUBPROTOCOL in offered else None
