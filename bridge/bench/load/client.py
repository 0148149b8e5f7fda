"""One client: its socket, what it has told and was told last, and what it reads.

Rule: it keeps no more than it needs, because ten thousand of them are in one process.
"""

from __future__ import annotations

import base64
import contextlib
import os
import socket
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from bridge.bench.load.delivery_check import Reader

if TYPE_CHECKING:
    from bridge.bench.load.job import Job, Target
    from bridge.bench.load.stream_reader import Tape, Walk

_BIND_WITHOUT_PORT: Final = 24  # IP_BIND_ADDRESS_NO_PORT: ports are chosen for each destination
_SMALL_BUFFER: Final = 16_384
_KEY: Final = base64.b64encode(os.urandom(16)).decode()
_HEAD_END: Final = b"\r\n\r\n"
_LONGEST_REASON: Final = 200


class State(IntEnum):
    """How far a client has come."""

    AWAY = 0
    CONNECTING = 1
    UPGRADING = 2
    GREETING = 3
    OPEN = 4  #: it was welcomed
    LIVE = 5  #: it has been given what it had missed, too
    GONE = 6


class Client:
    """One of many."""

    __slots__ = (
        *("closing", "cursor", "head", "number", "reader", "returning", "socket", "stalled"),
        *("state", "way"),
    )

    def __init__(self, number: int, way: Tape | Walk) -> None:
        self.number = number
        self.way = way  #: what takes apart whatever it reads
        self.reader = Reader()
        self.state = State.AWAY
        self.socket: socket.socket | None = None
        self.head = b""  #: what has come of the answer to its request
        self.cursor: str | None = None
        self.closing: dict[str, Any] | None = None
        self.returning = False  #: it comes back with its cursor
        self.stalled = False

    def dial(self, job: Job) -> tuple[socket.socket, int]:
        """Begin to connect; return the socket and what the system says to it."""
        target = self._target(job)
        family = socket.AF_INET6 if ":" in target.host else socket.AF_INET
        dialled = socket.socket(family, socket.SOCK_STREAM)
        dialled.setblocking(False)  # noqa: FBT003 - it has no other name
        if self.number < job.stalled:
            dialled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_BUFFER)
        if job.sources > 1:
            with contextlib.suppress(OSError):
                dialled.setsockopt(socket.IPPROTO_IP, _BIND_WITHOUT_PORT, 1)
            dialled.bind((f"127.0.0.{1 + self.number % job.sources}", 0))
        self.socket = dialled
        self.state = State.CONNECTING
        self.head = b""
        self.closing = None
        return dialled, dialled.connect_ex((target.host, target.port))

    def request(self, job: Job) -> bytes:
        """Return what it says first."""
        target = self._target(job)
        query = {"topics": job.topic}
        if job.account is not None and job.token is None:
            query["account"] = f"{job.account}{self.number}"
        if job.room is not None:
            query["rooms"] = job.room
        if self.returning and self.cursor is not None:
            query["cursor"] = self.cursor
        host = f"[{target.host}]" if ":" in target.host else target.host
        lines = [
            f"GET {target.path}/ws?{urlencode(query)} HTTP/1.1",
            f"Host: {host}:{target.port}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {_KEY}",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Protocol: push-bridge.v1",
        ]
        if job.token is not None:
            lines.append(f"Authorization: Bearer {job.token}")
        return "\r\n".join([*lines, "", ""]).encode()

    def upgraded(self, data: bytes) -> bytes | None:
        """Take a part of the answer in; return what is behind it, or None while it is not whole.

        Raises:
            ConnectionError: If the answer is another than was asked for.
        """
        self.head += data
        end = self.head.find(_HEAD_END)
        if end < 0:
            return None
        head, rest = self.head[:end], self.head[end + len(_HEAD_END) :]
        status = head.partition(b"\r\n")[0]
        if status.split(b" ")[1:2] != [b"101"]:
            said = b" ".join((status, rest[:_LONGEST_REASON])).decode("utf-8", "replace")
            raise ConnectionError(" ".join(said.split()))
        self.head = b""
        self.state = State.GREETING
        return rest

    def close(self) -> None:
        """Let go of the socket."""
        if self.socket is not None:
            self.socket.close()
            self.socket = None

    def _target(self, job: Job) -> Target:
        return job.targets[self.number % len(job.targets)]
