"""Thousands of clients in one process: each takes its bytes in, and is judged when all is over.

The rule kept here: the load must weigh less than what is loaded. So nothing is parsed while it
comes; a ping is answered, and the first `live` is looked for, by searching the bytes.

    python -m tests.journey.client_pool HOST PORT COUNT

keeps COUNT clients connected and, for each line on its standard input, prints the longest time
since the line before for which one of them had to wait for a heartbeat.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlencode

if TYPE_CHECKING:
    from collections.abc import Iterator

_UPGRADE: Final = (
    "GET /ws?{query} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
_PING, _PONG = b"\x89\x00", b"\x8a\x80\x00\x00\x00\x00"
_LIVE, _HEARTBEAT = b'"op":"live"', b'"op":"heartbeat"'
_LONGEST = max(map(len, (_PING, _LIVE, _HEARTBEAT)))
_TEXT, _LENGTH_16, _LENGTH_64 = 0x81, 126, 127


class BufferedClient(asyncio.Protocol):
    """One client. `live` is when it was, on the loop's clock; None until then."""

    def __init__(self, host: str, port: int, **query: str) -> None:
        self._request = _UPGRADE.format(host=host, port=port, query=urlencode(query)).encode()
        self._chunks: list[bytes] = []
        self._tail = b""
        self._transport: asyncio.Transport | None = None
        self._now = asyncio.get_running_loop().time
        self.live_at: float | None = None
        self.ended = asyncio.Event()  #: it is live, or its connection was lost

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._chunks.append(data)
        seen = self._tail + data
        self._tail = seen[-_LONGEST + 1 :]
        if self._transport is not None and _PING in seen:
            self._transport.write(_PONG)
        if self.live_at is None and _LIVE in seen:
            self.live_at = self._now()
            self.ended.set()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the frames tell why
        self.ended.set()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def texts(self) -> Iterator[bytes]:
        """The text of each frame that came, whole ones only."""
        data = b"".join(self._chunks)
        at = data.find(b"\r\n\r\n") + 4
        while at >= 4 and at + 2 <= len(data):
            first, size = data[at], data[at + 1]
            at += 2
            if size >= _LENGTH_16:
                width = 2 if size == _LENGTH_16 else 8
                size = int.from_bytes(data[at : at + width], "big")
                at += width
            if first == _TEXT and at + size <= len(data):
                yield data[at : at + size]
            at += size

    def frames(self) -> list[dict[str, Any]]:
        return [json.loads(text) for text in self.texts()]


class HeartbeatClient(BufferedClient):
    """One that is live from its welcome on, and minds how long it waits for heartbeats."""

    def __init__(self, host: str, port: int, **query: str) -> None:
        super().__init__(host, port, **query)
        self._last_heartbeat = self._now()
        self._longest_wait = 0.0

    def data_received(self, data: bytes) -> None:
        if _HEARTBEAT in self._tail + data:
            self._update_longest_wait()
            self._last_heartbeat = self._now()
            self._tail = b""
        super().data_received(data)
        self._chunks.clear()

    def connection_lost(self, exc: Exception | None) -> None:
        self._last_heartbeat = -float("inf")  # none will come any more
        super().connection_lost(exc)

    def take_longest_wait(self) -> float:
        """The longest wait since this was asked last, the present one too."""
        self._update_longest_wait()
        longest, self._longest_wait = self._longest_wait, 0.0
        return longest

    def _update_longest_wait(self) -> None:
        self._longest_wait = max(self._longest_wait, self._now() - self._last_heartbeat)


async def connect_all(host: str, port: int, clients: list[BufferedClient]) -> None:
    """Connect all of them, at once."""
    loop = asyncio.get_running_loop()
    await asyncio.gather(
        *(loop.create_connection(lambda it=client: it, host, port) for client in clients)  # type: ignore[misc]
    )


async def run_heartbeat_clients(host: str, port: int, count: int) -> None:
    """Be the program that is described above."""
    clients = [HeartbeatClient(host, port, account=f"watcher-{n}") for n in range(count)]
    await connect_all(host, port, [*clients])
    while await asyncio.to_thread(sys.stdin.readline):
        print(max(client.take_longest_wait() for client in clients), flush=True)  # noqa: T201


if __name__ == "__main__":
    asyncio.run(run_heartbeat_clients(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
