"""Authentication by the backend's word (`BRIDGE_AUTH__MODE=callback`).

Rules: 4500 and 4501 are only what the backend said itself; anything else is 4006. What a browser
sends by itself (cookies) is handed on only for pages that are allowed to use it.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from bridge.core.protocol import close_codes
from bridge.core.sessions.permissions import NamePatterns, Permissions
from bridge.web.auth.authenticator import AuthRefused
from bridge.web.auth.callback.client import CallbackUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from bridge.web.auth.authenticator import Credentials
    from bridge.web.auth.callback.client import CallbackClient, Decision


class CallbackAuthenticator:
    """Asks the backend about each client. It hands on the headers in `credential_headers`."""

    accepts_account_parameter = False

    def __init__(self, client: CallbackClient, credential_headers: Sequence[str]) -> None:
        self._client = client
        self.credential_headers = tuple(credential_headers)

    def authenticate(self, credentials: Credentials) -> Awaitable[Permissions]:
        """Return the backend's answer, to await."""
        return self._ask(credentials)

    async def _ask(self, credentials: Credentials) -> Permissions:
        question = {
            "ask": "connect",
            "token": credentials.token,
            "headers": credentials.headers,
            "address": credentials.address,
            "origin": credentials.origin,
            "topics": None if credentials.topics is None else sorted(credentials.topics),
            "rooms": sorted(credentials.rooms),
        }
        try:
            decision = await self._client.ask(question)
        except CallbackUnavailable:
            raise unavailable() from None
        if decision.status == HTTPStatus.UNAUTHORIZED:
            raise AuthRefused(
                close_codes.UNAUTHENTICATED, "unauthenticated: the backend refuses the credential"
            )
        if decision.status == HTTPStatus.FORBIDDEN:
            raise AuthRefused(close_codes.FORBIDDEN, "forbidden: the backend refuses it")
        return _permissions(decision)


def unavailable() -> AuthRefused:
    """Return the refusal of a client that cannot be judged now."""
    return AuthRefused(close_codes.BACKEND_UNAVAILABLE, metric_reason="callback")


def _permissions(decision: Decision) -> Permissions:
    """Return a grant as by claims, issued when the backend was asked."""
    answer = decision.answer
    return Permissions(
        answer.account,
        topics=None if answer.topics is None else NamePatterns(answer.topics),
        rooms=NamePatterns(answer.rooms or ()),
        expires_at=None if answer.expires_in is None else decision.asked_at + answer.expires_in,
        issued_at=decision.asked_at,
    )
