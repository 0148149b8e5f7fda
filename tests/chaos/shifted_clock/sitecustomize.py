# ruff: noqa: INP001 - no package: Python imports it by its place in the path
"""Shifts this process's wall clock by `CHAOS_CLOCK_SHIFT_SECONDS`; Python imports it at its start.

The monotonic clock stays, as on a machine whose date is wrong.
"""

import os
import time

_SHIFT_SECONDS = float(os.environ["CHAOS_CLOCK_SHIFT_SECONDS"])
_real_time = time.time


def _shifted_time() -> float:
    return _real_time() + _SHIFT_SECONDS


time.time = _shifted_time
