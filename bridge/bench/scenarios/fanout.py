"""Scenario `fanout`: all connections are in one room, each event is for the room."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.bench.scenarios.jobs import build_job
from bridge.bench.workloads import RoomWorkload

if TYPE_CHECKING:
    from bridge.bench.stage import Measurement


def measure(measurement: Measurement) -> dict[str, Any]:
    """Run the scenario; return its figures."""
    plan = measurement.plan
    measurement.set_up(build_job(measurement, room=measurement.room))
    connect_figures = measurement.connect_clients()
    workload = RoomWorkload(
        measurement.run_id,
        measurement.room,
        measurement.partition_count,
        plan.record_bytes,
        plan.connections,
    )
    return {**connect_figures, **measurement.run_workload(workload)}
