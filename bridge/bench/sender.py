"""The least that can be called a bridge, to find the clients' own ceiling with.

`python -m bridge.bench.sender RUN CLIENTS JOINED SECONDS SIZE KIND` prints its port, lets so many
clients in, and at each line on its standard input sends for so long, as fast as it can: KIND
`alike` is the same to everybody, `distinct` is for each something else. It prints what it sent.

Rule: the frames are a bridge's own in form and size, and no client is sent anything twice.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from typing import TYPE_CHECKING, Final

from bridge.bench.load.frames import text_frame
from bridge.bench.load.payload import Envelope

if TYPE_CHECKING:
    from collections.abc import Callable

_ACCEPTED: Final = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
)
_WELCOME: Final = b'{"op":"welcome","cursor":"c"}'
_FRAME: Final = (
    b'{"op":"event","topic":"bench","at":"bench:0:%010d","to":"account","id":"bench:0:%010d",'
    b'"type":"event","time":"2026-11-21T09:00:00.000Z",%s'
)


class Frames:
    """Makes the frames of a bridge for records of a size."""

    def __init__(self, run: str, size: int) -> None:
        self._envelope = Envelope(run, {"accounts": ["bench-000000"]}, size)

    def frame(self, lane: int, number: int) -> bytes:
        """Return the frame of the event that is made now."""
        value = self._envelope.value(lane, number, time.monotonic_ns())
        return text_frame(_FRAME % (number, number, value[value.index(b'"data"') :]))


def _let_in(listening: socket.socket, count: int) -> list[socket.socket]:
    clients = []
    for _ in range(count):
        client, _ = listening.accept()
        asked = b""
        while b"\r\n\r\n" not in asked:
            received = client.recv(4096)
            if not received:
                raise ConnectionError("a client has gone in the middle of its handshake")
            asked += received
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.sendall(_ACCEPTED + text_frame(_WELCOME))
        lane = int(asked.partition(b"account=")[2].split(b" ")[0].split(b"&")[0])
        clients.append((lane, client))
    return [client for _, client in sorted(clients, key=lambda it: it[0])]


def alike(clients: list[socket.socket], frames: Frames, joined: int, end: float) -> dict[int, int]:
    """Send everybody the same until `end`; return how many events the one lane has had."""
    number = 0
    while time.monotonic() < end:
        data = b"".join([frames.frame(0, number + each) for each in range(joined)])
        number += joined
        for client in clients:
            client.sendall(data)
    return {0: number}


def distinct(
    clients: list[socket.socket], frames: Frames, joined: int, end: float
) -> dict[int, int]:
    """Send each its own until `end`; return how many events each lane has had."""
    number = 0
    while time.monotonic() < end:
        for lane, client in enumerate(clients):
            client.sendall(b"".join([frames.frame(lane, number + each) for each in range(joined)]))
        number += joined
    return dict.fromkeys(range(len(clients)), number)


def main(run: str, count: str, joined: str, seconds: str, size: str, kind: str) -> None:
    """Be the process."""
    kinds: dict[str, Callable[[list[socket.socket], Frames, int, float], dict[int, int]]]
    kinds = {"alike": alike, "distinct": distinct}
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listening:
        _say(listening.getsockname()[1])
        clients = _let_in(listening, int(count))
    frames = Frames(run, int(size))
    while sys.stdin.readline():
        used, begun = time.process_time(), time.monotonic()
        sent = kinds[kind](clients, frames, int(joined), begun + float(seconds))
        cpu = time.process_time() - used
        _say({"sent": sent, "cpu": cpu, "seconds": time.monotonic() - begun})


def _say(what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(130)
