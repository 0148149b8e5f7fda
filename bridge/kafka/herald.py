"""Tells Kafka, and by it the other instances and backends, who is connected here.

Rules: what is told is what is true when it is written; clients never wait for it. One that was
taken for dead and returns says everything anew, and fights nobody.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import TYPE_CHECKING, Final

from bridge.core import ledger, lifecycle, moment
from bridge.core.ledger import Alive, Gone, Present

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.core.hub import Hub
    from bridge.core.ledger import Fact
    from bridge.core.session import Session
    from bridge.kafka.own import Own
    from bridge.kafka.scribe import Scribe

TICK_SECONDS: Final = 0.1
ALIVE_SECONDS: Final = 2.0


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
        self._since = moment.from_ms(int(wall() * 1000))
        self._said: dict[str, Present] = {}
        self._leaving = False
        self.boot = uuid.uuid4().hex

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
                self.tell_changes()
                await asyncio.sleep(TICK_SECONDS)
        finally:
            self._leaving = True
            self.tell_changes()
            for id in tuple(self._said):
                self._scribe.fact(self._own.state, f"connection,{id}".encode(), None)
            self._scribe.fact(self._own.state, f"instance,{self._hub.instance}".encode(), None)

    def tell_changes(self) -> None:
        """Say who has come, gone, or follows something else by now."""
        for session in self._hub.crowd.take_changed():
            if session.welcomed:
                self._say(session)
            elif (said := self._said.pop(session.id, None)) is not None:
                self._scribe.fact(self._own.state, ledger.key(said), None)
                why = session.close
                code, reason = (session.left, "") if why is None else (why.code, why.reason)
                notice = lifecycle.disconnected(said, code, reason)
                self._scribe.notice(self._own.lifecycle, *notice)

    def hear(self, fact: Fact | Gone) -> None:
        """Take what the state topic says; answer where it says that this instance is gone."""
        if self._leaving or not isinstance(fact, Gone):
            return
        is_us = fact.kind == "instance" and fact.names == (self._hub.instance,)
        if is_us or (fact.kind == "connection" and fact.names[0] in self._said):
            self._return()

    def _return(self) -> None:
        """Say everything anew: others have said that everybody here is gone."""
        self.boot = uuid.uuid4().hex
        self._said.clear()
        self._say_alive()
        for session in self._hub.crowd.sessions.values():
            self._say(session)

    def _say_alive(self) -> None:
        told = moment.from_ms(int(self._wall() * 1000))
        alive = Alive(
            self._hub.instance,
            self.boot,
            self._since,
            told,
            connections=len(self._hub.crowd),
            ready=self._ready(),
        )
        self._scribe.fact(self._own.state, ledger.key(alive), ledger.write(alive))

    def _say(self, session: Session) -> None:
        present = Present(
            session.id,
            self._hub.instance,
            self.boot,
            session.grant.account,
            session.address,
            moment.from_ms(int(session.since * 1000)),
            sorted(session.rooms),
            sorted(session.topics),
            None if session.types is None else list(session.types.wanted),
        )
        before = self._said.get(session.id)
        if present == before:
            return
        self._said[session.id] = present
        self._scribe.fact(self._own.state, ledger.key(present), ledger.write(present))
        if before is None:
            self._scribe.notice(self._own.lifecycle, *lifecycle.connected(present))
