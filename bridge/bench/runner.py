"""Runs the scenario of a plan.

Rule: Linux only, because the load generator reads `/proc` and uses epoll. Elsewhere it is an error.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from bridge.bench.load.job import BenchError
from bridge.bench.report import build_result

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.bench.plan import Plan

#: The defaults of each scenario: connections, records per second, seconds.
SCENARIO_DEFAULTS: Final = {
    "fanout": (1_000, 50.0, 10.0),
    "accounts": (1_000, 1_000.0, 10.0),
    "filter": (1_000, 10_000.0, 10.0),
    "idle": (5_000, 1.0, 10.0),
    "storm": (1_000, 1_000.0, 0.0),
    "slow": (200, 100.0, 30.0),
    "hostile": (0, 1.0, 5.0),  # each attack has its own number
    "ceiling": (1_000, 1.0, 3.0),
}


def measure(plan: Plan, on_progress: Callable[[str], None]) -> dict[str, Any]:
    """Return the whole result, as `report.build_result` builds it.

    Raises:
        BenchError: If the scenario cannot run.
    """
    if sys.platform != "linux":
        raise BenchError("bench runs on Linux only")
    from bridge.bench import self_test  # noqa: PLC0415 - it needs Linux
    from bridge.bench.stage import Measurement  # noqa: PLC0415 - likewise

    if plan.scenario == "ceiling":
        return build_result(plan, "not measured", self_test.measure(plan, on_progress))
    scenario = import_module(f"bridge.bench.scenarios.{plan.scenario}")
    with Measurement(plan, on_progress) as measurement:
        figures = scenario.measure(measurement)
        return build_result(plan, measurement.bridge_version, figures)
