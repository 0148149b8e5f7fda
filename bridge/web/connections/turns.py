"""Bounds what WebSockets may do in one turn of the event loop: accepts, and frames.

Rule: what exceeds the bound waits for a later turn, in the order of arrival. Nothing is refused.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

#: Each accept takes some tenths of a millisecond.
ACCEPTS_PER_TURN: Final = 32
#: Frames of one connection before others get their turn. A frame takes 3 to 100 microseconds.
FRAMES_PER_TURN: Final = 8
#: The same in time, for frames with many names.
CONNECTION_SECONDS: Final = 0.001
#: For the connections that wait, and again for those whose bytes arrive in this turn.
TURN_SECONDS: Final = 0.005


class AcceptThrottle:
    """Limits the accepts per turn of the event loop."""

    def __init__(self) -> None:
        self._call_soon = asyncio.get_running_loop().call_soon
        self._accepts_left = ACCEPTS_PER_TURN  # in this turn of the event loop
        self._queue: deque[Callable[[], object]] = deque()

    def submit(self, accept: Callable[[], object]) -> bool:
        """Call `accept` now or in a later turn; return whether it was now."""
        if self._accepts_left == ACCEPTS_PER_TURN:
            self._call_soon(self._start_turn)
        if not self._accepts_left:
            self._queue.append(accept)
            return False
        self._accepts_left -= 1
        accept()
        return True

    def _start_turn(self) -> None:
        self._accepts_left = ACCEPTS_PER_TURN - min(ACCEPTS_PER_TURN, len(self._queue))
        if self._queue:
            self._call_soon(self._start_turn)
        for _ in range(ACCEPTS_PER_TURN - self._accepts_left):
            # One callback each, so that an exception affects one connection only.
            self._call_soon(self._queue.popleft())


class FrameReader(Protocol):
    """A connection with frames to handle."""

    transport: asyncio.Transport

    def is_sparing(self) -> bool:
        """Whether it has sent so little lately that it goes before those that sent more."""

    def handle_frames(self) -> bool:
        """Handle a few frames; return whether more can be handled in a later turn."""


class FrameTurns:
    """Shares each turn of the event loop among the connections that sent frames.

    A connection that sends little is served when its bytes arrive, while the turn has time left.
    It does not wait behind those that send much; these take turns.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        """`clock` must move within a turn, which the event loop's own may not."""
        self._call_soon = asyncio.get_running_loop().call_soon
        self._clock = clock
        # A dict keeps the order, and each connection waits in it once.
        self._sparing: dict[FrameReader, None] = {}
        self._greedy: dict[FrameReader, None] = {}
        self._is_turn_due = False
        self._arrivals_until = 0.0  # the end of this turn's time for arriving bytes

    def submit(self, reader: FrameReader) -> bool:
        """Serve `reader` now, or in a later turn; return whether it waits for one."""
        if reader in self._sparing or reader in self._greedy:
            return True
        if not self._is_turn_due:
            self._schedule_turn()
            self._arrivals_until = self._clock() + TURN_SECONDS
        if not reader.is_sparing() or self._clock() >= self._arrivals_until:
            self._queue(reader)
            return True
        return self._serve(reader)

    def wait(self, reader: FrameReader) -> None:
        """Serve `reader` in a later turn."""
        self.discard(reader)
        self._queue(reader)
        if not self._is_turn_due:
            self._schedule_turn()

    def discard(self, reader: FrameReader) -> None:
        """Forget a connection that is lost."""
        self._sparing.pop(reader, None)
        self._greedy.pop(reader, None)

    def _queue(self, reader: FrameReader) -> None:
        (self._sparing if reader.is_sparing() else self._greedy)[reader] = None

    def _schedule_turn(self) -> None:
        self._is_turn_due = True
        self._call_soon(self._start_turn)

    def _start_turn(self) -> None:
        self._is_turn_due = False
        waiting_count = len(self._sparing) + len(self._greedy)
        if not waiting_count:
            return
        self._schedule_turn()
        ends_at = self._clock() + TURN_SECONDS
        try:
            for _ in range(waiting_count):
                queue = self._sparing or self._greedy
                if not queue:
                    break  # one that was served closed another
                reader = next(iter(queue))
                del queue[reader]
                self._serve(reader)
                if self._clock() >= ends_at:
                    break
        finally:
            self._arrivals_until = self._clock() + TURN_SECONDS

    def _serve(self, reader: FrameReader) -> bool:
        try:
            must_wait = reader.handle_frames()
        except BaseException:
            reader.transport.abort()  # nothing would read on from it
            raise
        if must_wait:
            self._queue(reader)
        return must_wait
