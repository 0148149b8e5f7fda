"""One worker process with its clients: `python -m bridge.bench.load.worker`.

Rule: the first line of standard input is the job. Each further line is a command and gets one
line in response. The process ends with its input.
"""

from __future__ import annotations

import gc
import json
import os
import select
import sys
from typing import Any, Final

from bridge.bench.load.client_pool import ClientPool
from bridge.bench.load.job import parse_job

_STDIN_FD: Final = 0
_POLL_SECONDS: Final = 1.0


def execute(pool: ClientPool, command: dict[str, Any]) -> dict[str, Any]:
    """Run one command; return the pool's status, after `check_delivery` with its result."""
    match command["command"]:
        case "connect":
            pool.connect_all(resuming=command.get("resuming", False))
        case "disconnect":
            pool.disconnect_all()
        case "stall":
            pool.stall_clients()
        case "reset_latencies":
            pool.reset_latencies()
        case "check_delivery":
            expected = {
                int(sequence_id): count for sequence_id, count in command["expected"].items()
            }
            return {**pool.status(), **pool.check_delivery(expected)}
    return pool.status()


def main() -> None:
    """Read the job, then serve clients and commands until standard input ends."""
    line = b""
    while not line.endswith(b"\n"):
        chunk = os.read(_STDIN_FD, 1)
        if not chunk:
            return
        line += chunk
    pool = ClientPool(parse_job(line.decode()))
    gc.freeze()
    pool.epoll.register(_STDIN_FD, select.EPOLLIN)
    partial_line = b""
    while True:
        if _STDIN_FD not in pool.poll(_POLL_SECONDS):
            continue
        chunk = os.read(_STDIN_FD, 1 << 20)
        if not chunk:
            return
        *lines, partial_line = (partial_line + chunk).split(b"\n")
        for each in lines:
            response = json.dumps(execute(pool, json.loads(each)))
            sys.stdout.write(response + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
