"""Everybody leaves, misses records, and comes back at once with a cursor.

Rule: every client is judged. The storm is over when the last one was told `live`, however often
it was sent away; what it was given before and after has to be whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bridge.bench.report import CPU, MEMORY, REPLAYED
from bridge.bench.scenarios.jobs import accounts_of_their_own
from bridge.bench.stage import per
from bridge.bench.workloads import ForAccounts

if TYPE_CHECKING:
    from bridge.bench.stage import Stage

_RATE: Final = 50_000.0


def measure(stage: Stage) -> dict[str, Any]:
    """Return the figures."""
    plan = stage.plan
    stage.set_up(accounts_of_their_own(stage))
    opened = stage.open()
    stage.crew.order("leave")
    source = ForAccounts(stage.run, plan.account, plan.connections, stage.partitions, plan.size)
    stage.write(source, max(plan.rate, _RATE), plan.missed)
    stage.tell(f"{plan.missed:,} records were missed")
    before, sent_away = stage.scrape(), stage.crew.order("mark").count["later"]
    ours = stage.crew.order("status")
    seconds = stage.await_all("come", lambda it: it.live, "back", returning=True)
    after = stage.scrape()
    judged = stage.judge(source)
    used = after[CPU] - before[CPU]
    events = stage.events(source, judged)
    del events["latency_ms"]  # it is how long they were away
    return {
        **opened,
        "missed": plan.missed,
        "storm_seconds": round(seconds, 3),
        "sent_away": judged.count["later"] - sent_away,
        "bridge_cpu_seconds": round(used, 3),
        "replayed_per_cpu_second": per(judged.received, used),
        "records_read_from_kafka": int(after.get(REPLAYED, 0) - before.get(REPLAYED, 0)),
        "memory_mib_before": round(before[MEMORY] / 2**20, 1),
        "memory_mib_after": round(after[MEMORY] / 2**20, 1),
        **events,
        "client_use": round(judged.busiest(ours, seconds), 3),
    }
