"""The processes of clients, seen from the one that measures.

Rule: an order goes to all of them before the first answer is waited for, and their answers are
one: counts are added, and who is busiest is told.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Self

from bridge.bench.load.delivery_check import Verdict
from bridge.bench.load.job import Trouble
from bridge.bench.load.latency import Histogram

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.bench.load.job import Job

_PATIENCE: Final = 5.0


@dataclass
class Standing:
    """How all clients stand."""

    open: int = 0
    live: int = 0
    gone: int = 0
    received: int = 0
    cpu: list[float] = field(default_factory=list)  #: seconds, of each process
    count: Counter[str] = field(default_factory=Counter)
    closes: Counter[str] = field(default_factory=Counter)
    verdict: Verdict = field(default_factory=Verdict)
    latency: Histogram = field(default_factory=Histogram)

    def add(self, told: Mapping[str, Any]) -> None:
        """Add what one process has told."""
        self.open += told["open"]
        self.live += told["live"]
        self.gone += told["gone"]
        self.received += told["received"]
        self.cpu.append(told["cpu"])
        self.count.update(told["count"])
        self.closes.update(told["closes"])
        if "verdict" in told:
            self.verdict = self.verdict.plus(Verdict(**told["verdict"]))
            self.latency.merge(told["histogram"])

    def busiest(self, before: Standing, seconds: float) -> float:
        """Return how busy the busiest process was since `before`, as a share of one core."""
        used = [now - then for now, then in zip(self.cpu, before.cpu, strict=True)]
        return max(used) / seconds


class Crew:
    """The processes; they end with the `with`."""

    def __init__(self, job: Job, processes: int) -> None:
        self._jobs = [replace(job, first=each, step=processes) for each in range(processes)]
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        for job in self._jobs:
            process = subprocess.Popen(
                [sys.executable, "-m", "bridge.bench.load.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            self._running.append(process)
            self._say(process, job.as_json())
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running:
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    with suppress(OSError):
                        stream.close()
        for process in self._running:
            try:
                process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def order(self, do: str, **more: Any) -> Standing:  # noqa: ANN401 - JSON
        """Let all of them do something; return how all stand.

        Raises:
            Trouble: If a client is refused, or a process has ended.
        """
        for process in self._running:
            self._say(process, json.dumps({"do": do, **more}))
        standing = Standing()
        refused = None
        for process in self._running:
            line = process.stdout.readline() if process.stdout is not None else b""
            if not line:
                raise Trouble("a process of clients has ended; its words are above")
            told = json.loads(line)
            standing.add(told)
            refused = refused or told["refused"]
        if refused:
            raise Trouble(refused)
        return standing

    def _say(self, process: subprocess.Popen[bytes], line: str) -> None:
        if process.stdin is not None:
            with suppress(BrokenPipeError):  # that it has ended is seen when it should answer
                process.stdin.write(line.encode() + b"\n")
                process.stdin.flush()
