"""The client's position in the stream, and the detection of duplicates.

Rule: the position covers exactly what the user has taken. It is the newest cursor and, for each
partition, the last position since. A gap removes the positions of its topic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class ResumeCursor:
    """A position to resume from; `text` is that of another client, or None."""

    def __init__(self, text: str | None = None) -> None:
        self._cursor = ""
        # By partition, the last offset since the cursor, and the last one ever.
        self._offsets_since_cursor: dict[str, int] = {}
        self._last_offsets: dict[str, int] = {}
        if text:
            self._set(text)

    @property
    def text(self) -> str | None:
        """The `cursor` of the next hello; None if there is none yet."""
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
        """Advance behind a frame; return False for an event that was taken before."""
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
        """Remove the positions of a topic, whose offsets may start again from 0."""
        for offsets in (self._offsets_since_cursor, self._last_offsets):
            for partition in [each for each in offsets if each.rpartition(":")[0] == topic]:
                del offsets[partition]

    def _set(self, text: str) -> None:
        # After a resume the welcome has the client's own text, with positions.
        self._cursor, *positions = text.split(",")
        self._offsets_since_cursor = dict(map(split_position, positions))
        for partition, offset in self._offsets_since_cursor.items():
            self._last_offsets[partition] = max(offset, self._last_offsets.get(partition, -1))


def split_position(position: str) -> tuple[str, int]:
    """Return the partition, such as `topic:3`, and the offset of a position.

    Raises:
        ValueError: If it is not `topic:partition:offset`.
    """
    partition, _, offset = position.rpartition(":")
    if ":" not in partition or not offset.isdecimal():
        raise ValueError(f"not a position: {position[:300]!r}")
    return partition, int(offset)
