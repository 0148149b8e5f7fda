"""One room of all connections: each event is delivered to everybody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.bench.scenarios.jobs import job
from bridge.bench.workloads import ForRoom

if TYPE_CHECKING:
    from bridge.bench.stage import Stage


def measure(stage: Stage) -> dict[str, Any]:
    """Return the figures."""
    plan = stage.plan
    stage.set_up(job(stage, room=stage.room))
    opened = stage.open()
    source = ForRoom(stage.run, stage.room, stage.partitions, plan.size, plan.connections)
    return {**opened, **stage.drive(source)}
