"""What a client keeps so that it can come back (contract 3.3), and what it may rely on meanwhile.

The rule kept here: it is the contract's client and knows nothing of the bridge, so a cursor is a
string to it. What comes again by right, to a client that came back with its cursor alone, is
dropped and counted; anything else is left for the checker to judge.
"""

from __future__ import annotations

from typing import Any


class ResumeState:
    """One client's memory over all its connections. `frames` is what the checker shall judge."""

    def __init__(self) -> None:
        self.cursor: str | None = None
        self.frames: list[dict[str, Any]] = []
        self.connection_count = 0
        self.replayed_count = 0  #: events, as `live` tells
        self.repeated_count = 0  #: events that came again by right
        self.errors: list[str] = []  #: of what no client has to bear
        self._sent_cursor: str | None = None  # how it came back
        self._is_cursor_only = False  # whether that was by the cursor alone
        self._after_cursor: dict[str, None] = {}  # came on this connection, after its newest cursor
        self._may_repeat: dict[str, None] = {}  # came on earlier ones, and may come again on this
        self._last_offsets: dict[str, int] = {}  # by partition, on this connection

    def resume(self, *, cursor_only: bool) -> str | None:
        """Return what to come back with: the cursor, and without `cursor_only` later positions.

        None as long as there was no welcome.
        """
        self._is_cursor_only = cursor_only
        if self.cursor is None or cursor_only:
            self._sent_cursor = self.cursor
        else:
            last_offsets: dict[str, int] = {}
            for at in (*self._may_repeat, *self._after_cursor):
                partition, offset = _split(at)
                last_offsets[partition] = max(offset, last_offsets.get(partition, 0))
            positions = [f"{partition}:{offset}" for partition, offset in last_offsets.items()]
            self._sent_cursor = ",".join([self.cursor, *positions])
        return self._sent_cursor

    def receive(self, frame: dict[str, Any]) -> bool:
        """Take in a frame; tell whether it is new."""
        match frame["op"]:
            case "welcome":
                self._on_welcome(frame["cursor"])
            case "event":
                if not self._is_new(frame["at"]):
                    return False
            case "gap":
                self._drop_topic(frame["topic"])
                self._set_cursor(frame["cursor"])
            case "live":
                self.replayed_count += frame["replayed"]
                self._set_cursor(frame["cursor"])
            case _:
                self._set_cursor(frame.get("cursor"))
        self.frames.append(frame)
        return True

    def _on_welcome(self, cursor: str) -> None:
        self.connection_count += 1
        if self._sent_cursor is not None and cursor != self._sent_cursor:
            self._add_error(f"came back with {self._sent_cursor}, was welcomed with {cursor}")
        if self._is_cursor_only:
            self._may_repeat |= self._after_cursor
        else:
            self._may_repeat.clear()
        self._last_offsets.clear()
        self._set_cursor(cursor)

    def _is_new(self, position: str) -> bool:
        partition, offset = _split(position)
        if offset <= self._last_offsets.get(partition, -1):
            self._add_error(f"{position} came after offset {self._last_offsets[partition]}")
        self._last_offsets[partition] = offset
        self._after_cursor[position] = None
        is_repeated = self._may_repeat.pop(position, position) is None
        self.repeated_count += is_repeated
        skipped = [each for each in self._may_repeat if _is_before(each, partition, offset)]
        if skipped:
            self._add_error(f"a cursor covered what was still to come before {position}: {skipped}")
            for each in skipped:
                del self._may_repeat[each]
        return not is_repeated

    def _set_cursor(self, cursor: str | None) -> None:
        if cursor is not None:
            self.cursor = cursor
            self._after_cursor.clear()

    def _drop_topic(self, topic: str) -> None:
        def others(places: dict[str, Any]) -> dict[str, Any]:
            return {at: it for at, it in places.items() if at.split(":")[0] != topic}

        self._after_cursor, self._may_repeat = others(self._after_cursor), others(self._may_repeat)
        self._last_offsets = others(self._last_offsets)

    def _add_error(self, sentence: str) -> None:
        self.errors.append(f"connection {self.connection_count}: {sentence}")


def _is_before(position: str, partition: str, offset: int) -> bool:
    return position.startswith(f"{partition}:") and _split(position)[1] < offset


def _split(position: str) -> tuple[str, int]:
    partition, _, offset = position.rpartition(":")
    return partition, int(offset)
