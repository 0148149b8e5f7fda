"""Who are you: asked of every client before anything is done for it.

Rule: a refusal says which rule it was, never what exists behind it, and never shows a credential.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from bridge.core.sessions.permissions import everything

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from bridge.core.protocol.close_codes import Close
    from bridge.core.sessions.permissions import Grant


class Refused(Exception):
    """A client that may not come in, with the close that tells it so.

    `word` is what it is counted under: one of a few.
    """

    def __init__(self, why: Close, reason: str = "", *, word: str = "") -> None:
        super().__init__(reason or why.reason)
        self.close = why._replace(reason=reason) if reason else why
        self.word = word or why.reason.partition(":")[0]


class Gate(Protocol):
    """Turns credentials into grants."""

    @property
    def takes_account(self) -> bool:
        """Whether a client says itself who it is."""

    def missing(self, token: str | None) -> Awaitable[None] | None:
        """What has to be waited for before `token` can be judged: None in the usual case.

        It never raises, may be waited for by many, and has an end within some seconds.

        Cancellation: safe; others who wait for the same go on.
        """

    def identify(self, token: str | None, account: str | None) -> Grant:
        """Return the grant of a new client.

        Raises:
            Refused: If it is nobody, or that can not be told now.
        """

    def renew(self, grant: Grant, token: str) -> Grant:
        """Return the grant of the holder of `grant` from now on.

        Raises:
            Refused: If `token` is not one of the same account, or that can not be told now.
        """


class OpenGate:
    """Authentication switched off: a client is who it says it is, and may read what it names."""

    takes_account = True

    def missing(self, token: str | None) -> None:
        """Nothing: a credential is not looked at."""

    def identify(self, token: str | None, account: str | None) -> Grant:  # noqa: ARG002 - unread
        """Return the grant of a client; a credential is not looked at."""
        return everything(account)

    def renew(self, grant: Grant, token: str) -> Grant:  # noqa: ARG002 - unread
        """Return the same grant: any credential is as good as the one before."""
        return grant


def bearer(authorization: str | None) -> str | None:
    """Return the credential in an `Authorization` header (RFC 6750, 2.1), where it has one."""
    scheme, _, token = (authorization or "").strip().partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None
