"""How this process keeps its memory: few long pauses, and nothing held that was let go of.

Rule: called once, when everything is loaded and before clients come.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc

_M_MMAP_THRESHOLD = -3  # mallopt(3)
_THRESHOLD_BYTES = 64 * 1024
# New objects before the youngest, collections of these before the older, and of those before all
# are looked through. A batch of records is more than Python's 700 and is gone again soon.
_THRESHOLDS = (50_000, 20, 100)


def settle() -> None:
    """Keep what is loaded out of the collector's way, and large pieces out of the heap.

    glibc raises its threshold for giving pieces back by itself as soon as larger ones are freed;
    then what the journal lets go of stays with the process, as much again as it holds. Where there
    is no `mallopt`, nothing happens.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _THRESHOLD_BYTES)
