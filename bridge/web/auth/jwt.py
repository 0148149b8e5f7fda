"""Who are you, by a signed token (JWT, RFC 7519).

Rules: the operator's algorithms and keys decide, nothing in the token does. What is signed but not
well-formed is refused like what is not signed. No credential is ever logged or sent back.
"""

from __future__ import annotations

import logging
import math
import warnings
from typing import TYPE_CHECKING, Any, Final, Protocol

import jwt
from jwt.warnings import InsecureKeyLengthWarning

from bridge.core.protocol import close_codes
from bridge.core.protocol.names import is_name
from bridge.core.sessions.permissions import Grant, Pattern
from bridge.web.auth.authenticator import OpenGate, Refused
from bridge.web.auth.jwks import SECRET_BYTES, Jwks, NoKeys, pinned

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from bridge.web.auth.authenticator import Gate

#: How far the clocks of who signs and who checks may differ, in seconds.
LEEWAY: Final = 5.0
#: The last second that RFC 3339 can write.
_LAST_SECOND: Final = 253402300799
_MOMENTS: Final = ("exp", "nbf", "iat")
# The first that fits is told; what is not here "can not be read".
_REASONS: Final = (
    (jwt.ExpiredSignatureError, "the token has expired"),
    (jwt.ImmatureSignatureError, "the token is not valid yet"),
    (jwt.InvalidAudienceError, "the token is for another audience"),
    (jwt.InvalidIssuerError, "the token is from another issuer"),
    (jwt.InvalidAlgorithmError, "the token is not signed with an allowed algorithm"),
    (jwt.InvalidSignatureError, "the token's signature is wrong"),
)
# What the decoders of JSON, base64 and numbers raise beside PyJWT's own.
_MALFORMED: Final = (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError)


class Keys(Protocol):
    """Where the keys are that tokens are checked with."""

    def missing(self, id: str | None) -> Awaitable[None] | None:
        """What to wait for before `candidates` can judge a token that names the key `id`."""

    def candidates(self, id: str | None, algorithm: str) -> list[Any]:
        """Return the keys that may have signed a token.

        Raises:
            NoKeys: If that can not be told now.
        """


class Secret:
    """The one key that is shared with who signs, whatever a token calls it."""

    def __init__(self, secret: str) -> None:
        # A variable's bytes that are no UTF-8 come as surrogates, and go as they came.
        self._key = secret.encode("utf-8", "surrogateescape")

    @property
    def size(self) -> int:
        """Its bytes."""
        return len(self._key)

    def missing(self, id: str | None) -> None:
        """Nothing: it is always here."""

    def candidates(self, id: str | None, algorithm: str) -> list[Any]:  # noqa: ARG002 - as above
        """Return it."""
        return [self._key]


class TokenGate:
    """Admits who brings a token that one of `keys` signed with one of `algorithms`.

    Where `audience` or `issuer` is None, a token may be from any issuer, and for no audience.
    """

    takes_account = False

    def __init__(
        self,
        keys: Keys,
        algorithms: Sequence[str],
        *,
        audience: str | None = None,
        issuer: str | None = None,
    ) -> None:
        self._keys = keys
        self._algorithms = tuple(algorithms)
        self._audience = audience
        self._issuer = issuer

    def missing(self, token: str | None) -> Awaitable[None] | None:
        """What has to be waited for before `token` can be judged: a look for its key."""
        if not token:
            return None
        try:
            id, algorithm = self._header(token)
        except Refused:
            return None
        return self._keys.missing(id) if algorithm in self._algorithms else None

    def identify(self, token: str | None, account: str | None) -> Grant:  # noqa: ARG002 - the token says
        """Return what `token` grants.

        Raises:
            Refused: If it is no good token, or that can not be told now.
        """
        if not token:
            raise _refused("no token")
        return _grant(self._claims(token))

    def renew(self, grant: Grant, token: str) -> Grant:
        """Return what `token` grants to the holder of `grant`.

        Raises:
            Refused: If it is no good token of the same account, or that can not be told now.
        """
        newer = self.identify(token, None)
        if newer.account != grant.account:
            raise _refused("the token is of another account")
        return newer

    def _header(self, token: str) -> tuple[str | None, str]:
        """What `token` says, unproven, of its key and algorithm."""
        try:
            header = jwt.get_unverified_header(token)
        except _MALFORMED:
            raise _refused("the token can not be read") from None
        id, algorithm = header.get("kid"), header.get("alg")
        return id if isinstance(id, str) else None, algorithm if isinstance(algorithm, str) else ""

    def _claims(self, token: str) -> dict[str, Any]:
        """The claims of `token`, proven and in force."""
        id, algorithm = self._header(token)
        if algorithm not in self._algorithms:
            raise _refused("the token is not signed with an allowed algorithm")
        try:
            candidates = self._keys.candidates(id, algorithm)
        except NoKeys:
            raise Refused(close_codes.NO_KEYS, word="no_keys") from None
        reason = "the token's key is not known"
        for key in candidates:
            try:
                return jwt.decode(
                    token,
                    key,
                    algorithms=[algorithm],
                    audience=self._audience,
                    issuer=self._issuer,
                    leeway=LEEWAY,
                )
            except _MALFORMED as error:
                reason = _reason(error)
        raise _refused(reason)


