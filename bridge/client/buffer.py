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
    from bridge.client.position import ResumeCursor


class Buffer:
    """The items that wait, with the frames that they came in, and the cursors between them."""

    def __init__(self, cursor: ResumeCursor, capacity: int) -> None:
        self._cursor = cursor
        self._capacity = capacity
        self._entries: deque[tuple[Frame | None, Item | None]] = deque()
        self._readable = asyncio.Event()  # something to take, or the end
        self._space_freed = asyncio.Event()  # room again
        self._is_closed = False
        self._error: Exception | None = None
        self.waiting = 0

    @property
    def is_full(self) -> bool:
        """Whether there is no room for another item."""
        return self.waiting >= self._capacity

    async def wait_for_space(self) -> None:
        """Wait until there is room."""
        while self.is_full:
            self._space_freed.clear()
            await self._space_freed.wait()

    def put(self, frame: Frame | None, item: Item | None) -> None:
        """Let an item wait, with its frame where it has one; or a frame that moves the place."""
        if item is not None:
            self.waiting += 1
            self._readable.set()
        elif frame is None or not frame.get("cursor"):
            return
        elif not self._entries:
            self._cursor.advance(frame)
            return
        elif self._entries[-1][1] is None:
            self._entries.pop()  # the newer cursor covers what the older one did
        self._entries.append((frame, item))

    async def get(self) -> Item | None:
        """Hand out the next item; None at the end.

        Raises:
            Exception: What the client has ended with.
        """
        while True:
            while self._entries:
                if (item := self._pop()) is not None:
                    return item
            if self._is_closed:
                if self._error is not None:
                    raise self._error
                return None
            self._readable.clear()
            await self._readable.wait()

    def clear(self) -> None:
        """Let go of all that waits: it was not taken, so it will come again."""
        self._entries.clear()
        self.waiting = 0
        self._space_freed.set()

    def close(self, error: Exception | None = None) -> None:
        """Nothing more will come."""
        self._is_closed = True
        self._error = error
        self._readable.set()

    def _pop(self) -> Item | None:
        frame, item = self._entries.popleft()
        if item is not None:
            self.waiting -= 1
            self._space_freed.set()
        is_new = frame is None or self._cursor.advance(frame)
        while self._entries and self._entries[0][1] is None:
            cursor_frame, _ = self._entries.popleft()
            if cursor_frame is not None:
                self._cursor.advance(cursor_frame)
        return item if is_new else None
