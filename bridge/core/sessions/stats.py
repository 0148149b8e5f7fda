"""What is counted of the stream while it goes through the hub, for whoever asks later.

Rule: what is counted here is counted once for a batch at most, however many listen.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from bridge.core.sessions.histogram import Histogram

#: Seconds, from what nobody notices to what everybody does.
LATENCIES: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)


class Tally:
    """Counts from the start of this instance on."""

    def __init__(self) -> None:
        self.read = 0  #: records, live
        self.routed = 0  #: of them, events for somebody, here or elsewhere
        self.unaddressed = 0  #: of them, for nobody
        self.gaps: Counter[str] = Counter()  #: in what is read live, by reason
        self.latency = Histogram(LATENCIES)  #: seconds from a record's timestamp to its write
