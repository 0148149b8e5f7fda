"""Logs what strangers can cause: at once the first time, then one line a minute with the count.

Rule: no number of bad requests writes more than a line a minute of each kind. Metrics count them
all.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

MINUTE_SECONDS: Final = 60.0


class _Window:
    """One kind of line, in the minute since it was logged."""

    __slots__ = ("args", "left_out", "level", "started_at")

    def __init__(self, level: int, started_at: float) -> None:
        self.level = level
        self.started_at = started_at
        self.left_out = 0
        self.args: tuple[object, ...] = ()  # of the last line that was left out


class CountedLog:
    """Writes to `logger`. Lines with the same text before their arguments are of one kind."""

    def __init__(self, logger: logging.Logger, now: Callable[[], float] = time.monotonic) -> None:
        """`now` is a monotonic clock."""
        self._logger = logger
        self._now = now
        self._windows: dict[str, _Window] = {}

    def warning(self, message: str, *args: object) -> None:
        """Log a warning, or count it if there was one of this kind within a minute."""
        self.log(logging.WARNING, message, *args)

    def log(self, level: int, message: str, *args: object) -> None:
        """Log at `level`, or count the line if there was one of this kind within a minute."""
        now = self._now()
        window = self._windows.get(message)
        if window is not None and now - window.started_at >= MINUTE_SECONDS:
            self._end_window(message, window)
            window = None
        if window is not None:
            window.left_out += 1
            window.args = args
            return
        self._windows[message] = window = _Window(level, now)
        self._logger.log(level, message, *args)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return  # then the next line of this kind tells the count
        loop.call_later(MINUTE_SECONDS, self._end_window, message, window)

    def _end_window(self, message: str, window: _Window) -> None:
        """Log how many lines were left out."""
        if self._windows.get(message) is not window:
            return
        del self._windows[message]
        if window.left_out:
            more = f"{message} more_of_this_kind=%d seconds=%d"
            self._logger.log(window.level, more, *window.args, window.left_out, MINUTE_SECONDS)
