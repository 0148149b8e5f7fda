"""One load client: its socket, its state and its upgrade request.

Rule: it keeps no more than it needs, because one process holds ten thousand of them.
"""

from __future__ import annotations

import base64
import contextlib
import os
import socket
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from bridge.bench.load.delivery_check import ReadProgress

if TYPE_CHECKING:
    from bridge.bench.load.job import LoadJob, Target
    from bridge.bench.load.stream_reader import PrivateStreamReader, SharedStreamReader

# From <linux/in.h>: the kernel chooses a port at connect(), so each destination has all of them.
_IP_BIND_ADDRESS_NO_PORT: Final = 24
_STALLED_BUFFER_BYTES: Final = 16_384
_WEBSOCKET_KEY: Final = base64.b64encode(os.urandom(16)).decode()
_HEADERS_END: Final = b"\r\n\r\n"
_MAX_REASON_BYTES: Final = 200


class LoadClientState(IntEnum):
    """How far the connection has come. The order of the values matters: they are compared."""

    DISCONNECTED = 0
    CONNECTING = 1
    UPGRADING = 2
    AWAITING_WELCOME = 3
    OPEN = 4  #: received `welcome`
    LIVE = 5  #: received `live`: the replay is over
    CLOSED = 6


class LoadClient:
    """A client of one pool; the pool does its I/O."""

    __slots__ = (
        "closing_frame",
        "cursor",
        "is_resuming",
        "is_stalled",
        "number",
        "progress",
        "response_head",
        "socket",
        "state",
        "stream_reader",
    )

    def __init__(
        self, number: int, stream_reader: SharedStreamReader | PrivateStreamReader
    ) -> None:
        self.number = number
        self.stream_reader = stream_reader  #: parses what this client receives
        self.progress = ReadProgress()
        self.state = LoadClientState.DISCONNECTED
        self.socket: socket.socket | None = None
        self.response_head = b""  #: the part of the upgrade response that has arrived
        self.cursor: str | None = None
        self.closing_frame: dict[str, Any] | None = None
        self.is_resuming = False  #: it reconnects with its cursor
        self.is_stalled = False

    def connect(self, job: LoadJob) -> tuple[socket.socket, int]:
        """Start a non-blocking connect; return the socket and the errno of `connect_ex`."""
        target = self._target(job)
        family = socket.AF_INET6 if ":" in target.host else socket.AF_INET
        connecting_socket = socket.socket(family, socket.SOCK_STREAM)
        connecting_socket.setblocking(False)  # noqa: FBT003 - the parameter has no name
        if self.number < job.stalled_clients:
            connecting_socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _STALLED_BUFFER_BYTES)
        if job.source_address_count > 1:
            with contextlib.suppress(OSError):
                connecting_socket.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
            connecting_socket.bind((f"127.0.0.{1 + self.number % job.source_address_count}", 0))
        self.socket = connecting_socket
        self.state = LoadClientState.CONNECTING
        self.response_head = b""
        self.closing_frame = None
        return connecting_socket, connecting_socket.connect_ex((target.host, target.port))

    def upgrade_request(self, job: LoadJob) -> bytes:
        """Return the WebSocket upgrade request as bytes."""
        target = self._target(job)
        query = {"topics": job.topic}
        if job.account_prefix is not None and job.token is None:
            query["account"] = f"{job.account_prefix}{self.number}"
        if job.room is not None:
            query["rooms"] = job.room
        if self.is_resuming and self.cursor is not None:
            query["cursor"] = self.cursor
        host = f"[{target.host}]" if ":" in target.host else target.host
        lines = [
            f"GET {target.path}/ws?{urlencode(query)} HTTP/1.1",
            f"Host: {host}:{target.port}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {_WEBSOCKET_KEY}",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Protocol: push-bridge.v1",
        ]
        if job.token is not None:
            lines.append(f"Authorization: Bearer {job.token}")
        return "\r\n".join([*lines, "", ""]).encode()

    def read_upgrade_response(self, data: bytes) -> bytes | None:
        """Add a part of the response; return the bytes behind its head, or None if incomplete.

        Raises:
            ConnectionError: If the status is not 101.
        """
        self.response_head += data
        end = self.response_head.find(_HEADERS_END)
        if end < 0:
            return None
        head, rest = self.response_head[:end], self.response_head[end + len(_HEADERS_END) :]
        status = head.partition(b"\r\n")[0]
        if status.split(b" ")[1:2] != [b"101"]:
            response_text = b" ".join((status, rest[:_MAX_REASON_BYTES])).decode("utf-8", "replace")
            raise ConnectionError(" ".join(response_text.split()))
        self.response_head = b""
        self.state = LoadClientState.AWAITING_WELCOME
        return rest

    def close(self) -> None:
        """Close the socket, if there is one."""
        if self.socket is not None:
            self.socket.close()
            self.socket = None

    def _target(self, job: LoadJob) -> Target:
        return job.targets[self.number % len(job.targets)]
