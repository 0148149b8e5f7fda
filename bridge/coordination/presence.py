"""Tells Kafka, and by it the other instances and backends, who is connected here.

Rules: what is told is what is true when it is written; clients never wait for it. One that has not
heard itself of late tells of nobody until it has: others may have taken it for dead meanwhile, and
told of its clients. So of each client is told once that it came, and once that it went.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from itertools import islice
from typing import TYPE_CHECKING, Final

from bridge.core.coordination import state_records
from bridge.core.coordination.state_records import Alive, Gone
from bridge.core.protocol import timestamps

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.coordination.state_writer import Scribe
    from bridge.coordination.topics import Own
    from bridge.core.coordination.state_records import Fact, Notice, Present
    from bridge.core.sessions.hub import Hub
    from bridge.core.sessions.session import Session

TICK_SECONDS: Final = 0.1
ALIVE_SECONDS: Final = 2.0
#: Clients that are told of without a break.
PORTION: Final = 200
#: How old the last that it has heard of itself may be; far less than after what others judge it.
ECHO_SECONDS: Final = 5.0
#: Clients that may wait to be told of, beside those that are connected.
MOST_WAITING: Final = 20_000
_log = logging.getLogger(__name__)


class Herald:
    """Says who is connected to `hub`, from its start to its end."""

    def __init__(
        self,
        hub: Hub,
        scribe: Scribe,
        own: Own,
        *,
        ready: Callable[[], bool],
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`ready` says whether the instance takes clients; `wall` the seconds since 1970."""
        self._hub = hub
        self._scribe = scribe
        self._own = own
        self._ready = ready
        self._wall = wall
        self._since = timestamps.from_ms(int(wall() * 1000))
        self._said: dict[str, Present] = {}
        self._changed: dict[str, Session] = {}  # by id, and not told yet
        self._heard = 0.0
        self._ending = self._doubled = False
        self.boot = uuid.uuid4().hex
        self.untold = 0  #: clients that came and went unsaid: there were too many of them

    def current(self) -> bool:
        """Whether what this instance says of itself comes back to it without delay.

        If so, it has also read what others have said before.
        """
        return abs(self._wall() - self._heard) < ECHO_SECONDS

    async def run(self) -> None:
        """Say it, until cancelled; then that this instance is no more.

        Cancellation: safe; what is left is handed to the scribe.
        """
        beat = 0.0
        now = asyncio.get_running_loop().time
        try:
            while True:
                if now() >= beat:
                    beat = now() + ALIVE_SECONDS
                    self._say_alive()
                while self.tell_changes(PORTION):  # noqa: ASYNC110 - nothing is waited for
                    await asyncio.sleep(0)  # let others have their turn
                await asyncio.sleep(TICK_SECONDS)
        finally:
            self._ending = True
            self.tell_changes()
            if self.current() and not self._said:  # else others tell it, and of who is left here
                self._scribe.fact(self._own.state, state_records.key(self._alive()), None)

    def tell_changes(self, most: int | None = None) -> bool:
        """Say who has come, gone, or follows something else by now; of `most` clients at a time.

        Return whether there are more.
        """
        self._collect()
        if not self.current():
            return False
        for id in list(islice(self._changed, most)):
            session = self._changed.pop(id)
            if session.welcomed:
                self._say(session)
            else:
                self._take_leave(session)
        return bool(self._changed)

    def hear(self, fact: Fact | Gone) -> None:
        """Take what the state topic says; answer where it says that who is here is gone."""
        match fact:
            case Alive(instance=self._hub.instance):
                self._hear_self(fact)
            case Gone("instance", (self._hub.instance,)) if not self._ending:
                self._say_alive()
            case Gone("connection", (id,)) if id in self._said:
                self._collect()
                del self._said[id]
                session = self._hub.crowd.sessions.get(id)
                if session is None:
                    self._changed.pop(id, None)  # that it went was told
                else:
                    self._changed[id] = session
            case _:
                pass

    def _hear_self(self, fact: Alive) -> None:
        if fact.boot == self.boot:
            self._heard = timestamps.to_ms(fact.heard) / 1000
        elif fact.heard > self._since and not self._doubled:
            self._doubled = True
            _log.error(
                "another instance calls itself %s too: give each a name of its own"
                " (BRIDGE_INSTANCE)",
                self._hub.instance,
            )

    def _collect(self) -> None:
        for session in self._hub.crowd.take_changed():
            room = len(self._changed) < MOST_WAITING + len(self._hub.crowd)
            if room or session.welcomed or session.id in self._said:
                self._changed[session.id] = session
            else:
                self._changed.pop(session.id, None)
                self.untold += 1

    def _alive(self) -> Alive:
        told = timestamps.from_ms(int(self._wall() * 1000))
        connections = len(self._hub.crowd)
        name = self._hub.instance
        return Alive(name, self.boot, self._since, told, connections, self._ready())

    def _say_alive(self) -> None:
        alive = self._alive()
        self._scribe.fact(self._own.state, state_records.key(alive), state_records.write(alive))

    def _say(self, session: Session) -> None:
        present = state_records.present(session, self._hub.instance, self.boot)
        before = self._said.get(session.id)
        if present == before:
            return
        self._said[session.id] = present
        self._scribe.fact(self._own.state, state_records.key(present), state_records.write(present))
        if before is None:
            self._notice(state_records.connected(present))

    def _take_leave(self, session: Session) -> None:
        said = self._said.pop(session.id, None)
        if said is None:  # it came and went since the last look
            said = state_records.present(session, self._hub.instance, self.boot)
            self._notice(state_records.connected(said))
        else:
            self._scribe.fact(self._own.state, state_records.key(said), None)
        why = session.close
        code, reason = (session.left, "") if why is None else (why.code, why.reason)
        self._notice(state_records.disconnected(said, code, reason))

    def _notice(self, notice: Notice) -> None:
        self._scribe.notice(self._own.lifecycle, *notice)
