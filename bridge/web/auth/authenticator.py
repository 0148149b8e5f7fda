"""The protocol of authenticators, and the one for `BRIDGE_AUTH__MODE=none`.

Rule: a refusal names the rule that failed. It never shows a credential or what exists behind it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from bridge.core.sessions.permissions import unrestricted

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from bridge.core.protocol.close_codes import CloseCode
    from bridge.core.sessions.permissions import Permissions


class AuthRefused(Exception):
    """A client is refused. `close` is the close code and reason that it gets.

    `metric_reason` is the label of the refusal in the metrics, from a small fixed set.
    """

    def __init__(self, close: CloseCode, reason: str = "", *, metric_reason: str = "") -> None:
        super().__init__(reason or close.reason)
        self.close = close._replace(reason=reason) if reason else close
        self.metric_reason = metric_reason or close.reason.partition(":")[0]


class Authenticator(Protocol):
    """Turns credentials into permissions."""

    @property
    def accepts_account_parameter(self) -> bool:
        """Whether clients name their own account in the parameter `account`."""

    def pending_keys(self, token: str | None) -> Awaitable[None] | None:
        """Return what to await before `token` can be checked; None in the usual case.

        The awaitable never raises and ends within seconds. Several callers may await the same one.

        Cancellation: safe; it does not affect other callers.
        """

    def authenticate(self, token: str | None, account: str | None) -> Permissions:
        """Return the permissions of a new client.

        Raises:
            AuthRefused: If the credential is invalid, or cannot be checked now.
        """

    def refresh_token(self, permissions: Permissions, token: str) -> Permissions:
        """Return the new permissions of a connected client that sent a newer token.

        Raises:
            AuthRefused: If `token` is invalid or of another account, or cannot be checked now.
        """


class AllowAll:
    """Authentication is off: each client is the account that it names, and may read everything."""

    accepts_account_parameter = True

    def pending_keys(self, token: str | None) -> None:
        """Return None: credentials are ignored."""

    def authenticate(
        self,
        token: str | None,  # noqa: ARG002 - ignored
        account: str | None,
    ) -> Permissions:
        """Return unrestricted permissions; the credential is ignored."""
        return unrestricted(account)

    def refresh_token(
        self,
        permissions: Permissions,
        token: str,  # noqa: ARG002 - ignored
    ) -> Permissions:
        """Return the same permissions; the credential is ignored."""
        return permissions


def parse_bearer(authorization: str | None) -> str | None:
    """Return the bearer token of an `Authorization` header (RFC 6750, 2.1), or None."""
    scheme, _, token = (authorization or "").strip().partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None
