"""One connection of the client under test, seen from the server that the runner plays.

The rule kept here: it answers nothing by itself but WebSocket's own pings, so a scenario alone
says what the client is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from websockets.exceptions import ConnectionClosed, InvalidState
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

if TYPE_CHECKING:
    from collections.abc import Mapping

SUBPROTOCOL = "push-bridge.v1"
_SSE_RESPONSE = (
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
    "Access-Control-Allow-Origin: *\r\nConnection: close\r\n\r\nretry: 1000\n"
)
_LISTS = ("topics", "rooms", "types")


class PeerConnection:
    """A client's connection: what it asked for, the frames that it sent, and when it ended."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.frames: asyncio.Queue[str | None] = asyncio.Queue()  # None: it ended
        self.close_code: int | None = None  # with which the client closed
        self.request: Request | None = None
        self.is_sse = False
        self._reader = reader
        self._writer = writer
        self._protocol = ServerProtocol(subprotocols=[SUBPROTOCOL], max_size=None)  # type: ignore[list-item]

    # -- the request -------------------------------------------------------------------------------

    async def read_request(self) -> bool:
        """Read the request; whether one came."""
        while self.request is None and (data := await self._read()):
            self._protocol.receive_data(data)
            for event in self._protocol.events_received():
                if isinstance(event, Request):
                    self.request = event
        return self.request is not None

    @property
    def path(self) -> str:
        return urlsplit(self.request.path).path if self.request else ""

    @property
    def query(self) -> dict[str, str]:
        found = parse_qs(urlsplit(self.request.path).query) if self.request else {}
        return {name: values[-1] for name, values in found.items()}

    def hello(self) -> dict[str, Any]:
        """What a stream's request asks for, in the form of a hello frame."""
        assert self.request is not None
        fields: dict[str, Any] = {
            name: value.split(",") if name in _LISTS else value
            for name, value in self.query.items()
        }
        bearer = self.request.headers.get("Authorization", "").removeprefix("Bearer ")
        cursor = self.request.headers.get("Last-Event-ID")
        return {
            **fields,
            **({"token": bearer} if bearer else {}),
            **({"cursor": cursor} if cursor else {}),
        }

    # -- answers -----------------------------------------------------------------------------------

    def upgrade(self) -> None:
        """Answer the request with a WebSocket."""
        assert self.request is not None
        self._protocol.send_response(self._protocol.accept(self.request))
        self._flush()

    def start_sse(self) -> None:
        """Answer the request with an event stream."""
        self.is_sse = True
        self._writer.write(_SSE_RESPONSE.encode())

    def refuse(self, status: int, headers: Mapping[str, str]) -> None:
        """Answer the request with an HTTP error."""
        body = json.dumps({"title": "refused", "status": status, "detail": "refused"})
        all_headers = {
            "Content-Type": "application/problem+json",
            "Content-Length": str(len(body)),
            "Access-Control-Allow-Origin": "*",
            "Connection": "close",
            **headers,
        }
        lines = [
            f"HTTP/1.1 {status} Refused",
            *(f"{k}: {v}" for k, v in all_headers.items()),
            "",
            body,
        ]
        self._writer.write("\r\n".join(lines).encode())
        self._writer.close()

    def send(self, text: str, op: str, id: str | None) -> None:
        """Send one frame; on a stream with the cursor `id` behind it, where there is one."""
        if self.is_sse:
            block = f"event: {op}\ndata: {text}\n" + (f"id: {id}\n" if id else "") + "\n"
            self._writer.write(block.encode())
            return
        with contextlib.suppress(InvalidState):  # the client has gone: what follows shows it
            self._protocol.send_text(text.encode())
        self._flush()

    def close(self, code: int, reason: str) -> None:
        """Close politely."""
        if self.is_sse:
            self._writer.close()
            return
        with contextlib.suppress(InvalidState):
            self._protocol.send_close(code, reason)
        self._flush()

    def abort(self) -> None:
        """Let TCP break."""
        self._writer.transport.abort()

    # -- what comes --------------------------------------------------------------------------------

    async def read_frames(self) -> None:
        """Take in what the client sends until it has gone."""
        text = bytearray()
        while data := await self._read():
            if self.is_sse:
                continue
            self._protocol.receive_data(data)
            for event in self._protocol.events_received():
                if isinstance(event, Frame) and event.opcode in {Opcode.TEXT, Opcode.CONT}:
                    text += event.data
                    if event.fin:
                        self.frames.put_nowait(text.decode())
                        text.clear()
            self._flush()
            if self._protocol.close_expected() and self._protocol.state is not State.OPEN:
                break
        if self._protocol.close_rcvd is not None:
            self.close_code = self._protocol.close_rcvd.code
        self.frames.put_nowait(None)
        self._writer.close()

    async def _read(self) -> bytes:
        try:
            return await self._reader.read(65_536)
        except OSError:
            return b""

    def _flush(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            for data in self._protocol.data_to_send():
                if data and not self._writer.is_closing():
                    self._writer.write(data)
