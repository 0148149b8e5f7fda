"""A client's place in the stream, and the one rule by which it drops duplicates.

The rule kept here: a place covers exactly what the user has taken. It is the newest cursor, and
the last position of each partition since; a gap forgets those of its topic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class ResumeCursor:
    """Where a client stands; `text` is the place that another one kept."""

    def __init__(self, text: str | None = None) -> None:
        self._cursor = ""
        self._offsets_since_cursor: dict[
            str, int
        ] = {}  # by partition: the last taken since the cursor
        self._last_offsets: dict[str, int] = {}  # the last taken ever
        if text:
            self._set(text)

    @property
    def text(self) -> str | None:
        """What to come back with; None where there is no cursor yet."""
        if not self._cursor:
            return None
        return ",".join(
            [
                self._cursor,
                *(
                    f"{partition}:{offset}"
                    for partition, offset in self._offsets_since_cursor.items()
                ),
            ]
        )

    def advance(self, frame: Mapping[str, Any]) -> bool:
        """Move on behind a frame; whether it is new to the user."""
        if frame["op"] == "event":
            partition, offset = split_position(frame["at"])
            if offset <= self._last_offsets.get(partition, -1):
                return False
            self._offsets_since_cursor[partition] = self._last_offsets[partition] = offset
            return True
        if frame["op"] == "gap":
            self.forget_topic(frame["topic"])
        if cursor := frame.get("cursor"):
            self._set(cursor)
        return True

    def forget_topic(self, topic: str) -> None:
        """Forget the positions of a topic: its offsets may begin anew."""
        for offsets in (self._offsets_since_cursor, self._last_offsets):
            for partition in [each for each in offsets if each.rpartition(":")[0] == topic]:
                del offsets[partition]

    def _set(self, text: str) -> None:
        # A welcome gives the client's own text back, with its positions.
        self._cursor, *positions = text.split(",")
        self._offsets_since_cursor = dict(map(split_position, positions))
        for partition, offset in self._offsets_since_cursor.items():
            self._last_offsets[partition] = max(offset, self._last_offsets.get(partition, -1))


def split_position(position: str) -> tuple[str, int]:
    """Return a position's partition, as `topic:3`, and its offset.

    Raises:
        ValueError: If it is no position.
    """
    partition, _, offset = position.rpartition(":")
    if ":" not in partition or not offset.isdecimal():
        raise ValueError(f"not a position: {position[:300]!r}")
    return partition, int(offset)
