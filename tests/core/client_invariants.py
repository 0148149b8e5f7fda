"""What any client may rely on, whatever the model says: contract 3.3, checked frame by frame.

On one connection offsets strictly increase per partition until a gap, and a cursor covers exactly
the frames before it: nothing that came is at or above it, nothing that comes is below it.
"""

from __future__ import annotations

from typing import Any

from bridge.core.protocol.cursor import parse_position


class ClientInvariants:
    """One client's view: by topic and partition, what it has seen and what a cursor covered."""

    def __init__(self) -> None:
        self._min_offsets: dict[str, dict[int, int]] = {}  # the lowest offset that may still come

    def check_frame(self, frame: dict[str, Any]) -> None:
        if frame["op"] == "event":
            topic, partition, offset = parse_position(frame["at"])
            min_offsets = self._min_offsets.setdefault(topic, {})
            assert offset >= min_offsets.get(partition, 0), "twice, out of order, or covered before"
            min_offsets[partition] = offset + 1
            return
        if frame["op"] == "gap":
            self._min_offsets.pop(frame["topic"], None)
        if frame["cursor"] is None:
            return
        for topic in set(self._min_offsets) - set(frame["cursor"]):
            del self._min_offsets[topic]  # no longer subscribed
        for topic, (_, offsets) in frame["cursor"].items():
            min_offsets = self._min_offsets.setdefault(topic, {})
            for partition in {*min_offsets, *offsets}:
                assert offsets.get(partition, 0) >= min_offsets.get(partition, 0), (
                    "came but not covered"
                )
            self._min_offsets[topic] = dict(offsets)
