"""When grants end: which sessions have outlived theirs.

Rule: a session is found at the first look at or after its end, and who has left or has been given
a newer grant costs nothing for long.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Final

from bridge.core.sessions.session import State

if TYPE_CHECKING:
    from bridge.core.sessions.session import Session

_FEW: Final = 1024


class Expiries:
    """The ends of grants, `leeway` seconds after what they say. Times are seconds since 1970."""

    def __init__(self, leeway: float) -> None:
        self._leeway = leeway
        self._heap: list[tuple[float, int, Session]] = []
        self._number = count()  # sessions have no order of their own
        self._sweep_at = _FEW

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, session: Session) -> None:
        """Watch the end of the grant that `session` has now."""
        expires = session.grant.expires
        if expires is None:
            return
        if len(self._heap) >= self._sweep_at:
            self._heap = [entry for entry in self._heap if self._holds(*entry)]
            heapify(self._heap)
            self._sweep_at = max(_FEW, 2 * len(self._heap))
        heappush(self._heap, (expires + self._leeway, next(self._number), session))

    def due(self, now: float) -> list[Session]:
        """Return the live sessions whose grants have ended; those that open now are kept."""
        if not self._heap or self._heap[0][0] > now:
            return []
        due: list[tuple[float, int, Session]] = []
        early: list[tuple[float, int, Session]] = []
        while self._heap and self._heap[0][0] <= now:
            entry = heappop(self._heap)
            if self._holds(*entry):
                (early if entry[2].state is State.OPENING else due).append(entry)
        for entry in early:
            heappush(self._heap, entry)
        return [session for _, _, session in due]

    def _holds(self, ends: float, _number: int, session: Session) -> bool:
        """Whether this is still the end of what `session` has."""
        expires = session.grant.expires
        gone = session.state in {State.CLOSING, State.CLOSED}
        return not gone and expires is not None and expires + self._leeway == ends
