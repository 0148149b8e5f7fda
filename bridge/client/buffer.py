"""The bounded buffer between the connection and the user.

Rule: the resume cursor advances when the user takes an item, not when the item arrives. If the
buffer is full, the connection waits before it reads more.
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
    """Waiting items with their frames, and frames that only move the cursor."""

    def __init__(self, cursor: ResumeCursor, capacity: int) -> None:
        self._cursor = cursor
        self._capacity = capacity
        self._entries: deque[tuple[Frame | None, Item | None]] = deque()
        self._readable = asyncio.Event()  # an item is waiting, or the buffer is closed
        self._space_freed = asyncio.Event()  # it is not full any more
        self._is_closed = False
        self._error: Exception | None = None
        self.waiting = 0

    @property
    def is_full(self) -> bool:
        """True if another item must wait."""
        return self.waiting >= self._capacity

    async def wait_for_space(self) -> None:
        """Return once the buffer is not full."""
        while self.is_full:
            self._space_freed.clear()
            await self._space_freed.wait()

    def put(self, frame: Frame | None, item: Item | None) -> None:
        """Add an item with its frame, if it has one; or a frame that only moves the cursor."""
        if item is not None:
            self.waiting += 1
            self._readable.set()
        elif frame is None or not frame.get("cursor"):
            return
        elif not self._entries:
            self._cursor.advance(frame)
            return
        elif self._entries[-1][1] is None:
            self._entries.pop()  # the newer cursor includes it
        self._entries.append((frame, item))

    async def get(self) -> Item | None:
        """Return the next item, None once the client has ended; cancellation loses no item.

        Raises:
            Exception: The error with which the client has ended.
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
        """Remove all waiting items. They were not taken, so the bridge sends them again."""
        self._entries.clear()
        self.waiting = 0
        self._space_freed.set()

    def close(self, error: Exception | None = None) -> None:
        """End the buffer; `get` raises `error` once no item is left."""
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
