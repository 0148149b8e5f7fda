"""Where one client stands in what it reads: its ledger, a cut frame, its place on a tape.

Rule: plain values, which whoever takes its bytes keeps right; nothing here is worked out.
"""

from __future__ import annotations

from bridge.bench.load.delivery_check import Ledger


class Reader:
    """One who reads frames, whole or cut."""

    __slots__ = ("at", "ledger", "seen", "since", "tail")

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.tail = b""  #: the begin of a frame, of which the tape has nothing
        self.at = 0  #: up to this byte of the tape it has read
        self.seen = 0  #: so many events of the tape end before there
        self.since = 0  #: those from this one on are not in its ledger yet
