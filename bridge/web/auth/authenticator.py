"""The protocol of authenticators, and the one for `BRIDGE_AUTH__MODE=none`.

Rule: a refusal names the rule that failed. It never shows a credential or what exists behind it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from bridge.core.sessions.permissions import unrestricted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Collection, Mapping

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


class Credentials(NamedTuple):
    """What a client shows of itself, and what it asks for.

    `account` is the one that it names; only `AllowAll` uses it. `topics` of None means all that it
    may read without naming them. `is_renewal` is true for a newer token on a live connection.
    """

    token: str | None = None
    account: str | None = None
    topics: frozenset[str] | None = frozenset()
    rooms: tuple[str, ...] = ()
    address: str = ""
    origin: str | None = None
    headers: Mapping[str, str] = {}
    is_renewal: bool = False


NO_CREDENTIALS: Final = Credentials()


class Authenticator(Protocol):
    """Turns credentials into permissions."""

    @property
    def accepts_account_parameter(self) -> bool:
        """Whether clients name their own account in the parameter `account`."""

    @property
    def credential_headers(self) -> Collection[str]:
        """Names of the headers that it needs, in lower case."""

    def authenticate(self, credentials: Credentials) -> Permissions | Awaitable[Permissions]:
        """Return the permissions of a client, or what to await for them: keys or an answer.

        The awaitable ends within seconds. Await it once.

        Raises:
            AuthRefused: If the credential is invalid, or cannot be checked now. The awaitable
                raises it too.

        Cancellation: safe; it does not affect other callers.
        """


class AllowAll:
    """Authentication is off: each client is the account that it names, and may read everything."""

    accepts_account_parameter = True
    credential_headers: Collection[str] = ()

    def authenticate(self, credentials: Credentials) -> Permissions:
        """Return unrestricted permissions; the credential is ignored."""
        return unrestricted(credentials.account)


def parse_bearer(authorization: str | None) -> str | None:
    """Return the bearer token of an `Authorization` header (RFC 6750, 2.1), or None."""
    scheme, _, token = (authorization or "").strip().partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None
