"""Each event is for one of many accounts, each of which has one connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.bench.scenarios.jobs import accounts_of_their_own
from bridge.bench.workloads import ForAccounts

if TYPE_CHECKING:
    from bridge.bench.stage import Stage


def measure(stage: Stage) -> dict[str, Any]:
    """Return the figures."""
    plan = stage.plan
    stage.set_up(accounts_of_their_own(stage))
    opened = stage.open()
    source = ForAccounts(stage.run, plan.account, plan.connections, stage.partitions, plan.size)
    return {**opened, **stage.drive(source)}
