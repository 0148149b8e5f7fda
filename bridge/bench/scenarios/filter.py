"""One record of a hundred is for anybody here: what it costs to pass over the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bridge.bench.scenarios.jobs import accounts_of_their_own
from bridge.bench.workloads import ForAccounts

if TYPE_CHECKING:
    from bridge.bench.stage import Stage

_AMONG: Final = 100


def measure(stage: Stage) -> dict[str, Any]:
    """Return the figures."""
    plan = stage.plan
    stage.set_up(accounts_of_their_own(stage))
    opened = stage.open()
    source = ForAccounts(
        stage.run, plan.account, plan.connections, stage.partitions, plan.size, among=_AMONG
    )
    return {**opened, **stage.drive(source)}
