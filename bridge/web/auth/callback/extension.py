"""Tokens beside the backend's word: what a token does not cover is asked.

Rule: a token that covers everything asks nobody. A no, and no answer, add nothing.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from bridge.core.protocol import close_codes
from bridge.core.sessions.permissions import Permissions
from bridge.web.auth.authenticator import AuthRefused
from bridge.web.auth.callback.authenticator import unavailable
from bridge.web.auth.callback.client import CallbackUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Collection, Iterable, Mapping

    from bridge.web.auth.authenticator import Authenticator, Credentials
    from bridge.web.auth.callback.client import CallbackClient


class ExtendingAuthenticator:
    """Extends what `tokens` grants by what the backend says.

    `is_private` has the public names of all topics.
    """

    accepts_account_parameter = False
    credential_headers: Collection[str] = ()

    def __init__(
        self, tokens: Authenticator, client: CallbackClient, is_private: Mapping[str, bool]
    ) -> None:
        self._tokens = tokens
        self._client = client
        self._is_private = is_private

    def authenticate(self, credentials: Credentials) -> Permissions | Awaitable[Permissions]:
        """Return what the token grants, extended by the backend as far as it has to be asked."""
        permissions = self._tokens.authenticate(credentials)
        if isinstance(permissions, Permissions) and not self._has_missing(permissions, credentials):
            return permissions
        return self._authenticate_later(permissions, credentials)

    async def _authenticate_later(
        self, pending: Permissions | Awaitable[Permissions], credentials: Credentials
    ) -> Permissions:
        permissions = pending if isinstance(pending, Permissions) else await pending
        try:
            return await self.extend(permissions, credentials.topics or (), credentials.rooms)
        except AuthRefused as refused:
            if credentials.is_renewal and not refused.close.should_reconnect:
                return permissions  # a narrower token is in force all the same
            raise

    def _has_missing(self, permissions: Permissions, credentials: Credentials) -> bool:
        topics, rooms = self._missing(permissions, credentials.topics or (), credentials.rooms)
        return bool(topics or rooms)

    def _missing(
        self, permissions: Permissions, topics: Iterable[str], rooms: Iterable[str]
    ) -> tuple[list[str], list[str]]:
        """Return what `permissions` do not cover. Topics that do not exist are not asked for."""
        return (
            sorted(
                topic
                for topic in topics
                if topic in self._is_private
                and not permissions.may_read(topic, is_private=self._is_private[topic])
            ),
            sorted(room for room in rooms if not permissions.may_join(room)),
        )

    async def extend(
        self, permissions: Permissions, topics: Iterable[str], rooms: Iterable[str]
    ) -> Permissions:
        """Return `permissions` with what the backend adds for `topics` and `rooms`.

        Raises:
            AuthRefused: If it refuses, or cannot be asked now.
        """
        missing_topics, missing_rooms = self._missing(permissions, topics, rooms)
        if not missing_topics and not missing_rooms:
            return permissions
        question = {
            "ask": "subscribe",
            "account": permissions.account,
            "claims": permissions.claims,
            "topics": missing_topics,
            "rooms": missing_rooms,
        }
        try:
            decision = await self._client.ask(question)
        except CallbackUnavailable:
            raise unavailable() from None
        if decision.status == HTTPStatus.UNAUTHORIZED:
            raise unavailable()  # it is no answer to this question
        if decision.status == HTTPStatus.FORBIDDEN:
            name = [*missing_topics, *missing_rooms][0]
            raise AuthRefused(
                close_codes.FORBIDDEN, f"forbidden: the backend does not grant {name[:50]!r}"
            )
        answer = decision.answer
        ends = [permissions.expires_at]
        if answer.expires_in is not None:
            ends.append(decision.asked_at + answer.expires_in)
        return permissions._replace(
            added_topics=permissions.added_topics.union(answer.topics or ()),
            added_rooms=permissions.added_rooms.union(answer.rooms or ()),
            expires_at=min((end for end in ends if end is not None), default=None),
        )
