"""Frames waiting for one client's socket.

Rule: refuse, never drop in silence, never wait. A slow reader costs a bounded amount of memory
and delays nobody; refused, it comes back with its cursor and has missed nothing.
"""

from __future__ import annotations


class Outbox:
    """A queue of frames with a ceiling in bytes.

    One that is below its ceiling takes one more event, however large: else an event larger than
    the ceiling could reach nobody.
    """

    __slots__ = ("_frames", "pending")

    def __init__(self) -> None:
        self._frames: list[bytes] = []
        self.pending = 0  #: bytes

    def put(self, frame: bytes, ceiling: int) -> bool:
        """Queue `frame`; tell whether there was room: fewer than `ceiling` bytes pending."""
        if self.pending >= ceiling:
            return False
        self._frames.append(frame)
        self.pending += len(frame)
        return True

    def force(self, frame: bytes) -> None:
        """Queue `frame` whatever is pending: for the bridge's own few, which are small."""
        self._frames.append(frame)
        self.pending += len(frame)

    def take(self, budget: int) -> bytes:
        """Take the oldest frames, joined: as many as fit into `budget` bytes, and at least one."""
        frames = self._frames
        if self.pending <= budget:
            self._frames = []
            self.pending = 0
            return b"".join(frames)
        size = count = 0
        for frame in frames:
            if count and size + len(frame) > budget:
                break
            size += len(frame)
            count += 1
        taken = b"".join(frames[:count])
        del frames[:count]
        self.pending -= size
        return taken

    def clear(self) -> None:
        """Forget what is queued."""
        self._frames = []
        self.pending = 0
