"""Many clients on one epoll: connected, read, and counted.

Rule: the load weighs less than what is loaded. No task, no future and no transport for a
client: a read is a system call, a comparison and an addition.
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

from bridge.bench.load.client import Client, State
from bridge.bench.load.delivery_check import Verdict
from bridge.bench.load.latency import Histogram
from bridge.bench.load.payload import mark
from bridge.bench.load.stream_reader import CLOSE, PING, PONG, TEXT, Tape, Walk, masked

if TYPE_CHECKING:
    from bridge.bench.load.job import Job

_READ: Final = select.EPOLLIN | select.EPOLLRDHUP
_BYTES: Final = 1 << 20
_WHILE_IT_LISTENS: Final = range(4000, 4500)  # close codes after which one comes back
_NO_CLOSE: Final = 1006
_EVENT: Final = b'{"op":"event"'


class Swarm:
    """The clients of one process."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.epoll = select.epoll()
        self.histogram = Histogram()
        self.count: Counter[str] = Counter()
        self.closes: Counter[int] = Counter()
        self.received = 0
        self.refused: str | None = None  #: why nobody, or not everybody, can come in
        self._by_fd: dict[int, Client] = {}
        self._reading: dict[int, Client] = {}  # those of them that were upgraded and read
        # Members of a room are sent the same, but by each bridge in another order.
        self._tapes = [] if job.own else [Tape(mark(job.run), self.histogram) for _ in job.targets]
        walk = Walk(mark(job.run), self.histogram)
        self.clients: dict[int, Client] = {}
        for number in job.numbers:
            way = self._tapes[number % len(self._tapes)] if self._tapes else walk
            client = self.clients[number] = Client(number, way)
            way.join(client.reader)
        self._buffer = memoryview(bytearray(_BYTES))
        self._due: list[tuple[float, int]] = []
        self._coming = 0

    # -- what the process is told --------------------------------------------------------------

    def come(self, *, returning: bool = False) -> None:
        """Let everybody connect who is not connected."""
        for client in self.clients.values():
            if client.socket is None:
                client.returning = returning
                client.state = State.AWAY
                heapq.heappush(self._due, (0.0, client.number))

    def leave(self) -> None:
        """Let everybody go, without a word."""
        for client in self.clients.values():
            if client.socket is not None:
                self._drop(client)
            client.state = State.AWAY
        self._due.clear()
        self._coming = 0

    def stall(self) -> None:
        """Let those who shall stop reading do so."""
        for client in self.clients.values():
            if client.number < self.job.stalled and client.socket is not None:
                client.stalled = True
                self._reading.pop(client.socket.fileno(), None)
                self.epoll.modify(client.socket.fileno(), select.EPOLLRDHUP)

    def mark(self) -> None:
        """Forget the latencies so far."""
        self._settle()
        self.histogram.clear()

    def status(self) -> dict[str, Any]:
        """Tell how it stands."""
        states = Counter(client.state for client in self.clients.values())
        return {
            "open": states[State.OPEN] + states[State.LIVE],
            "live": states[State.LIVE],
            "gone": states[State.GONE],
            "received": self.received,
            "refused": self.refused,
            "cpu": time.process_time(),
            "count": dict(self.count),
            "closes": {str(code): count for code, count in self.closes.items()},
        }

    def judge(self, owed: dict[int, int]) -> dict[str, Any]:
        """Tell what was wrong, and the latencies. Who was cut is not owed what came after."""
        self._settle()
        verdict = Verdict()
        for client in self.clients.values():
            due = {client.number: owed.get(client.number, 0)} if self.job.own else owed
            away = client.stalled or client.state == State.GONE
            verdict = verdict.plus(client.reader.ledger.verdict({} if away else due))
        return {"verdict": verdict._asdict(), "histogram": self.histogram.as_json()}

    def _settle(self) -> None:
        for tape in self._tapes:
            tape.settle()

    # -- one round -----------------------------------------------------------------------------

    def round(self, seconds: float) -> list[int]:
        """Wait for something to happen; return the descriptors that are not the clients'."""
        self._dial_who_is_due()
        strangers = []
        wait = seconds
        if self._due and self._coming < self.job.window:
            wait = min(seconds, max(0.0, self._due[0][0] - time.monotonic()))
        reading = self._reading.get
        for fd, _ in self.epoll.poll(wait):
            client = reading(fd)
            if client is not None:
                self._read(client)
            elif (client := self._by_fd.get(fd)) is None:
                strangers.append(fd)
            elif client.stalled:
                self._gone(client)
            elif client.state == State.CONNECTING:
                self._connected(client)
            else:
                self._upgrade(client)
        return strangers

    def _dial_who_is_due(self) -> None:
        now = time.monotonic()
        while self._due and self._coming < self.job.window and self._due[0][0] <= now:
            client = self.clients[heapq.heappop(self._due)[1]]
            try:
                dialled, error = client.dial(self.job)
            except OSError as problem:
                self._refuse(client, problem.errno or 0)
                return
            if error not in {0, errno.EINPROGRESS}:
                self._refuse(client, error)
                return
            self._coming += 1
            self._by_fd[dialled.fileno()] = client
            self.epoll.register(dialled.fileno(), select.EPOLLOUT)

    def _connected(self, client: Client) -> None:
        if client.socket is None:
            return
        error = client.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            self._refuse(client, error)
            return
        client.state = State.UPGRADING
        self.epoll.modify(client.socket.fileno(), _READ)
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._send(client, client.request(self.job))

    def _upgrade(self, client: Client) -> None:
        if not (data := self._received(client)) or client.socket is None:
            return
        try:
            rest = client.upgraded(bytes(data))
        except ConnectionError as problem:
            self.refused = f"the bridge refuses clients: {problem}"
            self._drop(client)
            return
        if rest is not None:
            self._reading[client.socket.fileno()] = client
            self._take(client, rest)

    def _read(self, client: Client) -> None:
        if data := self._received(client):
            self._take(client, data)

    def _received(self, client: Client) -> memoryview:
        """Return what has come; nothing where it is gone, or something else has woken us."""
        try:
            size = client.socket.recv_into(self._buffer)  # type: ignore[union-attr]
        except BlockingIOError:
            return self._buffer[:0]
        except OSError:
            size = 0
        if not size:
            self._gone(client)
        return self._buffer[:size]

    def _take(self, client: Client, data: bytes | memoryview) -> None:
        events, others = client.way.read(client.reader, data, monotonic_ns())
        self.received += events
        for first, payload in others:
            self._other(client, first, payload)

    # -- what is no event of ours ----------------------------------------------------------------

    def _other(self, client: Client, first: int, payload: bytes) -> None:
        if first == PING:
            self._send(client, masked(PONG, payload))
        elif first == CLOSE:
            if client.closing is None:
                code = int.from_bytes(payload[:2], "big") if payload else _NO_CLOSE
                client.closing = {"code": code, "reason": payload[2:].decode("utf-8", "replace")}
            if client.socket is not None:
                self._gone(client)
        elif first != TEXT or payload.startswith(_EVENT):
            self.count["foreign"] += 1
        else:
            self._told(client, json.loads(payload))

    def _told(self, client: Client, frame: dict[str, Any]) -> None:
        client.cursor = frame.get("cursor") or client.cursor
        match frame.get("op"):
            case "welcome":
                client.state = State.OPEN
                self._coming -= 1
            case "live":
                client.state = State.LIVE
            case "gap":
                self.count["gaps"] += 1
            case "closing":
                client.closing = frame

    def _gone(self, client: Client) -> None:
        told = client.closing or {"code": _NO_CLOSE, "reason": "cut without a word"}
        code, reason = int(told["code"]), str(told["reason"])
        was = client.state
        self._drop(client)
        away = was < State.OPEN or (client.returning and was < State.LIVE)
        if not away:
            client.state = State.GONE
            self.closes[code] += 1
        elif code in _WHILE_IT_LISTENS:
            self.count["later"] += 1
            client.state = State.AWAY
            wait = float(told.get("retry_after") or 1.0)
            heapq.heappush(self._due, (time.monotonic() + wait, client.number))
        else:
            self.refused = f"the bridge refuses clients: {code} {reason}"

    def _drop(self, client: Client) -> None:
        if client.socket is not None:
            if State.AWAY < client.state < State.OPEN:
                self._coming -= 1
            self._by_fd.pop(client.socket.fileno(), None)
            self._reading.pop(client.socket.fileno(), None)
            client.close()  # and so it leaves the epoll
        client.way.leave(client.reader)

    def _send(self, client: Client, data: bytes) -> None:
        if client.socket is None:
            return
        try:
            client.socket.send(data)
        except OSError:
            self._gone(client)

    def _refuse(self, client: Client, error: int) -> None:
        target = self.job.targets[client.number % len(self.job.targets)]
        advice = {
            errno.EADDRNOTAVAIL: "; an address has not so many ports: raise --sources",
            errno.EMFILE: "; raise the limit of open files, `ulimit -n`",
            errno.ECONNREFUSED: "; nobody listens there (--url)",
        }.get(error, "")
        self.refused = (
            f"can not connect to {target.host}:{target.port}: {os.strerror(error)}{advice}"
        )
        if client.state == State.CONNECTING and client.socket is not None:
            if client.socket.fileno() in self._by_fd:
                self._drop(client)
            else:
                client.close()
        client.state = State.AWAY
