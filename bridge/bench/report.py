"""The result of a measurement, the bridges' metrics, and the machine.

Rule: a result names the machine, the bridge's version and every option. Its remarks name what
limits the figures.
"""

from __future__ import annotations

import os
import platform
import resource
from collections import defaultdict
from datetime import UTC, datetime
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib import request

from bridge.bench.load.job import BenchError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bridge.bench.plan import Plan

CPU_SECONDS_METRIC: Final = "process_cpu_seconds_total"
MEMORY_BYTES_METRIC: Final = "process_resident_memory_bytes"
SLOW_CLOSES_METRIC: Final = 'push_bridge_closes_total{code="4002"}'
RECORDS_READ_METRIC: Final = "push_bridge_records_read_total"
REPLAY_RECORDS_READ_METRIC: Final = "push_bridge_replay_records_read_total"
_SCRAPE_TIMEOUT_SECONDS: Final = 20.0
_BUSY_CPU_SHARE: Final = 0.85
_MIN_RATE_SHARE: Final = 0.95  # of --rate
_DELIVERY_ERRORS: Final = ("lost", "duplicates", "disorder")
_SPARE_FILES: Final = 100


def build_result(plan: Plan, version: str, figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return the object that `--json` prints."""
    return {
        "scenario": plan.scenario,
        "version": version,
        "machine": machine_info(),
        "plan": plan.as_json(),
        "figures": dict(figures),
        "remarks": list(remarks(plan, figures)),
    }


def has_delivery_errors(figures: Mapping[str, Any]) -> bool:
    """Return True if an event was lost, duplicated or out of order."""
    parts = [figures, *(each for each in figures.values() if isinstance(each, dict))]
    return any(part.get(name) for part in parts for name in _DELIVERY_ERRORS)


def remarks(plan: Plan, figures: Mapping[str, Any]) -> Iterator[str]:
    """Yield sentences on what limits the figures."""
    if has_delivery_errors(figures):
        yield "events were lost, duplicated or out of order: the bridge broke its promise"
    if plan.scenario == "ceiling":
        return
    if figures.get("client_use", 0) > _BUSY_CPU_SHARE:
        yield "a worker process was busy and may be the limit: use more --processes"
    if figures.get("produced_per_second", plan.rate) < plan.rate * _MIN_RATE_SHARE:
        yield "fewer records were written than --rate: the producer or Kafka was the limit"
    per_second = figures.get("deliveries_per_second", 0)
    if (behind := figures.get("behind_at_the_end", 0)) > per_second:
        yield f"{behind:,} deliveries were still due when the last record was written"
    if figures.get("gaps"):
        yield "clients received gaps, so events are missing from the figures"
    if later := figures.get("told_to_come_later"):
        yield (
            f"the bridge rejected {later:,} connection attempts as overloaded, limited by"
            " BRIDGE_LIMITS__HANDSHAKES_PER_SECOND or BRIDGE_LIMITS__CONNECTIONS"
        )
    if figures.get("cut", 0) > figures.get("slow_cut", 0):
        yield "clients were cut; later events do not count as lost for them"


def format_result(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines that are printed without `--json`."""
    machine, plan = result["machine"], result["plan"]
    yield (
        f"{result['scenario']}: push-bridge {result['version']}, {machine['cpu']},"
        f" {machine['usable_cores']} of {machine['cores']} cores, Linux {machine['kernel']},"
        f" {machine['python']}, {machine['date']}"
    )
    yield ", ".join(f"{name} {value}" for name, value in plan.items())
    yield from _format_figures(result["figures"], "")
    yield from (f"remark: {each}" for each in result["remarks"])


def _format_figures(figures: Mapping[str, Any], indent: str) -> Iterator[str]:
    for name, value in figures.items():
        label = f"{indent}{name.replace('_', ' ')}"
        if isinstance(value, dict) and any(isinstance(each, dict) for each in value.values()):
            yield label
            yield from _format_figures(value, indent + "  ")
        elif isinstance(value, dict):
            yield f"{label:<34}" + ("  ".join(f"{k} {v:,}" for k, v in value.items()) or "none")
        else:
            yield f"{label:<34}" + ("unknown" if value is None else f"{value:,}")


def parse_metrics(text: str) -> dict[str, float]:
    """Parse Prometheus' text format; a key is a name with its labels, as written."""
    samples: dict[str, float] = defaultdict(float)
    for line in text.splitlines():
        name, _, value = line.rpartition(" ")
        if name and not line.startswith("#"):
            try:
                samples[name] += float(value)
            except ValueError:
                continue
    return samples


def scrape_metrics(urls: tuple[str, ...]) -> dict[str, float]:
    """Return the samples of all bridges, added.

    Raises:
        BenchError: If one does not answer, or is not a bridge on Linux.
    """
    total: dict[str, float] = defaultdict(float)
    opener = request.build_opener(request.ProxyHandler({}))
    for url in urls:
        try:
            with opener.open(url, timeout=_SCRAPE_TIMEOUT_SECONDS) as response:
                samples = parse_metrics(response.read().decode("utf-8", "replace"))
        except (OSError, HTTPException, ValueError) as error:
            raise BenchError(
                f"{url} does not answer (--url; --metrics where BRIDGE_ADMIN_PORT is set): {error}"
            ) from None
        if CPU_SECONDS_METRIC not in samples:
            raise BenchError(
                f"{url} has no {CPU_SECONDS_METRIC}: is it a bridge on Linux? (--metrics)"
            )
        for name, value in samples.items():
            total[name] += value
    return total


def bridge_version(samples: Mapping[str, float]) -> str:
    """Return the version in the bridge's metrics, or "unknown"."""
    for name in samples:
        if name.startswith("push_bridge_build_info{"):
            return name.partition('version="')[2].partition('"')[0]
    return "unknown"


def machine_info() -> dict[str, object]:
    """Return the `machine` of a result."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def raise_open_file_limit(count: int) -> None:
    """Raise the limit of open files for `count` connections; child processes inherit it.

    Raises:
        BenchError: If the hard limit is too low.
    """
    needed = count + _SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        if hard != resource.RLIM_INFINITY and hard < needed:
            raise BenchError(
                f"{count} connections of one process need {needed} open files, but {hard} are"
                f" allowed: raise the hard limit (`ulimit -Hn`, nofile in limits.conf,"
                f" LimitNOFILE of systemd), or use more --processes"
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
