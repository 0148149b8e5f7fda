"""One process of clients: `python -m bridge.bench.load.worker`.

Rule: the first line that it is given is its job. Each line after it is an order, answered by one
line; it ends with its input.
"""

from __future__ import annotations

import gc
import json
import os
import select
import sys
from typing import Any, Final

from bridge.bench.load.client_pool import Swarm
from bridge.bench.load.job import job_of

_ORDERS: Final = 0  # the descriptor of standard input
_SECONDS: Final = 1.0


def obey(swarm: Swarm, order: dict[str, Any]) -> dict[str, Any]:
    """Do what is ordered; return the answer."""
    match order["do"]:
        case "come":
            swarm.come(returning=order.get("returning", False))
        case "leave":
            swarm.leave()
        case "stall":
            swarm.stall()
        case "mark":
            swarm.mark()
        case "judge":
            owed = {int(lane): count for lane, count in order["owed"].items()}
            return {**swarm.status(), **swarm.judge(owed)}
    return swarm.status()


def main() -> None:
    """Be the process."""
    line = b""
    while not line.endswith(b"\n"):
        more = os.read(_ORDERS, 1)
        if not more:
            return
        line += more
    swarm = Swarm(job_of(line.decode()))
    gc.freeze()
    swarm.epoll.register(_ORDERS, select.EPOLLIN)
    waiting = b""
    while True:
        if _ORDERS not in swarm.round(_SECONDS):
            continue
        more = os.read(_ORDERS, 1 << 20)
        if not more:
            return
        *lines, waiting = (waiting + more).split(b"\n")
        for each in lines:
            answer = json.dumps(obey(swarm, json.loads(each)))
            sys.stdout.write(answer + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
