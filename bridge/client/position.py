"""A client's place in the stream, and the one rule by which it drops duplicates.

The rule kept here: a place covers exactly what the user has taken. It is the newest cursor, and
the last position of each partition since; a gap forgets those of its topic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class Place:
    """Where a client stands; `text` is the place that another one kept."""

    def __init__(self, text: str | None = None) -> None:
        self._cursor = ""
        self._since: dict[str, int] = {}  # by partition: the last taken since the cursor
        self._last: dict[str, int] = {}  # the last taken ever
        if text:
            self._moves(text)

    @property
    def text(self) -> str | None:
        """What to come back with; None where there is no cursor yet."""
        if not self._cursor:
            return None
        return ",".join([self._cursor, *(f"{at}:{last}" for at, last in self._since.items())])

    def take(self, frame: Mapping[str, Any]) -> bool:
        """Move on behind a frame; whether it is new to the user."""
        if frame["op"] == "event":
            partition, offset = split(frame["at"])
            if offset <= self._last.get(partition, -1):
                return False
            self._since[partition] = self._last[partition] = offset
            return True
        if frame["op"] == "gap":
            self.forget(frame["topic"])
        if cursor := frame.get("cursor"):
            self._moves(cursor)
        return True

    def forget(self, topic: str) -> None:
        """Forget the positions of a topic: its offsets may begin anew."""
        for positions in (self._since, self._last):
            for partition in [each for each in positions if each.rpartition(":")[0] == topic]:
                del positions[partition]

    def _moves(self, text: str) -> None:
        # A welcome gives the client's own text back, with its positions.
        self._cursor, *positions = text.split(",")
        self._since = dict(map(split, positions))
        for partition, offset in self._since.items():
            self._last[partition] = max(offset, self._last.get(partition, -1))


def split(at: str) -> tuple[str, int]:
    """Return a position's partition, as `topic:3`, and its offset.

    Raises:
        ValueError: If it is no position.
    """
    partition, _, offset = at.rpartition(":")
    if ":" not in partition or not offset.isdecimal():
        raise ValueError(f"not a position: {at[:300]!r}")
    return partition, int(offset)
