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
from bridge.core.protocol.names import is_valid_name
from bridge.core.sessions.permissions import NamePatterns, Permissions
from bridge.web.auth.authenticator import AllowAll, AuthRefused
from bridge.web.auth.jwks import MIN_SECRET_BYTES, JwksCache, KeysUnavailable, select_algorithms

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from bridge.web.auth.authenticator import Authenticator

#: How far the clocks of who signs and who checks may differ, in seconds.
LEEWAY_SECONDS: Final = 5.0
#: The last second that RFC 3339 can write.
_MAX_TIMESTAMP_SECONDS: Final = 253402300799
_TIME_CLAIMS: Final = ("exp", "nbf", "iat")
# The first that fits is told; what is not here "can not be read".
_ERROR_REASONS: Final = (
    (jwt.ExpiredSignatureError, "the token has expired"),
    (jwt.ImmatureSignatureError, "the token is not valid yet"),
    (jwt.InvalidAudienceError, "the token is for another audience"),
    (jwt.InvalidIssuerError, "the token is from another issuer"),
    (jwt.InvalidAlgorithmError, "the token is not signed with an allowed algorithm"),
    (jwt.InvalidSignatureError, "the token's signature is wrong"),
)
# What the decoders of JSON, base64 and numbers raise beside PyJWT's own.
_DECODE_ERRORS: Final = (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError)


class KeySource(Protocol):
    """Where the keys are that tokens are checked with."""

    def pending_keys(self, key_id: str | None) -> Awaitable[None] | None:
        """What to wait for before `candidates` can judge a token that names the key `key_id`."""

    def candidate_keys(self, key_id: str | None, algorithm: str) -> list[Any]:
        """Return the keys that may have signed a token.

        Raises:
            NoKeys: If that can not be told now.
        """


class SharedSecret:
    """The one key that is shared with who signs, whatever a token calls it."""

    def __init__(self, secret: str) -> None:
        # A variable's bytes that are no UTF-8 come as surrogates, and go as they came.
        self._key = secret.encode("utf-8", "surrogateescape")

    @property
    def size_bytes(self) -> int:
        """Its bytes."""
        return len(self._key)

    def pending_keys(self, key_id: str | None) -> None:
        """Nothing: it is always here."""

    def candidate_keys(self, key_id: str | None, algorithm: str) -> list[Any]:  # noqa: ARG002 - as above
        """Return it."""
        return [self._key]


class JwtAuthenticator:
    """Admits who brings a token that one of `keys` signed with one of `algorithms`.

    Where `audience` or `issuer` is None, a token may be from any issuer, and for no audience.
    """

    accepts_account_parameter = False

    def __init__(
        self,
        keys: KeySource,
        algorithms: Sequence[str],
        *,
        audience: str | None = None,
        issuer: str | None = None,
    ) -> None:
        self._keys = keys
        self._algorithms = tuple(algorithms)
        self._audience = audience
        self._issuer = issuer

    def pending_keys(self, token: str | None) -> Awaitable[None] | None:
        """What has to be waited for before `token` can be judged: a look for its key."""
        if not token:
            return None
        try:
            key_id, algorithm = self._parse_header(token)
        except AuthRefused:
            return None
        return self._keys.pending_keys(key_id) if algorithm in self._algorithms else None

    def authenticate(self, token: str | None, account: str | None) -> Permissions:  # noqa: ARG002 - the token says
        """Return what `token` grants.

        Raises:
            Refused: If it is no good token, or that can not be told now.
        """
        if not token:
            raise _unauthenticated("no token")
        return _permissions_from_claims(self._verify(token))

    def refresh_token(self, permissions: Permissions, token: str) -> Permissions:
        """Return what `token` grants to the holder of `permissions`.

        Raises:
            Refused: If it is no good token of the same account, or that can not be told now.
        """
        renewed = self.authenticate(token, None)
        if renewed.account != permissions.account:
            raise _unauthenticated("the token is of another account")
        return renewed

    def _parse_header(self, token: str) -> tuple[str | None, str]:
        """What `token` says, unproven, of its key and algorithm."""
        try:
            header = jwt.get_unverified_header(token)
        except _DECODE_ERRORS:
            raise _unauthenticated("the token can not be read") from None
        key_id, algorithm = header.get("kid"), header.get("alg")
        return key_id if isinstance(key_id, str) else None, algorithm if isinstance(
            algorithm, str
        ) else ""

    def _verify(self, token: str) -> dict[str, Any]:
        """The claims of `token`, proven and in force."""
        key_id, algorithm = self._parse_header(token)
        if algorithm not in self._algorithms:
            raise _unauthenticated("the token is not signed with an allowed algorithm")
        try:
            candidates = self._keys.candidate_keys(key_id, algorithm)
        except KeysUnavailable:
            raise AuthRefused(close_codes.KEYS_UNAVAILABLE, metric_reason="no_keys") from None
        reason = "the token's key is not known"
        for key in candidates:
            try:
                return jwt.decode(
                    token,
                    key,
                    algorithms=[algorithm],
                    audience=self._audience,
                    issuer=self._issuer,
                    leeway=LEEWAY_SECONDS,
                )
            except _DECODE_ERRORS as error:
                reason = _error_reason(error)
        raise _unauthenticated(reason)


