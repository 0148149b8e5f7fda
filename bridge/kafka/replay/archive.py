"""Tells the past to those who ask for it by pages.

Rule: busy is told, never waited out: there are so many requests at a time, so many of them that
read from Kafka, and so long that one waits for its turn to.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from bridge.core.replay.page_start import NotNow
from bridge.kafka.replay.history import Search

if TYPE_CHECKING:
    from bridge.core.replay.history import Page
    from bridge.core.replay.page_start import Asked
    from bridge.core.replay.retention import Limits
    from bridge.kafka.replay.history import Shelf
    from bridge.kafka.replay.scheduler import Rules

#: Requests at a time, whatever they wait for.
AT_A_TIME = 100


class History:
    """Makes pages; `rules.passes` of them at a time read from Kafka, each within `limits`."""

    def __init__(self, shelf: Shelf, rules: Rules, limits: Limits) -> None:
        self._shelf = shelf
        self._rules = rules
        self._limits = limits
        self._turns = asyncio.Semaphore(rules.passes)
        self.asking = 0

    async def page(self, asked: Asked) -> Page:
        """Return the page that was asked for.

        Raises:
            NotNow: If Kafka is away, or too many ask.

        Cancellation: safe; nothing is read for it any more.
        """
        if self.asking >= AT_A_TIME:
            raise NotNow("too many ask for the past at once")
        self.asking += 1
        try:
            async with contextlib.AsyncExitStack() as turn:
                search = Search(
                    self._shelf,
                    self._rules.wait_seconds,
                    self._limits,
                    lambda: turn.enter_async_context(self._turns),
                )
                return await search.run(asked)
        finally:
            self.asking -= 1
