"""What was measured, for programs and for people.

Rule: a result names the machine, the bridge's version and everything that was asked for; it says
itself what it does not prove.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bridge.bench.machine import named

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bridge.bench.plan import Plan

_BUSY: Final = 0.85
_BEHIND: Final = 0.95  # of the rate that was asked for
_WRONG: Final = ("lost", "duplicates", "disorder")


def result(plan: Plan, version: str, figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return the whole result."""
    return {
        "scenario": plan.scenario,
        "version": version,
        "machine": named(),
        "plan": plan.as_json(),
        "figures": dict(figures),
        "remarks": list(remarks(plan, figures)),
    }


def broken(figures: Mapping[str, Any]) -> bool:
    """Tell whether an event was lost, came twice or out of order."""
    parts = [figures, *(each for each in figures.values() if isinstance(each, dict))]
    return any(part.get(name) for part in parts for name in _WRONG)


def remarks(plan: Plan, figures: Mapping[str, Any]) -> Iterator[str]:
    """Yield what has to be known beside the figures."""
    if broken(figures):
        yield "events were lost, came twice or came out of order: the bridge's promise is broken"
    if plan.scenario == "ceiling":
        return
    if figures.get("client_use", 0) > _BUSY:
        yield "the clients' process was busy: it may be what was measured; use more --processes"
    if figures.get("produced_per_second", plan.rate) < plan.rate * _BEHIND:
        yield "fewer records were written than --rate asks for: the producer or Kafka was the limit"
    a_second = figures.get("deliveries_per_second", 0)
    if (behind := figures.get("behind_at_the_end", 0)) > a_second:
        yield f"{behind:,} deliveries were still due when the last record was written"
    if figures.get("gaps"):
        yield "clients were told of gaps, so not everything was owed to them"
    if later := figures.get("told_to_come_later"):
        yield (
            f"clients were told {later:,} times to come later: accepts were limited by"
            " BRIDGE_LIMITS__HANDSHAKES_PER_SECOND or BRIDGE_LIMITS__CONNECTIONS"
        )
    if figures.get("cut", 0) > figures.get("slow_cut", 0):
        yield "clients were cut, and are not owed what came after"


def lines(told: Mapping[str, Any]) -> Iterator[str]:
    """Yield a result for people to read."""
    machine, plan = told["machine"], told["plan"]
    yield (
        f"{told['scenario']}: push-bridge {told['version']}, {machine['cpu']},"
        f" {machine['usable_cores']} of {machine['cores']} cores, Linux {machine['kernel']},"
        f" {machine['python']}, {machine['date']}"
    )
    yield ", ".join(f"{name} {value}" for name, value in plan.items())
    yield from _figures(told["figures"], "")
    yield from (f"remark: {each}" for each in told["remarks"])


def _figures(figures: Mapping[str, Any], indent: str) -> Iterator[str]:
    for name, value in figures.items():
        label = f"{indent}{name.replace('_', ' ')}"
        if isinstance(value, dict) and any(isinstance(each, dict) for each in value.values()):
            yield label
            yield from _figures(value, indent + "  ")
        elif isinstance(value, dict):
            yield f"{label:<34}" + ("  ".join(f"{k} {v:,}" for k, v in value.items()) or "none")
        else:
            yield f"{label:<34}" + ("unknown" if value is None else f"{value:,}")
