"""One pass over a range of Kafka's records, for all the sessions that need it.

Rule: its sessions are found as those of the hub are, by the same index, so that an event which is
for many of them is framed once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.core.sessions.registry import Interest
from bridge.core.sessions.replay import Reach

if TYPE_CHECKING:
    from bridge.core.journal import Tail


class Scan(Reach):
    """A pass, and whom it serves; `stretches` keeps what it reads for the journal."""

    __slots__ = ("interest", "stretches")

    def __init__(self, start: dict[tuple[str, int], int]) -> None:
        super().__init__(start)
        self.interest = Interest()
        self.stretches: dict[tuple[str, int], Tail] = {}