def _grant(claims: dict[str, Any]) -> Grant:
    for name in _MOMENTS:
        if name in claims and not _is_moment(claims[name]):
            raise _refused(f"{name} is not a number")
    account = claims.get("sub")
    if account is None:
        raise _refused("the token has no sub")
    if not isinstance(account, str) or not is_name(account):
        raise _refused("sub is not the name of an account")
    expires = claims.get("exp")
    return Grant(
        account,
        topics=Pattern(_names(claims, "topics")) if "topics" in claims else None,
        rooms=Pattern(_names(claims, "rooms") if "rooms" in claims else ()),
        expires=None if expires is None else float(min(expires, _LAST_SECOND)),
        issued=claims.get("iat"),
    )


def _is_moment(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


def _names(claims: dict[str, Any], name: str) -> list[str]:
    names = claims[name]
    if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
        raise _refused(f"{name} is not a list of names")
    return names


def _reason(error: Exception) -> str:
    for kind, reason in _REASONS:
        if isinstance(error, kind):
            return reason
    if isinstance(error, jwt.MissingRequiredClaimError):
        return f"the token has no {error.claim}"
    return "the token can not be read"


def _refused(reason: str) -> Refused:
    return Refused(close_codes.UNAUTHENTICATED, f"unauthenticated: {reason}")


_log = logging.getLogger(__name__)


def open_gate(*, loopback_only: bool = False) -> OpenGate:
    """Return the gate that lets in everybody; that is nothing to warn of where nobody can come."""
    if not loopback_only:
        _log.warning(
            "authentication is off (BRIDGE_AUTH__MODE=none): every client is who it says it is,"
            " and may read every topic and room"
        )
    return OpenGate()


def token_gate(
    *,
    secret: str | None,
    jwks_url: str | None,
    algorithms: Sequence[str] | None,
    audience: str | None,
    issuer: str | None,
) -> tuple[Gate, Jwks | None]:
    """Return the gate that asks for tokens, and the keys that have to be kept up to date, if any.

    Raises:
        ValueError: If there is nothing to check tokens with, or it does not fit.
    """
    names = pinned(algorithms, by_secret=secret is not None, by_url=jwks_url is not None)
    if jwks_url is not None:
        jwks = Jwks(jwks_url)
        return TokenGate(jwks, names, audience=audience, issuer=issuer), jwks
    if secret is None:
        raise ValueError("there is neither a secret nor a JWKS URL to check tokens with")
    shared = Secret(secret)
    if shared.size < SECRET_BYTES:
        _log.warning(
            "BRIDGE_AUTH__SECRET has %d bytes; fewer than %d can be guessed from one token",
            shared.size,
            SECRET_BYTES,
        )
    # PyJWT would say so for each token.
    warnings.simplefilter("ignore", InsecureKeyLengthWarning)
    return TokenGate(shared, names, audience=audience, issuer=issuer), None
