"""Hostile clients beside honest ones: each attacks over and over until the story ends.

Rule: an attack needs no credential, and the bridge may end its connection at any time.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from tests.harness.ports import HOST

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from random import Random

CONNECT_TIMEOUT_SECONDS: Final = 5.0
ATTACK_SECONDS: Final = 3.0
PAUSE_SECONDS: Final = (0.5, 2.0)
_UPGRADE: Final = (
    b"GET /ws?%s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
_MASK: Final = bytes(4)


def _text(payload: bytes) -> bytes:
    """Return a masked text frame of at most 125 bytes."""
    return bytes([0x81, 0x80 | len(payload)]) + _MASK + payload


_PONG, _EMPTY_FRAGMENT = b"\x8a\x80" + _MASK, b"\x00\x80" + _MASK
_HELLO: Final = _UPGRADE % b"hello=1"
_ACCOUNT: Final = _UPGRADE % b"account=hostile"
#: The first bytes of a connection, and what is then sent without end.
ATTACKS: Final = {
    "pongs before the hello": (_HELLO, _PONG * 8192),
    "empty fragments": (_HELLO, b"\x01\x80" + _MASK + _EMPTY_FRAGMENT * 8192),
    "heartbeats": (_ACCOUNT, _text(b'{"op":"heartbeat"}') * 2048),
    "bad frames": (_ACCOUNT, _text(b"no JSON") * 4096),
    "rooms": (_ACCOUNT, _text(b'{"op":"subscribe","rooms":["a","b","c"]}') * 1024),
    "a head without end": (b"GET / HTTP/1.1\r\n", b"a: b\r\n" * 4096),
    "trailers": (
        b"POST /v1/events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
        b"a: b\r\n" * 4096,
    ),
    "pipelined requests": (b"", b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n" * 1024),
    "a body that stops": (
        b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n",
        b"",
    ),
    "garbage": (b"\x16\x03\x01\x02\x00" * 100, b""),
}


async def attack_forever(ports: Sequence[int], rng: Random) -> None:
    """Attack one instance after another, until cancelled."""
    while True:
        first, rest = ATTACKS[rng.choice(sorted(ATTACKS))]
        with contextlib.suppress(OSError, TimeoutError):
            await _attack_once(rng.choice(ports), first, rest)
        await asyncio.sleep(rng.uniform(*PAUSE_SECONDS))


async def _attack_once(port: int, first: bytes, rest: bytes) -> None:
    async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
        reader, writer = await asyncio.open_connection(HOST, port)
    try:
        async with asyncio.timeout(ATTACK_SECONDS):
            writer.write(first)
            await writer.drain()
            while rest:
                writer.write(rest)
                await writer.drain()
            while await reader.read(65536):
                pass
    finally:
        writer.transport.abort()


@contextlib.asynccontextmanager
async def hostile_clients(
    ports: Sequence[int], count: int, make_rng: Callable[[int], Random]
) -> AsyncIterator[None]:
    """Run so many hostile clients beside the block."""
    tasks = [asyncio.create_task(attack_forever(ports, make_rng(n))) for n in range(count)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
