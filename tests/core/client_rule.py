"""What any client may rely on, whatever the model says: contract 3.3, checked frame by frame.

On one connection offsets strictly increase per partition until a gap, and a cursor covers exactly
the frames before it: nothing that came is at or above it, nothing that comes is below it.
"""

from __future__ import annotations

from typing import Any

from bridge.core.protocol.cursor import read_position


class Reliance:
    """One client's view: by topic and partition, what it has seen and what a cursor covered."""

    def __init__(self) -> None:
        self._above: dict[str, dict[int, int]] = {}  # the lowest offset that may still come

    def see(self, frame: dict[str, Any]) -> None:
        if frame["op"] == "event":
            topic, partition, offset = read_position(frame["at"])
            seen = self._above.setdefault(topic, {})
            assert offset >= seen.get(partition, 0), "twice, out of order, or covered before"
            seen[partition] = offset + 1
            return
        if frame["op"] == "gap":
            self._above.pop(frame["topic"], None)
        if frame["cursor"] is None:
            return
        for topic in set(self._above) - set(frame["cursor"]):
            del self._above[topic]  # no longer subscribed
        for topic, (_, offsets) in frame["cursor"].items():
            seen = self._above.setdefault(topic, {})
            for partition in {*seen, *offsets}:
                assert offsets.get(partition, 0) >= seen.get(partition, 0), "came but not covered"
            self._above[topic] = dict(offsets)
