"""New permissions of live sessions: newer tokens, and what a backend grants for a `subscribe`.

Rule: a session waits for one token at a time, and for a few answers of the backend. The old
permissions stay in force meanwhile.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from bridge.core.protocol import close_codes as closes
from bridge.core.sessions.permissions import Permissions
from bridge.core.sessions.session import MembershipSource
from bridge.web.auth.authenticator import AuthRefused, Credentials

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bridge.core.protocol.frames import Subscribe, TokenUpdate
    from bridge.core.sessions.hub import Hub
    from bridge.core.sessions.requests import ClientRequests
    from bridge.core.sessions.session import Session
    from bridge.web.connections.admission import AdmissionController

#: Questions of one session that may wait for the backend.
MAX_PENDING_QUESTIONS: Final = 16


class PermissionUpdates:
    """Judges newer tokens and asks the backend; `flush` writes replies that came later."""

    def __init__(self, hub: Hub, admission: AdmissionController, flush: Callable[[], None]) -> None:
        self._hub = hub
        self._admission = admission
        self._flush = flush
        self._pending: dict[Session, asyncio.Task[None]] = {}
        self._asking: dict[Session, set[asyncio.Task[None]]] = {}

    def refresh(self, session: Session, token: TokenUpdate) -> None:
        """Reply to `token`, at once or after its key was fetched."""
        if session in self._pending:
            reason = "the token before is still being judged"
            self._hub.reply_error(session, "limit", reason, token.id)
            return
        account = session.permissions.account
        try:
            credentials = Credentials(
                token.token,
                account,
                session.topics,
                tuple(
                    room for room, source in session.rooms.items() if source & MembershipSource.OWN
                ),
                session.client_address,
                is_renewal=True,
            )
            permissions = self._admission.authenticate(credentials)
            if isinstance(permissions, Permissions):
                self._admission.replace_permissions(session, permissions, token)
                return
        except AuthRefused as refused:
            self._reply_refusal(session, token, refused)
            return
        self._pending[session] = asyncio.create_task(
            self._refresh_later(permissions, session, token)
        )

    async def _refresh_later(
        self, pending: Awaitable[Permissions], session: Session, token: TokenUpdate
    ) -> None:
        try:
            permissions = await pending
            if session.is_welcomed:
                self._admission.replace_permissions(session, permissions, token)
        except AuthRefused as refused:
            if session.is_welcomed:
                self._reply_refusal(session, token, refused)
        finally:
            del self._pending[session]
        self._flush()

    def _reply_refusal(self, session: Session, token: TokenUpdate, refused: AuthRefused) -> None:
        error = "unavailable" if refused.close.should_reconnect else "bad_token"
        if refused.close.code == closes.FORBIDDEN.code:
            error = "forbidden"
        self._hub.reply_error(session, error, str(refused), token.id)

    def extend(self, session: Session, client_requests: ClientRequests, frame: Subscribe) -> None:
        """Reply to `frame` once the backend has said what it grants."""
        asking = self._asking.setdefault(session, set())
        if len(asking) >= MAX_PENDING_QUESTIONS:
            reason = "too many requests wait for the backend"
            self._hub.reply_error(session, "limit", reason, frame.id)
            return
        task = asyncio.create_task(self._extend_later(session, client_requests, frame))
        asking.add(task)
        task.add_done_callback(lambda ended: self._forget_question(session, ended))

    async def _extend_later(
        self, session: Session, client_requests: ClientRequests, frame: Subscribe
    ) -> None:
        try:
            await self._admission.extend_permissions(session, frame.topics, frame.rooms)
        except AuthRefused as refused:
            if session.is_welcomed:
                is_temporary = refused.close.should_reconnect
                error = "unavailable" if is_temporary else "forbidden"
                self._hub.reply_error(session, error, str(refused), frame.id)
        else:
            if session.is_welcomed:
                client_requests.subscribe(frame)
        self._flush()

    def _forget_question(self, session: Session, task: asyncio.Task[None]) -> None:
        asking = self._asking[session]
        asking.discard(task)
        if not asking:
            del self._asking[session]
