"""Scenario `idle`: connections without events. Measures accepts, CPU, and memory per connection."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from bridge.bench.report import CPU_SECONDS_METRIC, MEMORY_BYTES_METRIC
from bridge.bench.scenarios.jobs import build_job

if TYPE_CHECKING:
    from bridge.bench.stage import Measurement


def measure(measurement: Measurement) -> dict[str, Any]:
    """Run the scenario; return its figures."""
    plan = measurement.plan
    metrics_before = measurement.set_up(build_job(measurement), needs_producer=False)
    connect_figures = measurement.connect_clients()
    metrics_at_start = measurement.scrape()
    status_at_start = measurement.worker_pool.run_command("status")
    started = time.monotonic()
    time.sleep(plan.seconds)
    metrics_at_end = measurement.scrape()
    seconds = time.monotonic() - started
    status_at_end = measurement.worker_pool.run_command("status")
    added_bytes = max(
        0.0, metrics_at_end[MEMORY_BYTES_METRIC] - metrics_before[MEMORY_BYTES_METRIC]
    )
    return {
        **connect_figures,
        "memory_kib_per_connection": round(added_bytes / 1024 / plan.connections, 2),
        "memory_mib_before": round(metrics_before[MEMORY_BYTES_METRIC] / 2**20, 1),
        "memory_mib_after": round(metrics_at_end[MEMORY_BYTES_METRIC] / 2**20, 1),
        "bridge_cpu": round(
            (metrics_at_end[CPU_SECONDS_METRIC] - metrics_at_start[CPU_SECONDS_METRIC]) / seconds, 4
        ),
        "cut": status_at_end.closed,
        "closes": dict(status_at_end.close_codes),
        "client_use": round(status_at_end.max_cpu_share(status_at_start, seconds), 3),
    }
