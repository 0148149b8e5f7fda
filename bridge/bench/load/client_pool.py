"""Many clients on one epoll: connects them, reads their frames, counts events.

Rule: the load generator costs less than the bridge. A client has no task, no future and no
transport: a read is a system call, a comparison and an addition.
"""

from __future__ import annotations

import errno
import heapq
import json
import os
import select
import socket
import time
from collections import Counter
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Final

from bridge.bench.load.client import LoadClient, LoadClientState
from bridge.bench.load.delivery_check import DeliveryErrors
from bridge.bench.load.latency import LatencyHistogram
from bridge.bench.load.payload import run_marker
from bridge.bench.load.stream_reader import (
    CLOSE,
    PING,
    PONG,
    TEXT,
    PrivateStreamReader,
    SharedStreamReader,
    encode_client_frame,
)

if TYPE_CHECKING:
    from bridge.bench.load.job import LoadJob

_READ_EVENTS: Final = select.EPOLLIN | select.EPOLLRDHUP
_BUFFER_BYTES: Final = 1 << 20
_RETRY_CLOSE_CODES: Final = range(4000, 4500)  # after these close codes a client reconnects
_ABNORMAL_CLOSURE: Final = 1006
_EVENT_PREFIX: Final = b'{"op":"event"'


class ClientPool:
    """The clients of one worker process. `poll` does all of the I/O."""

    def __init__(self, job: LoadJob) -> None:
        self.job = job
        self.epoll = select.epoll()
        self.latencies = LatencyHistogram()
        self.counters: Counter[str] = Counter()
        self.close_codes: Counter[int] = Counter()
        self.received_events = 0
        self.refusal_reason: str | None = None  #: the latest reason why a client could not connect
        self._clients_by_fd: dict[int, LoadClient] = {}
        self._reading_by_fd: dict[int, LoadClient] = {}  # upgraded, and not stalled
        # All clients of one bridge receive the same events in one order: they share a reader.
        self._shared_readers = (
            []
            if job.has_private_events
            else [SharedStreamReader(run_marker(job.run_id), self.latencies) for _ in job.targets]
        )
        private_reader = PrivateStreamReader(run_marker(job.run_id), self.latencies)
        self.clients: dict[int, LoadClient] = {}
        for number in job.numbers:
            stream_reader = (
                self._shared_readers[number % len(self._shared_readers)]
                if self._shared_readers
                else private_reader
            )
            client = self.clients[number] = LoadClient(number, stream_reader)
            stream_reader.add_client(client.progress)
        self._buffer = memoryview(bytearray(_BUFFER_BYTES))
        self._connect_queue: list[tuple[float, int]] = []
        self._connecting_count = 0

    # -- commands of the worker ----------------------------------------------------------------

    def connect_all(self, *, resuming: bool = False) -> None:
        """Queue a connection attempt of every client that is not connected."""
        for client in self.clients.values():
            if client.socket is None:
                client.is_resuming = resuming
                client.state = LoadClientState.DISCONNECTED
                heapq.heappush(self._connect_queue, (0.0, client.number))

    def disconnect_all(self) -> None:
        """Close every socket without a close frame."""
        for client in self.clients.values():
            if client.socket is not None:
                self._disconnect(client)
            client.state = LoadClientState.DISCONNECTED
        self._connect_queue.clear()
        self._connecting_count = 0

    def stall_clients(self) -> None:
        """Stop reading from the first `stalled_clients` clients."""
        for client in self.clients.values():
            if client.number < self.job.stalled_clients and client.socket is not None:
                client.is_stalled = True
                self._reading_by_fd.pop(client.socket.fileno(), None)
                self.epoll.modify(client.socket.fileno(), select.EPOLLRDHUP)

    def reset_latencies(self) -> None:
        """Start a new measurement of latencies."""
        self._flush_readers()
        self.latencies.clear()

    def status(self) -> dict[str, Any]:
        """Return the number of clients by state, and totals since the start."""
        states = Counter(client.state for client in self.clients.values())
        return {
            "open": states[LoadClientState.OPEN] + states[LoadClientState.LIVE],
            "live": states[LoadClientState.LIVE],
            "closed": states[LoadClientState.CLOSED],
            "received_events": self.received_events,
            "refusal_reason": self.refusal_reason,
            "cpu_seconds": time.process_time(),
            "counters": dict(self.counters),
            "close_codes": {str(code): count for code, count in self.close_codes.items()},
        }

    def check_delivery(self, expected: dict[int, int]) -> dict[str, Any]:
        """Return delivery errors and latencies; closed and stalled clients may miss events."""
        self._flush_readers()
        errors = DeliveryErrors()
        for client in self.clients.values():
            client_expected = (
                {client.number: expected.get(client.number, 0)}
                if self.job.has_private_events
                else expected
            )
            may_miss_events = client.is_stalled or client.state == LoadClientState.CLOSED
            errors = errors.plus(
                client.progress.delivery_check.errors({} if may_miss_events else client_expected)
            )
        return {"delivery_errors": errors._asdict(), "histogram": self.latencies.as_json()}

    def _flush_readers(self) -> None:
        for shared_reader in self._shared_readers:
            shared_reader.flush()

    # -- polling -------------------------------------------------------------------------------

    def poll(self, timeout_seconds: float) -> list[int]:
        """Handle one batch of events; return ready descriptors that belong to no client."""
        self._connect_due()
        other_fds = []
        wait_seconds = timeout_seconds
        if self._connect_queue and self._connecting_count < self.job.max_connecting:
            wait_seconds = min(
                timeout_seconds, max(0.0, self._connect_queue[0][0] - time.monotonic())
            )
        get_reading_client = self._reading_by_fd.get
        for fd, _ in self.epoll.poll(wait_seconds):
            client = get_reading_client(fd)
            if client is not None:
                self._read(client)
            elif (client := self._clients_by_fd.get(fd)) is None:
                other_fds.append(fd)
            elif client.is_stalled:
                self._handle_disconnect(client)
            elif client.state == LoadClientState.CONNECTING:
                self._handle_connected(client)
            else:
                self._handle_upgrade_response(client)
        return other_fds

    def _connect_due(self) -> None:
        now = time.monotonic()
        while (
            self._connect_queue
            and self._connecting_count < self.job.max_connecting
            and self._connect_queue[0][0] <= now
        ):
            client = self.clients[heapq.heappop(self._connect_queue)[1]]
            try:
                connecting_socket, error_number = client.connect(self.job)
            except OSError as os_error:
                self._handle_connect_error(client, os_error.errno or 0)
                return
            if error_number not in {0, errno.EINPROGRESS}:
                self._handle_connect_error(client, error_number)
                return
            self._connecting_count += 1
            self._clients_by_fd[connecting_socket.fileno()] = client
            self.epoll.register(connecting_socket.fileno(), select.EPOLLOUT)

    def _handle_connected(self, client: LoadClient) -> None:
        if client.socket is None:
            return
        error_number = client.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error_number:
            self._handle_connect_error(client, error_number)
            return
        client.state = LoadClientState.UPGRADING
        self.epoll.modify(client.socket.fileno(), _READ_EVENTS)
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._send(client, client.upgrade_request(self.job))

    def _handle_upgrade_response(self, client: LoadClient) -> None:
        if not (data := self._receive(client)) or client.socket is None:
            return
        try:
            rest = client.read_upgrade_response(bytes(data))
        except ConnectionError as error:
            self.refusal_reason = f"the bridge refuses clients: {error}"
            self._disconnect(client)
            return
        if rest is not None:
            self._reading_by_fd[client.socket.fileno()] = client
            self._process(client, rest)

    def _read(self, client: LoadClient) -> None:
        if data := self._receive(client):
            self._process(client, data)

    def _receive(self, client: LoadClient) -> memoryview:
        """Return the received bytes; empty if the connection ended or nothing has arrived."""
        try:
            size = client.socket.recv_into(self._buffer)  # type: ignore[union-attr]
        except BlockingIOError:
            return self._buffer[:0]
        except OSError:
            size = 0
        if not size:
            self._handle_disconnect(client)
        return self._buffer[:size]

    def _process(self, client: LoadClient, data: bytes | memoryview) -> None:
        event_count, other_frames = client.stream_reader.read(client.progress, data, monotonic_ns())
        self.received_events += event_count
        for first_byte, payload in other_frames:
            self._handle_other_frame(client, first_byte, payload)

    # -- other frames and disconnects ----------------------------------------------------------

    def _handle_other_frame(self, client: LoadClient, first_byte: int, payload: bytes) -> None:
        if first_byte == PING:
            self._send(client, encode_client_frame(PONG, payload))
        elif first_byte == CLOSE:
            if client.closing_frame is None:
                code = int.from_bytes(payload[:2], "big") if payload else _ABNORMAL_CLOSURE
                client.closing_frame = {
                    "code": code,
                    "reason": payload[2:].decode("utf-8", "replace"),
                }
            if client.socket is not None:
                self._handle_disconnect(client)
        elif first_byte != TEXT or payload.startswith(_EVENT_PREFIX):
            self.counters["foreign_frames"] += 1
        else:
            self._handle_json_frame(client, json.loads(payload))

    def _handle_json_frame(self, client: LoadClient, frame: dict[str, Any]) -> None:
        client.cursor = frame.get("cursor") or client.cursor
        match frame.get("op"):
            case "welcome":
                client.state = LoadClientState.OPEN
                self._connecting_count -= 1
            case "live":
                client.state = LoadClientState.LIVE
            case "gap":
                self.counters["gaps"] += 1
            case "closing":
                client.closing_frame = frame

    def _handle_disconnect(self, client: LoadClient) -> None:
        closing_frame = client.closing_frame or {
            "code": _ABNORMAL_CLOSURE,
            "reason": "connection lost without a close frame",
        }
        code, reason = int(closing_frame["code"]), str(closing_frame["reason"])
        previous_state = client.state
        self._disconnect(client)
        was_connecting = previous_state < LoadClientState.OPEN or (
            client.is_resuming and previous_state < LoadClientState.LIVE
        )
        if not was_connecting:
            client.state = LoadClientState.CLOSED
            self.close_codes[code] += 1
        elif code in _RETRY_CLOSE_CODES:
            self.counters["retries"] += 1
            client.state = LoadClientState.DISCONNECTED
            wait_seconds = float(closing_frame.get("retry_after") or 1.0)
            heapq.heappush(self._connect_queue, (time.monotonic() + wait_seconds, client.number))
        else:
            self.refusal_reason = f"the bridge refuses clients: {code} {reason}"

    def _disconnect(self, client: LoadClient) -> None:
        if client.socket is not None:
            if LoadClientState.DISCONNECTED < client.state < LoadClientState.OPEN:
                self._connecting_count -= 1
            self._clients_by_fd.pop(client.socket.fileno(), None)
            self._reading_by_fd.pop(client.socket.fileno(), None)
            client.close()  # this also removes it from the epoll
        client.stream_reader.discard_partial_frame(client.progress)

    def _send(self, client: LoadClient, data: bytes) -> None:
        if client.socket is None:
            return
        try:
            client.socket.send(data)
        except OSError:
            self._handle_disconnect(client)

    def _handle_connect_error(self, client: LoadClient, error_number: int) -> None:
        target = self.job.targets[client.number % len(self.job.targets)]
        advice = {
            errno.EADDRNOTAVAIL: "; one source address has too few ports: raise --sources",
            errno.EMFILE: "; raise the limit of open files, `ulimit -n`",
            errno.ECONNREFUSED: "; nothing listens there (--url)",
        }.get(error_number, "")
        self.refusal_reason = (
            f"cannot connect to {target.host}:{target.port}: {os.strerror(error_number)}{advice}"
        )
        if client.state == LoadClientState.CONNECTING and client.socket is not None:
            if client.socket.fileno() in self._clients_by_fd:
                self._disconnect(client)
            else:
                client.close()
        client.state = LoadClientState.DISCONNECTED
