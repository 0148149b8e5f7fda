"""A newer credential on a live connection (the `token` frame).

Rule: one at a time per connection; a second one that comes while the first waits for its key is
turned away, so that an older can never replace a newer.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bridge.core.protocol.frames import Token
    from bridge.core.sessions.session import Session
    from bridge.web.connections.admission import Entrance


class Renewals:
    """Judges the tokens of live sessions; `flush` writes what was answered later."""

    def __init__(self, entrance: Entrance, flush: Callable[[], None]) -> None:
        self._entrance = entrance
        self._flush = flush
        self._waiting: dict[Session, asyncio.Task[None]] = {}

    def renew(self, session: Session, token: Token) -> None:
        """Answer `token`, at once or once its key is there."""
        if session in self._waiting:
            reason = "the token before is still being judged"
            self._entrance.hub.refuse(session, "limit", reason, token.id)
            return
        missing = self._entrance.missing(token.token)
        if missing is None:
            self._entrance.renew(session, token)
        else:
            self._waiting[session] = asyncio.create_task(self._renew(missing, session, token))

    async def _renew(self, missing: Awaitable[None], session: Session, token: Token) -> None:
        await missing
        del self._waiting[session]
        if session.welcomed:
            self._entrance.renew(session, token)
            self._flush()
