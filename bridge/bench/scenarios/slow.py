"""Some of a room never read: what the others feel of it, and when the bridge is rid of them.

Rule: who does not read does not see that it was cut, so the bridge's own count of closes tells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.bench.load.job import Trouble
from bridge.bench.report import MEMORY, SLOW
from bridge.bench.scenarios.jobs import job
from bridge.bench.workloads import ForRoom

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.bench.stage import Stage


def measure(stage: Stage) -> dict[str, Any]:
    """Return the figures, of which latencies and losses are of those who read."""
    plan = stage.plan
    if not 0 < plan.slow < plan.connections:
        raise Trouble("--slow: some, and not all, of --connections", code=2)
    stage.set_up(job(stage, room=stage.room, stalled=plan.slow))
    opened = stage.open()
    before = stage.scrape()
    stage.crew.order("stall")
    readers = plan.connections - plan.slow
    source = ForRoom(stage.run, stage.room, stage.partitions, plan.size, readers)
    most = before[MEMORY]
    first: float | None = None
    last: float | None = None
    cut = 0.0

    def look(at: float, figures: Mapping[str, float]) -> None:
        nonlocal most, first, last, cut
        most = max(most, figures[MEMORY])
        now = figures.get(SLOW, 0.0) - before.get(SLOW, 0.0)
        if now > cut:
            first = at if first is None else first
            last, cut = at, now

    driven = stage.drive(source, look)
    after = stage.scrape()
    return {
        **opened,
        **driven,
        "slow": plan.slow,
        "slow_cut": int(after.get(SLOW, 0.0) - before.get(SLOW, 0.0)),
        "slow_cut_first_seconds": None if first is None else round(plan.warmup + first, 1),
        "slow_cut_last_seconds": None if last is None else round(plan.warmup + last, 1),
        "memory_mib_before": round(before[MEMORY] / 2**20, 1),
        "memory_mib_most": round(most / 2**20, 1),
    }
