"""Connections on which nothing happens: how fast they are taken, and what each one costs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from bridge.bench.report import CPU, MEMORY
from bridge.bench.scenarios.jobs import job

if TYPE_CHECKING:
    from bridge.bench.stage import Stage


def measure(stage: Stage) -> dict[str, Any]:
    """Return the figures."""
    plan = stage.plan
    before = stage.set_up(job(stage), produces=False)
    opened = stage.open()
    rest, standing, begun = stage.scrape(), stage.crew.order("status"), time.monotonic()
    time.sleep(plan.seconds)
    after, seconds = stage.scrape(), time.monotonic() - begun
    left = stage.crew.order("status")
    grown = max(0.0, after[MEMORY] - before[MEMORY])
    return {
        **opened,
        "memory_kib_per_connection": round(grown / 1024 / plan.connections, 2),
        "memory_mib_before": round(before[MEMORY] / 2**20, 1),
        "memory_mib_after": round(after[MEMORY] / 2**20, 1),
        "bridge_cpu": round((after[CPU] - rest[CPU]) / seconds, 4),
        "cut": left.gone,
        "closes": dict(left.closes),
        "client_use": round(left.busiest(standing, seconds), 3),
    }
