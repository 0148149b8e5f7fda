"""What a client keeps so that it can come back (contract 3.3), and what it may rely on meanwhile.

The rule kept here: it is the contract's client and knows nothing of the bridge, so a cursor is a
string to it. What comes again by right, to a client that came back with its cursor alone, is
dropped and counted; anything else is left for the checker to judge.
"""

from __future__ import annotations

from typing import Any


class Recall:
    """One client's memory over all its connections. `frames` is what the checker shall judge."""

    def __init__(self) -> None:
        self.cursor: str | None = None
        self.frames: list[dict[str, Any]] = []
        self.connections = 0
        self.replayed = 0  #: events, as `live` tells
        self.repeated = 0  #: events that came again by right
        self.complaints: list[str] = []  #: of what no client has to bear
        self._said: str | None = None  # how it came back
        self._alone = False  # whether that was by the cursor alone
        self._uncovered: dict[str, None] = {}  # came on this connection, after its newest cursor
        self._again: dict[str, None] = {}  # came on earlier ones, and may come again on this
        self._last: dict[str, int] = {}  # by partition, on this connection

    def resume(self, *, alone: bool) -> str | None:
        """What to come back with: the cursor and the last positions since, or the cursor `alone`.

        None as long as there was no welcome.
        """
        self._alone = alone
        if self.cursor is None or alone:
            self._said = self.cursor
        else:
            last: dict[str, int] = {}
            for at in (*self._again, *self._uncovered):
                partition, offset = _split(at)
                last[partition] = max(offset, last.get(partition, 0))
            positions = [f"{partition}:{offset}" for partition, offset in last.items()]
            self._said = ",".join([self.cursor, *positions])
        return self._said

    def hear(self, frame: dict[str, Any]) -> bool:
        """Take in a frame; tell whether it is new."""
        match frame["op"]:
            case "welcome":
                self._welcomed(frame["cursor"])
            case "event":
                if not self._is_new(frame["at"]):
                    return False
            case "gap":
                self._forget(frame["topic"])
                self._covered(frame["cursor"])
            case "live":
                self.replayed += frame["replayed"]
                self._covered(frame["cursor"])
            case _:
                self._covered(frame.get("cursor"))
        self.frames.append(frame)
        return True

    def _welcomed(self, cursor: str) -> None:
        self.connections += 1
        if self._said is not None and cursor != self._said:
            self._complain(f"came back with {self._said}, was welcomed with {cursor}")
        if self._alone:
            self._again |= self._uncovered
        else:
            self._again.clear()
        self._last.clear()
        self._covered(cursor)

    def _is_new(self, at: str) -> bool:
        partition, offset = _split(at)
        if offset <= self._last.get(partition, -1):
            self._complain(f"{at} came after offset {self._last[partition]}")
        self._last[partition] = offset
        self._uncovered[at] = None
        repeated = self._again.pop(at, at) is None
        self.repeated += repeated
        before = [each for each in self._again if _is_before(each, partition, offset)]
        if before:
            self._complain(f"a cursor covered what was still to come before {at}: {before}")
            for each in before:
                del self._again[each]
        return not repeated

    def _covered(self, cursor: str | None) -> None:
        if cursor is not None:
            self.cursor = cursor
            self._uncovered.clear()

    def _forget(self, topic: str) -> None:
        def others(places: dict[str, Any]) -> dict[str, Any]:
            return {at: it for at, it in places.items() if at.split(":")[0] != topic}

        self._uncovered, self._again = others(self._uncovered), others(self._again)
        self._last = others(self._last)

    def _complain(self, sentence: str) -> None:
        self.complaints.append(f"connection {self.connections}: {sentence}")


def _is_before(at: str, partition: str, offset: int) -> bool:
    return at.startswith(f"{partition}:") and _split(at)[1] < offset


def _split(at: str) -> tuple[str, int]:
    partition, _, offset = at.rpartition(":")
    return partition, int(offset)
