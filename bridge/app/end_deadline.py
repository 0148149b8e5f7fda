"""Ends the tasks of an instance in time, whether or not Kafka answers.

Rule: an orchestrator kills what does not end. Tasks that are still running at the deadline, or at
one more signal, are cancelled again and again until they are gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_log = logging.getLogger(__name__)

_REPEAT_SECONDS: Final = 0.1


class EndDeadline:
    """Cancels the tasks that began after it was created."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._kept: set[asyncio.Task[Any]] = asyncio.all_tasks()
        self._timer: asyncio.TimerHandle | None = None

    @contextlib.contextmanager
    def limit(self, seconds: float) -> Iterator[None]:
        """Cancel the tasks in `seconds`, or at a signal, unless the block ends before."""
        self._timer = self._loop.call_later(seconds, self._expire)
        for signal_number in (signal.SIGINT, signal.SIGTERM):
            self._loop.add_signal_handler(signal_number, self._cancel_tasks)
        try:
            yield
        finally:
            self._timer.cancel()
            for signal_number in (signal.SIGINT, signal.SIGTERM):
                self._loop.remove_signal_handler(signal_number)

    def _expire(self) -> None:
        _log.warning(
            "ending before Kafka answered: other instances publish this one's last changes; look at"
            " Kafka, if there was no second signal"
        )
        self._cancel_tasks()

    def _cancel_tasks(self) -> None:
        for task in asyncio.all_tasks() - self._kept:
            task.cancel()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(_REPEAT_SECONDS, self._cancel_tasks)
