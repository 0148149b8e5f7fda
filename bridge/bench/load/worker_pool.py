"""The worker processes, as the measuring process sees them.

Rule: every worker has a command before the first response is read. Responses become one status:
counts are added, and CPU use is that of the busiest worker.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Self

from bridge.bench.load.delivery_check import DeliveryErrors
from bridge.bench.load.job import BenchError
from bridge.bench.load.latency import LatencyHistogram

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.bench.load.job import LoadJob

_EXIT_TIMEOUT_SECONDS: Final = 5.0


@dataclass
class PoolStatus:
    """The clients of all workers."""

    open: int = 0
    live: int = 0
    closed: int = 0
    received_events: int = 0
    cpu_seconds: list[float] = field(default_factory=list)  #: of each process
    counters: Counter[str] = field(default_factory=Counter)
    close_codes: Counter[str] = field(default_factory=Counter)
    delivery_errors: DeliveryErrors = field(default_factory=DeliveryErrors)
    latencies: LatencyHistogram = field(default_factory=LatencyHistogram)

    def add(self, worker_status: Mapping[str, Any]) -> None:
        """Add the response of one worker."""
        self.open += worker_status["open"]
        self.live += worker_status["live"]
        self.closed += worker_status["closed"]
        self.received_events += worker_status["received_events"]
        self.cpu_seconds.append(worker_status["cpu_seconds"])
        self.counters.update(worker_status["counters"])
        self.close_codes.update(worker_status["close_codes"])
        if "delivery_errors" in worker_status:
            self.delivery_errors = self.delivery_errors.plus(
                DeliveryErrors(**worker_status["delivery_errors"])
            )
            self.latencies.merge(worker_status["histogram"])

    def max_cpu_share(self, before: PoolStatus, seconds: float) -> float:
        """Return the CPU use of the busiest worker since `before`, as a share of one core."""
        used_seconds = [
            now - then for now, then in zip(self.cpu_seconds, before.cpu_seconds, strict=True)
        ]
        return max(used_seconds) / seconds


class WorkerPool:
    """Starts the worker processes on entering the `with`, and ends them on leaving."""

    def __init__(self, job: LoadJob, process_count: int) -> None:
        self._jobs = [replace(job, first=each, step=process_count) for each in range(process_count)]
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        for job in self._jobs:
            process = subprocess.Popen(
                [sys.executable, "-m", "bridge.bench.load.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            self._processes.append(process)
            self._send_line(process, job.as_json())
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    with suppress(OSError):
                        stream.close()
        for process in self._processes:
            try:
                process.wait(_EXIT_TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def run_command(self, command: str, **arguments: Any) -> PoolStatus:  # noqa: ANN401 - JSON
        """Run a command in every worker; return the status of all clients.

        Raises:
            BenchError: If a client is refused, or a worker has ended.
        """
        for process in self._processes:
            self._send_line(process, json.dumps({"command": command, **arguments}))
        status = PoolStatus()
        refusal_reason = None
        for process in self._processes:
            line = process.stdout.readline() if process.stdout is not None else b""
            if not line:
                raise BenchError("a worker process has ended; its error is above")
            worker_status = json.loads(line)
            status.add(worker_status)
            refusal_reason = refusal_reason or worker_status["refusal_reason"]
        if refusal_reason:
            raise BenchError(refusal_reason)
        return status

    def _send_line(self, process: subprocess.Popen[bytes], line: str) -> None:
        if process.stdin is not None:
            with suppress(BrokenPipeError):  # reading the response finds that the process has ended
                process.stdin.write(line.encode() + b"\n")
                process.stdin.flush()
