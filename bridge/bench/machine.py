"""On what it was measured, and how many files may be open there.

Rule: a figure without its machine is none.
"""

from __future__ import annotations

import os
import platform
import resource
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bridge.bench.load.trouble import Trouble

_SPARE_FILES: Final = 100


def named() -> dict[str, object]:
    """Return the machine, as a result tells it."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def allow_files(count: int) -> None:
    """Raise this process's limit of open files, and so its children's, to what is needed.

    Raises:
        Trouble: If the system does not allow so many.
    """
    needed = count + _SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        if hard != resource.RLIM_INFINITY and hard < needed:
            raise Trouble(
                f"{count} connections of one process need {needed} open files, and {hard} are"
                f" allowed: raise the hard limit (`ulimit -Hn`, nofile in limits.conf,"
                f" LimitNOFILE of systemd), or use more --processes"
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
