"""Frames of past events, made once for all who come back at the same time.

Rule: what is for one account is made when it is sent; what is for many is kept for a while, in
a bounded number of bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bridge.core.protocol import frames

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.core.protocol.event import Event

_MOST_BYTES: Final = 4 << 20


class Frames:
    """Makes frames of the events in the journal."""

    def __init__(self) -> None:
        # By the number of the segment, not by itself: that would be kept in memory with it.
        self._kept: dict[tuple[int, int, str, Callable[[bytes], bytes]], bytes] = {}
        self._bytes = 0

    def make(
        self,
        topic: str,
        partition: int,
        place: tuple[int, int],
        event: Event,
        to: str,
        wrap: Callable[[bytes], bytes],
    ) -> bytes:
        """Return the frame of `event`, for those who get it for `to`.

        `place` is where it stands in the journal: the serial of its segment, and its number there.
        """
        key = (*place, to, wrap)
        frame = self._kept.get(key)
        if frame is None:
            frame = wrap(frames.event_frame(topic, partition, event).text(to))
            if to not in {frames.TO_CONNECTION, frames.TO_ACCOUNT}:
                if self._bytes > _MOST_BYTES:
                    self._kept.clear()
                    self._bytes = 0
                self._kept[key] = frame
                self._bytes += len(frame)
        return frame
