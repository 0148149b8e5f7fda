"""Scenario `slow`: some clients of a room stop reading; measures the others.

Rule: a client that does not read does not notice its close, so the bridge's metric counts closes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.bench.load.job import BenchError
from bridge.bench.report import MEMORY_BYTES_METRIC, SLOW_CLOSES_METRIC
from bridge.bench.scenarios.jobs import build_job
from bridge.bench.workloads import RoomWorkload

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bridge.bench.stage import Measurement


def measure(measurement: Measurement) -> dict[str, Any]:
    """Return the figures; latencies and losses are those of the reading clients."""
    plan = measurement.plan
    if not 0 < plan.slow_clients < plan.connections:
        raise BenchError("--slow: must be less than --connections", exit_code=2)
    measurement.set_up(
        build_job(measurement, room=measurement.room, stalled_clients=plan.slow_clients)
    )
    connect_figures = measurement.connect_clients()
    before = measurement.scrape()
    measurement.worker_pool.run_command("stall")
    readers = plan.connections - plan.slow_clients
    workload = RoomWorkload(
        measurement.run_id,
        measurement.room,
        measurement.partition_count,
        plan.record_bytes,
        readers,
    )
    peak_memory_bytes = before[MEMORY_BYTES_METRIC]
    first_cut_seconds: float | None = None
    last_cut_seconds: float | None = None
    cut_count = 0.0

    def sample(elapsed_seconds: float, metrics: Mapping[str, float]) -> None:
        nonlocal peak_memory_bytes, first_cut_seconds, last_cut_seconds, cut_count
        peak_memory_bytes = max(peak_memory_bytes, metrics[MEMORY_BYTES_METRIC])
        total_cut = metrics.get(SLOW_CLOSES_METRIC, 0.0) - before.get(SLOW_CLOSES_METRIC, 0.0)
        if total_cut > cut_count:
            first_cut_seconds = elapsed_seconds if first_cut_seconds is None else first_cut_seconds
            last_cut_seconds, cut_count = elapsed_seconds, total_cut

    workload_figures = measurement.run_workload(workload, sample)
    after = measurement.scrape()
    return {
        **connect_figures,
        **workload_figures,
        "slow": plan.slow_clients,
        "slow_cut": int(after.get(SLOW_CLOSES_METRIC, 0.0) - before.get(SLOW_CLOSES_METRIC, 0.0)),
        "slow_cut_first_seconds": None
        if first_cut_seconds is None
        else round(plan.warmup_seconds + first_cut_seconds, 1),
        "slow_cut_last_seconds": None
        if last_cut_seconds is None
        else round(plan.warmup_seconds + last_cut_seconds, 1),
        "memory_mib_before": round(before[MEMORY_BYTES_METRIC] / 2**20, 1),
        "memory_mib_most": round(peak_memory_bytes / 2**20, 1),
    }
