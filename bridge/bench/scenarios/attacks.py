"""What a hostile client sends, one attack after another; `hostile` measures each.

Rule: an attack is bytes. It opens a connection with `opening`, waits for an answer where it needs
one, and then sends `repeated` for as long as the bridge reads.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

if TYPE_CHECKING:
    from bridge.bench.load.job import Target

_TEXT, _BINARY, _PING, _PONG = 0x81, 0x82, 0x89, 0x8A
_FIRST_FRAGMENT, _FRAGMENT = 0x01, 0x00
_CLIENT_KEY: Final = "AAAAAAAAAAAAAAAAAAAAAA=="
_MAX_SHORT_BYTES, _MAX_LENGTH_16 = 125, 0xFFFF
#: The defaults of BRIDGE_LIMITS__ROOMS and BRIDGE_LIMITS__FRAME_BYTES.
_ROOMS: Final = 200
_FRAME_BYTES: Final = 65_536


def encode_frame(first_byte: int, payload: bytes = b"") -> bytes:
    """Return a client's frame; a mask of zeros leaves the payload as it is."""
    size = len(payload)
    if size <= _MAX_SHORT_BYTES:
        header = bytes((first_byte, 0x80 | size))
    elif size <= _MAX_LENGTH_16:
        header = bytes((first_byte, 0xFE)) + size.to_bytes(2, "big")
    else:
        header = bytes((first_byte, 0xFF)) + size.to_bytes(8, "big")
    return header + bytes(4) + payload


def encode_request(**fields: object) -> bytes:
    """Return the frame of a client's request."""
    return encode_frame(_TEXT, json.dumps(fields, separators=(",", ":")).encode())


def encode_upgrade(target: Target, token: str | None, **query: str) -> bytes:
    """Return a request for a WebSocket."""
    lines = [
        f"GET {target.path}/ws?{urlencode(query)} HTTP/1.1",
        f"Host: {target.host}:{target.port}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {_CLIENT_KEY}",
    ]
    if token is not None:
        lines.append(f"Authorization: Bearer {token}")
    return "\r\n".join([*lines, "", ""]).encode()


@dataclass(frozen=True)
class Attack:
    """One way to hurt others. `connections` send it at the same time."""

    connections: int
    repeated: bytes  #: sent without end; empty for a connection that only stays
    first: bytes = b""  #: sent once, after the answer to the opening
    is_welcomed: bool = True  #: by URL, else it stays before its hello
    request: bytes = b""  #: plain HTTP to open with instead of a WebSocket
    reads: bool = True  #: whether it reads what it is answered

    def opening(self, target: Target, token: str | None, account: str) -> bytes:
        """Return the first bytes of a connection."""
        if self.request:
            return self.request
        if not self.is_welcomed:
            return encode_upgrade(target, None, hello="1")
        return encode_upgrade(target, token, **({} if token is not None else {"account": account}))


def _rooms(prefix: str, count: int) -> list[str]:
    return [f"{prefix}{number}" for number in range(count)]


def _websocket_attacks() -> dict[str, Attack]:
    fragment, fragment_of_a_byte = encode_frame(_FRAGMENT), encode_frame(_FRAGMENT, b"x")
    first_fragment, beyond = encode_frame(_FIRST_FRAGMENT), _rooms("bench-room-", _ROOMS + 1)
    fresh = b"".join(
        encode_request(op=op, rooms=_rooms(f"bench-{turn}-", _ROOMS))
        for turn in range(8)
        for op in ("subscribe", "unsubscribe")
    )
    return {
        "pongs before the hello": Attack(10, encode_frame(_PONG), is_welcomed=False),
        "pings before the hello": Attack(10, encode_frame(_PING), is_welcomed=False),
        "fragments before the hello": Attack(10, fragment, first_fragment, is_welcomed=False),
        "half hellos": Attack(
            200, b"", encode_frame(_FIRST_FRAGMENT, b'{"op":"hello"'), is_welcomed=False
        ),
        "pings": Attack(10, encode_frame(_PING)),
        "pongs": Attack(10, encode_frame(_PONG)),
        "empty fragments": Attack(10, fragment, first_fragment),
        "fragments of a byte": Attack(10, fragment_of_a_byte, first_fragment),
        "heartbeats": Attack(10, encode_request(op="heartbeat")),
        "heartbeats, not read": Attack(10, encode_request(op="heartbeat"), reads=False),
        "subscribes beyond the limit": Attack(10, encode_request(op="subscribe", rooms=beyond)),
        "fresh rooms": Attack(100, fresh),
        "tokens": Attack(10, encode_request(op="token", token="a.b.c")),  # noqa: S106 - no password
        "bad frames": Attack(20, encode_frame(_TEXT, b"{")),
        "binary frames": Attack(20, encode_frame(_BINARY, b"x")),
        "huge bad frames": Attack(20, encode_frame(_TEXT, b"[" * _FRAME_BYTES)),
        "frames beyond the limit": Attack(20, encode_frame(_TEXT, bytes(_FRAME_BYTES + 1))),
        "frames without a mask": Attack(20, bytes((_TEXT, 0))),
    }


def _http_attacks() -> dict[str, Attack]:
    """Attacks without a WebSocket: `request` opens, `repeated` goes on."""
    return {"garbage": Attack(50, b"garbage " * 8, request=b"garbage\r\n\r\n")}


ATTACKS: Final = {**_websocket_attacks(), **_http_attacks()}
