"""Scenario `filter`: of 100 records one is for a client; measures the cost of the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bridge.bench.scenarios.jobs import build_private_job
from bridge.bench.workloads import AccountsWorkload

if TYPE_CHECKING:
    from bridge.bench.stage import Measurement

_ONE_IN: Final = 100


def measure(measurement: Measurement) -> dict[str, Any]:
    """Run the scenario; return its figures."""
    plan = measurement.plan
    measurement.set_up(build_private_job(measurement))
    connect_figures = measurement.connect_clients()
    workload = AccountsWorkload(
        measurement.run_id,
        plan.account_prefix,
        plan.connections,
        measurement.partition_count,
        plan.record_bytes,
        one_in=_ONE_IN,
    )
    return {**connect_figures, **measurement.run_workload(workload)}
