"""How much the clients could count and check: the load generator's own limit.

Rule: a bridge that comes near these figures was not measured, the load generator was. Every frame
is judged as in any scenario; a ceiling that was reached by looking away is none.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Final, cast

from bridge.bench.load.job import Job, Target, Trouble
from bridge.bench.load.payload import Envelope, fresh_run
from bridge.bench.load.stream_reader import text_frame
from bridge.bench.load.worker_pool import Crew
from bridge.bench.report import allow_files
from bridge.bench.stage import per

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bridge.bench.plan import Plan

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


_POLL: Final = 0.02
_PATIENCE: Final = 30.0
_TEN: Final = 10


def measure(plan: Plan, tell: Callable[[str], None]) -> dict[str, Any]:
    """Return the figures of each kind of traffic."""
    allow_files(plan.connections)
    told = {}
    for kind in ("alike", "distinct"):
        for joined in (1, _TEN):
            name = f"{kind}_{'singly' if joined == 1 else 'ten_joined'}"
            told[name] = _one(plan, kind, joined)
            tell(f"{name}: {told[name]['frames_per_cpu_second']:,.0f} frames per CPU-second")
    return told


def _one(plan: Plan, kind: str, joined: int) -> dict[str, Any]:
    run = fresh_run()
    with _sender(plan, run, kind, joined) as (port, send):
        own = kind == "distinct"
        job = Job(run, (Target("127.0.0.1", port),), plan.connections, account="", own=own)
        with Crew(job, plan.processes) as crew:
            crew.order("come")
            _until(lambda: crew.order("status").open == plan.connections)
            before, begun = crew.order("mark"), time.monotonic()
            sent = send()
            owed = {int(lane): count for lane, count in sent["sent"].items()}
            due = sum(owed.values()) * (1 if own else plan.connections)
            _until(lambda: crew.order("status").received >= due)
            seconds, after = time.monotonic() - begun, crew.order("status")
            judged = crew.order("judge", owed=owed)
    used = sum(after.cpu) - sum(before.cpu)
    return {
        "frames_per_cpu_second": per(judged.received, used),
        "frames_per_second": round(judged.received / seconds, 1),
        "sender_frames_per_cpu_second": per(due, sent["cpu"]),
        "sent": due,
        "counted": judged.received,
        **judged.verdict._asdict(),
        "client_use": round(after.busiest(before, seconds), 3),
        "latency_ms": judged.latency.milliseconds(),
    }


@contextmanager
def _sender(
    plan: Plan, run: str, kind: str, joined: int
) -> Iterator[tuple[int, Callable[[], dict[str, Any]]]]:
    """Start one; what is yielded is its port, and what lets it send and waits for its end."""
    said = (run, plan.connections, joined, plan.seconds, plan.size, kind)
    with subprocess.Popen(  # noqa: S603 - this very Python
        [sys.executable, "-m", "bridge.bench.self_test", *map(str, said)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        orders, answers = cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stdout)

        def send() -> dict[str, Any]:
            orders.write(b"\n")
            orders.flush()
            told: dict[str, Any] = json.loads(_line())
            return told

        def _line() -> bytes:
            line = answers.readline()
            if not line:
                raise Trouble("the sender has ended; its words are above")
            return line

        try:
            yield int(_line()), send
        finally:
            process.kill()


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise Trouble(f"the clients did not get what was sent in {_PATIENCE:.0f} s")
        time.sleep(_POLL)
