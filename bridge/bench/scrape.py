"""What a bridge tells of itself at `/metrics`, of several bridges added up.

Rule: what it has used is a difference of its own counters, never a guess from outside.
"""

from __future__ import annotations

from collections import defaultdict
from http.client import HTTPException
from typing import TYPE_CHECKING, Final
from urllib import request

from bridge.bench.load.trouble import Trouble

if TYPE_CHECKING:
    from collections.abc import Mapping

CPU: Final = "process_cpu_seconds_total"
MEMORY: Final = "process_resident_memory_bytes"
SLOW: Final = 'push_bridge_closes_total{code="4002"}'
READ: Final = "push_bridge_records_read_total"
REPLAYED: Final = "push_bridge_replay_records_read_total"
_SECONDS: Final = 20.0


def parsed(text: str) -> dict[str, float]:
    """Return the samples of Prometheus' text format, with their labels as they are written."""
    found: dict[str, float] = defaultdict(float)
    for line in text.splitlines():
        name, _, value = line.rpartition(" ")
        if name and not line.startswith("#"):
            try:
                found[name] += float(value)
            except ValueError:
                continue
    return found


def scrape(urls: tuple[str, ...]) -> dict[str, float]:
    """Return the samples of all these bridges together.

    Raises:
        Trouble: If one does not answer, or is none.
    """
    total: dict[str, float] = defaultdict(float)
    opener = request.build_opener(request.ProxyHandler({}))
    for url in urls:
        try:
            with opener.open(url, timeout=_SECONDS) as answer:
                samples = parsed(answer.read().decode("utf-8", "replace"))
        except (OSError, HTTPException, ValueError) as problem:
            raise Trouble(
                f"{url} does not answer (--url; --metrics where BRIDGE_ADMIN_PORT is set):"
                f" {problem}"
            ) from None
        if CPU not in samples:
            raise Trouble(f"{url} does not tell {CPU}: is it a bridge on Linux? (--metrics)")
        for name, value in samples.items():
            total[name] += value
    return total


def version(samples: Mapping[str, float]) -> str:
    """Return the bridge's version, as it tells it."""
    for name in samples:
        if name.startswith("push_bridge_build_info{"):
            return name.partition('version="')[2].partition('"')[0]
    return "unknown"
