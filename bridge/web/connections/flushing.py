"""Writes what the hub has queued to the connections of its sessions.

Rule: heartbeats and handshakes get their turn between two batches of connections.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from bridge.core.sessions.hub import Hub

#: Connections written to before the event loop gets its turn.
BATCH_SIZE: Final = 256


class Flusher:
    """Flushes the sessions that the hub has queued frames for."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def flush(self) -> None:
        """Write to all of them at once."""
        for session in self._hub.pop_unflushed():
            session.connection.flush()

    async def flush_in_batches(self) -> None:
        """Write to all of them, a batch per turn of the event loop.

        Cancellation: what was not written stays in the outboxes. The next flush of those sessions
        writes it.
        """
        sessions = self._hub.pop_unflushed()
        for start in range(0, len(sessions), BATCH_SIZE):
            if start:
                await asyncio.sleep(0)
            for session in sessions[start : start + BATCH_SIZE]:
                session.connection.flush()
