"""What has arrived and waits to be taken.

The rule kept here: the place moves when the user takes something, not when it arrives; and where
as much waits as there is room for, whoever brings more has to wait.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bridge.client.frames import Frame
    from bridge.client.items import Item
    from bridge.client.position import Place


class Inbox:
    """The items that wait, with the frames that they came in, and the cursors between them."""

    def __init__(self, place: Place, room: int) -> None:
        self._place = place
        self._room = room
        self._entries: deque[tuple[Frame | None, Item | None]] = deque()
        self._changed = asyncio.Event()  # something to take, or the end
        self._taken = asyncio.Event()  # room again
        self._ended = False
        self._error: Exception | None = None
        self.waiting = 0

    @property
    def is_full(self) -> bool:
        """Whether there is no room for another item."""
        return self.waiting >= self._room

    async def room(self) -> None:
        """Wait until there is room."""
        while self.is_full:
            self._taken.clear()
            await self._taken.wait()

    def put(self, frame: Frame | None, item: Item | None) -> None:
        """Let an item wait, with its frame where it has one; or a frame that moves the place."""
        if item is not None:
            self.waiting += 1
            self._changed.set()
        elif frame is None or not frame.get("cursor"):
            return
        elif not self._entries:
            self._place.take(frame)
            return
        elif self._entries[-1][1] is None:
            self._entries.pop()  # the newer cursor covers what the older one did
        self._entries.append((frame, item))

    async def take(self) -> Item | None:
        """Hand out the next item; None at the end.

        Raises:
            Exception: What the client has ended with.
        """
        while True:
            while self._entries:
                if (item := self._next()) is not None:
                    return item
            if self._ended:
                if self._error is not None:
                    raise self._error
                return None
            self._changed.clear()
            await self._changed.wait()

    def clear(self) -> None:
        """Let go of all that waits: it was not taken, so it will come again."""
        self._entries.clear()
        self.waiting = 0
        self._taken.set()

    def end(self, error: Exception | None = None) -> None:
        """Nothing more will come."""
        self._ended = True
        self._error = error
        self._changed.set()

    def _next(self) -> Item | None:
        frame, item = self._entries.popleft()
        if item is not None:
            self.waiting -= 1
            self._taken.set()
        is_new = frame is None or self._place.take(frame)
        while self._entries and self._entries[0][1] is None:
            covered, _ = self._entries.popleft()
            if covered is not None:
                self._place.take(covered)
        return item if is_new else None
