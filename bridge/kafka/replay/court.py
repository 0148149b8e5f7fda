"""Where it is decided what may be replayed: Kafka is asked, and the core judges.

Rule: a session is judged by what Kafka said after it came, for it may have seen what is younger
than an older answer; and however many ask, the feed's own questions are not held up by theirs.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from bridge.kafka.client.client import OUT_OF_REACH
from bridge.kafka.replay.sharing import in_slices

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bridge.core.protocol.cursor import Cursor
    from bridge.core.replay.catchup import CatchUp
    from bridge.core.replay.retention import Bounds
    from bridge.core.sessions.session import Session
    from bridge.kafka.offsets import Horizon

_log = logging.getLogger(__name__)

#: So long the first who has to be judged waits for others to be judged with.
GATHER_SECONDS = 0.03
#: Questions for a time at once; the feed asks the brokers on the same connections.
QUESTIONS = 8
_PAUSE = 0.3


class Court:
    """Judges sessions; `judged` and `failed` get each of them back."""

    def __init__(
        self,
        catch_up: CatchUp,
        horizon: Horizon,
        *,
        judged: Callable[[Session], None],
        failed: Callable[[Session], None],
    ) -> None:
        self._catch_up = catch_up
        self._horizon = horizon
        self._judged = judged
        self._failed = failed
        self.waiting: dict[Session, None] = {}
        self._wake = asyncio.Event()
        self._questions = asyncio.Semaphore(QUESTIONS)

    def add(self, session: Session) -> None:
        """Judge `session` soon."""
        self.waiting[session] = None
        self._wake.set()

    def drop(self, session: Session) -> None:
        """Forget `session`, if it waits here."""
        self.waiting.pop(session, None)

    async def since(self, topics: Iterable[str], ms: int, *, within: float) -> Cursor | None:
        """Return the cursor of these topics at a time; None where it is not told within seconds.

        Cancellation: safe.
        """
        try:
            async with asyncio.timeout(within):
                while True:
                    try:
                        async with self._questions:
                            return await self._horizon.since(topics, ms)
                    except OUT_OF_REACH as error:
                        _log.debug("since: %r", error)
                        await asyncio.sleep(_PAUSE)
        except TimeoutError:
            return None

    async def run(self) -> None:
        """Judge until cancelled."""
        while True:
            await self._wake.wait()
            await asyncio.sleep(GATHER_SECONDS)
            self._wake.clear()
            asking = tuple(self.waiting)
            await self._judge(asking)
            if self.waiting:
                self._wake.set()
                if not self.waiting.keys().isdisjoint(asking):
                    await asyncio.sleep(_PAUSE)

    async def _judge(self, sessions: Iterable[Session]) -> None:
        """Judge those for whom Kafka's answer is enough."""
        topics = {topic for session in sessions for topic in session.topics}
        bounds: dict[str, Bounds] = {}
        try:
            bounds = await self._horizon.bounds(topics)
        except OUT_OF_REACH as error:
            _log.debug("bounds: %r", error)
        except Exception:  # noqa: BLE001 - logged; a bug must not end the replay of everybody
            _log.exception("asking Kafka what may be replayed failed")
        async for session in in_slices(sessions):
            if session not in self.waiting:
                continue
            try:
                if self._catch_up.judge(session, bounds):
                    self.drop(session)
                    self._judged(session)
            except Exception:  # noqa: BLE001 - logged
                self._failed(session)
