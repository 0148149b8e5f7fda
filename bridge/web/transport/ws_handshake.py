"""The handshake of a WebSocket (RFC 6455, section 4.2).

Rule: an ordinary one, as browsers and libraries begin it, is answered at a glance; any other is
left to `websockets`, so that nothing is let in that the library would not let in.
"""

from __future__ import annotations

import logging
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from websockets.server import ServerProtocol
from websockets.utils import accept_key

from bridge.web.http.problems import problem

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from websockets.http11 import Request

SUBPROTOCOL: Final = "push-bridge.v1"
_log = logging.getLogger(__name__)
_log.setLevel(logging.CRITICAL)  # a rude client's handshake is its own affair
_CONNECTIONS: Final = frozenset({b"upgrade", b"keep-alive, upgrade"})
_BODIES: Final = frozenset({b"content-length", b"transfer-encoding"})
# What 16 bytes are in base64, written as they should be.
_KEY: Final = re.compile(rb"[A-Za-z0-9+/]{21}[AQgw]==").fullmatch
_HEAD: Final = re.compile(
    rb"GET (/[!-~]*) HTTP/1\.1\r\n((?:[A-Za-z0-9-]+:[ -~]*\r\n)+)\r\n"
).fullmatch
_HEADERS: Final = re.compile(rb"([A-Za-z0-9-]+):([ -~]*)\r\n").findall
_LONGEST_HEAD: Final = 16_000
_MOST_HEADERS: Final = 100
_LONGEST_LINE: Final = 8_000
_ACCEPTED: Final = (
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: {accept}\r\n{more}\r\n"
)
_CHOSEN: Final = f"Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n"
_REFUSED: Final = (
    "HTTP/1.1 {status} {title}\r\nConnection: close\r\nContent-Type: {type}\r\n"
    "Content-Length: {size}\r\n\r\n"
)
# For what `websockets` does not take for a request at all.
_BAD_REQUEST: Final = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class Opening(NamedTuple):
    """A request to open a WebSocket: its target, and its headers by their names in lower case."""

    target: str
    headers: Mapping[str, Sequence[str]]

    def header(self, name: str) -> str | None:
        """Return the first value of a header, None where there is none."""
        values = self.headers.get(name)
        return values[0] if values else None


class Refusal(NamedTuple):
    """An HTTP status instead of an upgrade, and a sentence that says what to change."""

    status: int
    detail: str


def glance(data: bytes) -> tuple[Opening, bytes] | None:
    """Return the request that the first bytes of a connection are, and the answer that accepts it.

    None where they are not a whole request, or not an ordinary one.
    """
    whole = _HEAD(data) if len(data) <= _LONGEST_HEAD else None
    if whole is None:
        return None
    target, lines = whole[1], _HEADERS(whole[2])
    headers = {name.lower(): value.strip(b" ") for name, value in lines}
    key = headers.get(b"sec-websocket-key", b"")
    protocol = headers.get(b"sec-websocket-protocol")
    if not (
        len(headers) == len(lines) <= _MOST_HEADERS
        and headers.get(b"upgrade", b"").lower() == b"websocket"
        and headers.get(b"connection", b"").lower() in _CONNECTIONS
        and headers.get(b"sec-websocket-version") == b"13"
        and _KEY(key)
        and (protocol is None or protocol == SUBPROTOCOL.encode())
        and headers.keys().isdisjoint(_BODIES)
        and max(map(len, (target, *headers.values()))) < _LONGEST_LINE
    ):
        return None
    opening = Opening(target.decode(), {n.decode(): [v.decode()] for n, v in headers.items()})
    more = "" if protocol is None else _CHOSEN
    return opening, _ACCEPTED.format(accept=accept_key(key.decode()), more=more).encode()


def judged(
    data: bytes, refusal: Callable[[Opening], Refusal | None]
) -> tuple[Opening | None, bytes]:
    """Let `websockets` judge a request; return it, if it is to be let in, and the answer.

    `refusal` says why a request that could be read is not let in, whatever the library says of it.
    """
    machine = ServerProtocol(
        subprotocols=[SUBPROTOCOL],  # type: ignore[list-item]
        select_subprotocol=_select,
        logger=_log,
    )
    machine.receive_data(data)
    for event in machine.events_received():
        request = cast("Request", event)
        values: dict[str, list[str]] = {}
        for name, value in request.headers.raw_items():
            values.setdefault(name.lower(), []).append(value)
        opening = Opening(request.path, values)
        if why := refusal(opening):
            return None, refused(why)
        response = machine.accept(request)
        machine.send_response(response)
        if response.status_code == 101:  # noqa: PLR2004
            return opening, b"".join(machine.data_to_send())
    return None, b"".join(machine.data_to_send()) or _BAD_REQUEST


def refused(why: Refusal) -> bytes:
    """Return the answer instead of an upgrade, in the form that all of HTTP's errors have."""
    told = problem(why.status, why.detail)
    body = bytes(told.body)
    head = _REFUSED.format(
        status=why.status,
        title=HTTPStatus(why.status).phrase,
        type=told.headers["Content-Type"],
        size=len(body),
    )
    return head.encode() + body


def _select(_machine: ServerProtocol, offered: Any) -> Any:  # noqa: ANN401 - websockets' NewType
    """Choose our subprotocol where it is offered, and none where none of ours is."""
    return SUBPROTOCOL if SUBPROTOCOL in offered else None
