"""A backend that answers the bridge's questions on a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class CallbackBackend:
    """Answers with `status` and `answer`; keeps what it was asked."""

    def __init__(self) -> None:
        self.status = 200
        self.answer: Any = {"account": "alice", "rooms": ["lobby"]}
        self.raw: bytes | None = None  #: the whole response, in place of those
        self.questions: list[dict[str, Any]] = []
        self.bodies: list[bytes] = []
        self.heads: list[dict[str, str]] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.url = ""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection's requests."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                fields = dict(line.split(": ", 1) for line in head[1:] if line)
                body = await reader.readexactly(int(fields["Content-Length"]))
                self.heads.append({"method": head[0].split()[0], **fields})
                self.bodies.append(body)
                self.questions.append(json.loads(body))
                await self.may_answer.wait()
                writer.write(self._response())
                await writer.drain()
        writer.close()

    def _response(self) -> bytes:
        if self.raw is not None:
            return self.raw
        body = b"" if self.answer is None else json.dumps(self.answer).encode()
        phrase = HTTPStatus(self.status).phrase
        return b"HTTP/1.1 %d %b\r\nContent-Length: %d\r\nLocation: /no\r\n\r\n%b" % (
            *(self.status, phrase.encode(), len(body)),
            body,
        )


@contextlib.asynccontextmanager
async def callback_backend() -> AsyncIterator[CallbackBackend]:
    """Run a backend."""
    backend = CallbackBackend()
    async with await asyncio.start_server(backend.handle, "127.0.0.1", 0) as server:
        backend.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/ask"
        yield backend
        backend.may_answer.set()
