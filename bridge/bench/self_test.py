"""How much the clients could count and check: the load generator's own limit.

Rule: a bridge that comes near these figures was not measured, the load generator was. Every frame
is judged as in any scenario; a ceiling that was reached by looking away is none.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Final, cast

from bridge.bench.load.job import Job, Target
from bridge.bench.load.payload import fresh_run
from bridge.bench.load.trouble import Trouble
from bridge.bench.load.worker_pool import Crew
from bridge.bench.machine import allow_files
from bridge.bench.stage import per

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bridge.bench.plan import Plan

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
        [sys.executable, "-m", "bridge.bench.sender", *map(str, said)],
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