def _permissions_from_claims(claims: dict[str, Any]) -> Permissions:
    for claim in _TIME_CLAIMS:
        if claim in claims and not _is_numeric_date(claims[claim]):
            raise _unauthenticated(f"{claim} is not a number")
    account = claims.get("sub")
    if account is None:
        raise _unauthenticated("the token has no sub")
    if not isinstance(account, str) or not is_valid_name(account):
        raise _unauthenticated("sub is not the name of an account")
    expires = claims.get("exp")
    return Permissions(
        account,
        topics=NamePatterns(_name_list(claims, "topics")) if "topics" in claims else None,
        rooms=NamePatterns(_name_list(claims, "rooms") if "rooms" in claims else ()),
        expires_at=None if expires is None else float(min(expires, _MAX_TIMESTAMP_SECONDS)),
        issued_at=claims.get("iat"),
    )


def _is_numeric_date(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


def _name_list(claims: dict[str, Any], claim: str) -> list[str]:
    names = claims[claim]
    if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
        raise _unauthenticated(f"{claim} is not a list of names")
    return names


def _error_reason(error: Exception) -> str:
    for error_type, reason in _ERROR_REASONS:
        if isinstance(error, error_type):
            return reason
    if isinstance(error, jwt.MissingRequiredClaimError):
        return f"the token has no {error.claim}"
    return "the token can not be read"


def _unauthenticated(reason: str) -> AuthRefused:
    return AuthRefused(close_codes.UNAUTHENTICATED, f"unauthenticated: {reason}")


_log = logging.getLogger(__name__)


def build_allow_all(*, loopback_only: bool = False) -> AllowAll:
    """Return the gate that lets in everybody; that is nothing to warn of where nobody can come."""
    if not loopback_only:
        _log.warning(
            "authentication is off (BRIDGE_AUTH__MODE=none): every client is who it says it is,"
            " and may read every topic and room"
        )
    return AllowAll()


def build_jwt_authenticator(
    *,
    secret: str | None,
    jwks_url: str | None,
    algorithms: Sequence[str] | None,
    audience: str | None,
    issuer: str | None,
) -> tuple[Authenticator, JwksCache | None]:
    """Return the gate that asks for tokens, and the keys that have to be kept up to date, if any.

    Raises:
        ValueError: If there is nothing to check tokens with, or it does not fit.
    """
    allowed_algorithms = select_algorithms(
        algorithms, has_secret=secret is not None, has_jwks_url=jwks_url is not None
    )
    if jwks_url is not None:
        jwks = JwksCache(jwks_url)
        return JwtAuthenticator(jwks, allowed_algorithms, audience=audience, issuer=issuer), jwks
    if secret is None:
        raise ValueError("there is neither a secret nor a JWKS URL to check tokens with")
    shared_secret = SharedSecret(secret)
    if shared_secret.size_bytes < MIN_SECRET_BYTES:
        _log.warning(
            "BRIDGE_AUTH__SECRET has %d bytes; fewer than %d can be guessed from one token",
            shared_secret.size_bytes,
            MIN_SECRET_BYTES,
        )
    # PyJWT would say so for each token.
    warnings.simplefilter("ignore", InsecureKeyLengthWarning)
    return JwtAuthenticator(
        shared_secret, allowed_algorithms, audience=audience, issuer=issuer
    ), None
