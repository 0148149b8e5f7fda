"""Who are you: asked of every client before anything is done for it.

Rule: a refusal says which rule it was, never what exists behind it, and never shows a credential.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from bridge.core.sessions.permissions import unrestricted

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from bridge.core.protocol.close_codes import CloseCode
    from bridge.core.sessions.permissions import Permissions


class AuthRefused(Exception):
    """A client that may not come in, with the close that tells it so.

    `word` is what it is counted under: one of a few.
    """

    def __init__(self, close: CloseCode, reason: str = "", *, metric_reason: str = "") -> None:
        super().__init__(reason or close.reason)
        self.close = close._replace(reason=reason) if reason else close
        self.metric_reason = metric_reason or close.reason.partition(":")[0]


class Authenticator(Protocol):
    """Turns credentials into grants."""

    @property
    def accepts_account_parameter(self) -> bool:
        """Whether a client says itself who it is."""

    def pending_keys(self, token: str | None) -> Awaitable[None] | None:
        """What has to be waited for before `token` can be judged: None in the usual case.

        It never raises, may be waited for by many, and has an end within some seconds.

        Cancellation: safe; others who wait for the same go on.
        """

    def authenticate(self, token: str | None, account: str | None) -> Permissions:
        """Return the grant of a new client.

        Raises:
            Refused: If it is nobody, or that can not be told now.
        """

    def refresh_token(self, permissions: Permissions, token: str) -> Permissions:
        """Return the grant of the holder of `permissions` from now on.

        Raises:
            Refused: If `token` is not one of the same account, or that can not be told now.
        """


class AllowAll:
    """Authentication switched off: a client is who it says it is, and may read what it names."""

    accepts_account_parameter = True

    def pending_keys(self, token: str | None) -> None:
        """Nothing: a credential is not looked at."""

    def authenticate(self, token: str | None, account: str | None) -> Permissions:  # noqa: ARG002 - unread
        """Return the grant of a client; a credential is not looked at."""
        return unrestricted(account)

    def refresh_token(self, permissions: Permissions, token: str) -> Permissions:  # noqa: ARG002 - unread
        """Return the same grant: any credential is as good as the one before."""
        return permissions


def parse_bearer(authorization: str | None) -> str | None:
    """Return the credential in an `Authorization` header (RFC 6750, 2.1), where it has one."""
    scheme, _, token = (authorization or "").strip().partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None
