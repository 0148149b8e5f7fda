"""A client that says every byte itself: for what a decent library would never send."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import socket
from typing import Any, NamedTuple, Self

from websockets.frames import Frame, Opcode

from tests.harness.frame_schemas import read_frame

TIMEOUT_SECONDS = 20.0
WEBSOCKET_KEY = base64.b64encode(b"sixteen bytes...").decode()
UPGRADE_HEADERS = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": WEBSOCKET_KEY,
}


def frame_bytes(
    payload: bytes, opcode: int = Opcode.TEXT, *, fin: bool = True, mask: bool = True
) -> bytes:
    """Return one frame as the websockets library writes it."""
    return Frame(Opcode(opcode), payload, fin).serialize(mask=mask)


class HttpResponse(NamedTuple):
    """What HTTP answered; the names of headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class RawConnection:
    """One TCP connection. Nothing is read from it but what a test asks for."""

    def __init__(self, host: str, port: int, receive_bytes: int | None = None) -> None:
        self.host, self.port = host, port
        self._receive_bytes = receive_bytes
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def __aenter__(self) -> Self:
        sock = socket.socket()
        sock.setblocking(False)
        if self._receive_bytes is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_bytes)
        await asyncio.get_running_loop().sock_connect(sock, (self.host, self.port))
        # The stream reads ahead by twice its limit, and no further.
        self._reader, self._writer = await asyncio.open_connection(sock=sock, limit=4096)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.transport.abort()
        with contextlib.suppress(ConnectionError):  # the bridge had cut it off
            await self._writer.wait_closed()

    def upgrade_request(self, target: str = "/ws", **headers: str | None) -> str:
        """The request for a WebSocket; a header of None is left out."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        all_headers = {"Host": f"{self.host}:{self.port}", **UPGRADE_HEADERS, **named}
        lines = [f"{name}: {value}" for name, value in all_headers.items() if value is not None]
        return "\r\n".join([f"GET {target} HTTP/1.1", *lines, "", ""])

    async def upgrade(self, target: str = "/ws", **headers: str | None) -> HttpResponse:
        """Ask for a WebSocket, as `handshake` says."""
        return await self.request(self.upgrade_request(target, **headers))

    async def request(self, text: str, *, has_no_body: bool = False) -> HttpResponse:
        """Send a request as it stands; return the answer, as far as its length is told."""
        self.send(text.encode("latin-1"))
        async with asyncio.timeout(TIMEOUT_SECONDS):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.rstrip().split("\r\n")
            pairs = (line.partition(": ") for line in lines)
            fields = {name.lower(): value for name, _, value in pairs}
            length = 0 if has_no_body else int(fields.get("content-length", "0"))
            body = await self._reader.readexactly(length)
        return HttpResponse(int(first.split()[1]), fields, body)

    async def read_chunk(self) -> bytes:
        """The next chunk of an answer (RFC 9112, 7.1); the last one is empty."""
        size = int(await self._reader.readuntil(b"\r\n"), 16)
        return (await self._reader.readexactly(size + 2))[:-2]

    def abort(self) -> None:
        """Be gone without a word."""
        self._writer.transport.abort()

    def send(self, data: bytes) -> None:
        """Send bytes as they stand."""
        self._writer.write(data)

    async def drain(self) -> None:
        """Wait until most of what was sent is on its way."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await self._writer.drain()

    def send_frame(self, op: str, **fields: Any) -> None:
        """Send one frame of the contract."""
        self.send(frame_bytes(json.dumps({"op": op, **fields}).encode()))

    async def read_frame(self) -> tuple[int, bytes]:
        """The opcode and payload of the next frame, which must be whole, bare and unmasked."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            first, size = await self._reader.readexactly(2)
            if size >= 126:
                width = 2 if size == 126 else 8
                size = int.from_bytes(await self._reader.readexactly(width), "big")
            payload = await self._reader.readexactly(size)
        assert first & 0xF0 == 0x80, "a server's frame is whole, and has no reserved bit"
        return first & 0x0F, payload

    async def json(self) -> dict[str, Any]:
        """The next text."""
        opcode, payload = await self.read_frame()
        assert opcode == Opcode.TEXT, (opcode, payload)
        return read_frame(payload)

    async def read_text(self) -> dict[str, Any]:
        """The next text, whatever pings come before it."""
        while True:
            opcode, payload = await self.read_frame()
            assert opcode != Opcode.CLOSE, payload
            if opcode == Opcode.TEXT:
                frame: dict[str, Any] = json.loads(payload)
                return frame

    async def read_until_close(self) -> tuple[int, dict[str, Any] | None]:
        """The code of the close frame, and the text before it; pings and pongs do not count."""
        last: dict[str, Any] | None = None
        while True:
            opcode, payload = await self.read_frame()
            if opcode == Opcode.CLOSE:
                return int.from_bytes(payload[:2], "big"), last
            if opcode == Opcode.TEXT:
                last = read_frame(payload)

    async def read_to_end(self) -> bytes:
        """What still comes until the other side ends the connection."""
        rest = b""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            with contextlib.suppress(ConnectionError):  # it was cut off
                while data := await self._reader.read(1 << 16):
                    rest += data
        return rest
