"""Scenario `ceiling`: finds the load generator's own limit, with a minimal sender.

Rule: every frame is checked as in any scenario. If another scenario comes near these figures, it
has measured the load generator, not the bridge.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from operator import itemgetter
from typing import IO, TYPE_CHECKING, Any, Final, cast

from bridge.bench.load.job import BenchError, LoadJob, Target
from bridge.bench.load.payload import RecordTemplate, new_run_id
from bridge.bench.load.stream_reader import encode_text_frame
from bridge.bench.load.worker_pool import WorkerPool
from bridge.bench.report import raise_open_file_limit
from bridge.bench.stage import ratio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bridge.bench.plan import Plan

_UPGRADE_RESPONSE: Final = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
)
_WELCOME_FRAME: Final = b'{"op":"welcome","cursor":"c"}'
_EVENT_FRAME_FORMAT: Final = (
    b'{"op":"event","topic":"bench","at":"bench:0:%010d","to":"account","id":"bench:0:%010d",'
    b'"type":"event","time":"2026-11-21T09:00:00.000Z",%s'
)
_POLL_SECONDS: Final = 0.02
_TIMEOUT_SECONDS: Final = 30.0
_JOINED_FRAMES: Final = 10


def measure(plan: Plan, on_progress: Callable[[str], None]) -> dict[str, Any]:
    """Return figures for each kind of traffic, with one frame and with ten frames per write.

    `alike`: all clients receive the same events. `distinct`: each client receives its own.
    """
    raise_open_file_limit(plan.connections)
    figures = {}
    for traffic in ("alike", "distinct"):
        for frames_per_write in (1, _JOINED_FRAMES):
            name = f"{traffic}_{'singly' if frames_per_write == 1 else 'ten_joined'}"
            figures[name] = _measure_traffic(plan, traffic, frames_per_write)
            on_progress(
                f"{name}: {figures[name]['frames_per_cpu_second']:,.0f} frames per CPU-second"
            )
    return figures


def _measure_traffic(plan: Plan, traffic: str, frames_per_write: int) -> dict[str, Any]:
    run_id = new_run_id()
    with _run_sender(plan, run_id, traffic, frames_per_write) as (port, send):
        has_private_events = traffic == "distinct"
        job = LoadJob(
            run_id,
            (Target("127.0.0.1", port),),
            plan.connections,
            account_prefix="",
            has_private_events=has_private_events,
        )
        with WorkerPool(job, plan.processes) as worker_pool:
            worker_pool.run_command("connect")
            _wait_until(lambda: worker_pool.run_command("status").open == plan.connections)
            before, started = worker_pool.run_command("reset_latencies"), time.monotonic()
            sent = send()
            expected = {int(sequence_id): count for sequence_id, count in sent["sent"].items()}
            expected_deliveries = sum(expected.values()) * (
                1 if has_private_events else plan.connections
            )
            _wait_until(
                lambda: worker_pool.run_command("status").received_events >= expected_deliveries
            )
            seconds, after = time.monotonic() - started, worker_pool.run_command("status")
            checked = worker_pool.run_command("check_delivery", expected=expected)
    cpu_seconds = sum(after.cpu_seconds) - sum(before.cpu_seconds)
    return {
        "frames_per_cpu_second": ratio(checked.received_events, cpu_seconds),
        "frames_per_second": round(checked.received_events / seconds, 1),
        "sender_frames_per_cpu_second": ratio(expected_deliveries, sent["cpu_seconds"]),
        "sent": expected_deliveries,
        "counted": checked.received_events,
        **checked.delivery_errors._asdict(),
        "client_use": round(after.max_cpu_share(before, seconds), 3),
        "latency_ms": checked.latencies.percentiles_ms(),
    }


@contextmanager
def _run_sender(
    plan: Plan, run_id: str, traffic: str, frames_per_write: int
) -> Iterator[tuple[int, Callable[[], dict[str, Any]]]]:
    """Start a sender process; yield its port, and a function that sends and returns the totals."""
    arguments = (
        run_id,
        plan.connections,
        frames_per_write,
        plan.seconds,
        plan.record_bytes,
        traffic,
    )
    with subprocess.Popen(  # noqa: S603 - runs this Python interpreter
        [sys.executable, "-m", "bridge.bench.self_test", *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        stdin, stdout = cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stdout)

        def send() -> dict[str, Any]:
            stdin.write(b"\n")
            stdin.flush()
            response: dict[str, Any] = json.loads(read_line())
            return response

        def read_line() -> bytes:
            line = stdout.readline()
            if not line:
                raise BenchError("the sender process has ended; its error is above")
            return line

        try:
            yield int(read_line()), send
        finally:
            process.kill()


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _TIMEOUT_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise BenchError(
                f"the clients did not receive everything within {_TIMEOUT_SECONDS:.0f} s"
            )
        time.sleep(_POLL_SECONDS)


# -- the sender process -------------------------------------------------------------------------


class FrameFactory:
    """Builds the event frames that a bridge sends for records of one size."""

    def __init__(self, run_id: str, record_bytes: int) -> None:
        self._template = RecordTemplate(run_id, {"accounts": ["bench-000000"]}, record_bytes)

    def build(self, sequence_id: int, number: int) -> bytes:
        """Return the frame of an event that is created now."""
        value = self._template.render(sequence_id, number, time.monotonic_ns())
        return encode_text_frame(
            _EVENT_FRAME_FORMAT % (number, number, value[value.index(b'"data"') :])
        )


def _accept_clients(server_socket: socket.socket, count: int) -> list[socket.socket]:
    numbered_clients: list[tuple[int, socket.socket]] = []
    for _ in range(count):
        client, _ = server_socket.accept()
        request = b""
        while b"\r\n\r\n" not in request:
            received = client.recv(4096)
            if not received:
                raise ConnectionError("a client disconnected during its handshake")
            request += received
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.sendall(_UPGRADE_RESPONSE + encode_text_frame(_WELCOME_FRAME))
        # The account of a client is its number, because the account prefix is empty.
        client_number = int(request.partition(b"account=")[2].split(b" ")[0].split(b"&")[0])
        numbered_clients.append((client_number, client))
    return [client for _, client in sorted(numbered_clients, key=itemgetter(0))]


def send_alike(
    clients: list[socket.socket], frames: FrameFactory, frames_per_write: int, deadline: float
) -> dict[int, int]:
    """Send the same events to all clients until `deadline`; return the event count by sequence."""
    number = 0
    while time.monotonic() < deadline:
        data = b"".join([frames.build(0, number + index) for index in range(frames_per_write)])
        number += frames_per_write
        for client in clients:
            client.sendall(data)
    return {0: number}


def send_distinct(
    clients: list[socket.socket], frames: FrameFactory, frames_per_write: int, deadline: float
) -> dict[int, int]:
    """Send each client its own events until `deadline`; return the event count by sequence."""
    number = 0
    while time.monotonic() < deadline:
        for sequence_id, client in enumerate(clients):
            client.sendall(
                b"".join(
                    [frames.build(sequence_id, number + index) for index in range(frames_per_write)]
                )
            )
        number += frames_per_write
    return dict.fromkeys(range(len(clients)), number)


def main(
    run_id: str,
    client_count: str,
    frames_per_write: str,
    seconds: str,
    record_bytes: str,
    traffic: str,
) -> None:
    """Print the port, accept the clients, and send once for each line of standard input."""
    senders: dict[str, Callable[[list[socket.socket], FrameFactory, int, float], dict[int, int]]]
    senders = {"alike": send_alike, "distinct": send_distinct}
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as server_socket:
        _print_json(server_socket.getsockname()[1])
        clients = _accept_clients(server_socket, int(client_count))
    frames = FrameFactory(run_id, int(record_bytes))
    while sys.stdin.readline():
        cpu_started, started = time.process_time(), time.monotonic()
        sent = senders[traffic](clients, frames, int(frames_per_write), started + float(seconds))
        cpu_seconds = time.process_time() - cpu_started
        _print_json(
            {"sent": sent, "cpu_seconds": cpu_seconds, "seconds": time.monotonic() - started}
        )


def _print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(130)
