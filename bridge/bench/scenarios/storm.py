"""Scenario `storm`: all clients disconnect, miss records, and resume at the same time.

Rule: the storm ends when the last client has received `live`. Each client must have received the
records that it missed, each once and in order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bridge.bench.report import CPU_SECONDS_METRIC, MEMORY_BYTES_METRIC, REPLAY_RECORDS_READ_METRIC
from bridge.bench.scenarios.jobs import build_private_job
from bridge.bench.stage import ratio
from bridge.bench.workloads import AccountsWorkload

if TYPE_CHECKING:
    from bridge.bench.stage import Measurement

_MIN_RATE: Final = 50_000.0


def measure(measurement: Measurement) -> dict[str, Any]:
    """Run the scenario; return its figures."""
    plan = measurement.plan
    measurement.set_up(build_private_job(measurement))
    connect_figures = measurement.connect_clients()
    measurement.worker_pool.run_command("disconnect")
    workload = AccountsWorkload(
        measurement.run_id,
        plan.account_prefix,
        plan.connections,
        measurement.partition_count,
        plan.record_bytes,
    )
    measurement.write_records(workload, max(plan.rate, _MIN_RATE), plan.missed_records)
    measurement.on_progress(f"{plan.missed_records:,} records written while disconnected")
    metrics_before = measurement.scrape()
    retries_before = measurement.worker_pool.run_command("reset_latencies").counters["retries"]
    status_before = measurement.worker_pool.run_command("status")
    seconds = measurement.run_until_all(
        "connect", lambda status: status.live, "back", resuming=True
    )
    metrics_after = measurement.scrape()
    checked = measurement.check_delivery(workload)
    cpu_seconds = metrics_after[CPU_SECONDS_METRIC] - metrics_before[CPU_SECONDS_METRIC]
    events = measurement.delivery_figures(workload, checked)
    del events["latency_ms"]  # it would include the time without a connection
    return {
        **connect_figures,
        "missed": plan.missed_records,
        "storm_seconds": round(seconds, 3),
        "sent_away": checked.counters["retries"] - retries_before,
        "bridge_cpu_seconds": round(cpu_seconds, 3),
        "replayed_per_cpu_second": ratio(checked.received_events, cpu_seconds),
        "records_read_from_kafka": int(
            metrics_after.get(REPLAY_RECORDS_READ_METRIC, 0)
            - metrics_before.get(REPLAY_RECORDS_READ_METRIC, 0)
        ),
        "memory_mib_before": round(metrics_before[MEMORY_BYTES_METRIC] / 2**20, 1),
        "memory_mib_after": round(metrics_after[MEMORY_BYTES_METRIC] / 2**20, 1),
        **events,
        "client_use": round(checked.max_cpu_share(status_before, seconds), 3),
    }
