"""Authentication by a signed token (JWT, RFC 7519).

Rules: the operator's algorithms and keys decide; nothing in the token does. A signed but malformed
token is refused like an unsigned one. No credential is ever logged or returned.
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
from bridge.web.auth.algorithms import MIN_SECRET_BYTES, select_algorithms
from bridge.web.auth.authenticator import AllowAll, AuthRefused
from bridge.web.auth.jwks import JwksCache, KeysUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from bridge.web.auth.authenticator import Authenticator

#: Tolerated clock difference between the issuer and the bridge.
LEEWAY_SECONDS: Final = 5.0
#: The last second that RFC 3339 can express.
_MAX_TIMESTAMP_SECONDS: Final = 253402300799
_TIME_CLAIMS: Final = ("exp", "nbf", "iat")
# The first match is the reason. Any other error is "the token cannot be read".
_ERROR_REASONS: Final = (
    (jwt.ExpiredSignatureError, "the token has expired"),
    (jwt.ImmatureSignatureError, "the token is not valid yet"),
    (jwt.InvalidAudienceError, "the token is for another audience"),
    (jwt.InvalidIssuerError, "the token is from another issuer"),
    (jwt.InvalidAlgorithmError, "the token is not signed with an allowed algorithm"),
    (jwt.InvalidSignatureError, "the token's signature is wrong"),
)
# The decoders of JSON, base64 and numbers raise more than PyJWT's own errors.
_DECODE_ERRORS: Final = (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError)


class KeySource(Protocol):
    """Provides the keys that verify tokens."""

    def pending_keys(self, key_id: str | None) -> Awaitable[None] | None:
        """Return what to await before `candidate_keys(key_id)`; None if nothing."""

    def candidate_keys(self, key_id: str | None, algorithm: str) -> list[Any]:
        """Return the keys that may have signed a token.

        Raises:
            KeysUnavailable: If the keys cannot be fetched now.
        """


class SharedSecret:
    """The one key shared with the issuer. A token's `kid` is ignored."""

    def __init__(self, secret: str) -> None:
        # An environment variable's bytes that are not UTF-8 arrive as surrogates.
        self._key = secret.encode("utf-8", "surrogateescape")

    @property
    def size_bytes(self) -> int:
        """The length of the secret."""
        return len(self._key)

    def pending_keys(self, key_id: str | None) -> None:
        """Return None: the secret is always known."""

    def candidate_keys(
        self,
        key_id: str | None,  # noqa: ARG002 - ignored
        algorithm: str,  # noqa: ARG002 - ignored
    ) -> list[Any]:
        """Return the secret."""
        return [self._key]


class JwtAuthenticator:
    """Accepts tokens that one of `keys` signed with one of `algorithms`.

    Without `issuer` any issuer is accepted. Without `audience` a token must not have one.
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
        """Return the fetch of the key of `token`; None if the key is known or none is needed."""
        if not token:
            return None
        try:
            key_id, algorithm = self._parse_header(token)
        except AuthRefused:
            return None
        return self._keys.pending_keys(key_id) if algorithm in self._algorithms else None

    def authenticate(
        self,
        token: str | None,
        account: str | None,  # noqa: ARG002 - the token names it
    ) -> Permissions:
        """Return the permissions in `token`.

        Raises:
            AuthRefused: If the token is invalid, or cannot be checked now.
        """
        if not token:
            raise _unauthenticated("no token")
        return _permissions_from_claims(self._verify(token))

    def refresh_token(self, permissions: Permissions, token: str) -> Permissions:
        """Return the permissions in a newer token of the same account.

        Raises:
            AuthRefused: If the token is invalid or of another account, or cannot be checked now.
        """
        renewed = self.authenticate(token, None)
        if renewed.account != permissions.account:
            raise _unauthenticated("the token is of another account")
        return renewed

    def _parse_header(self, token: str) -> tuple[str | None, str]:
        """Return the unverified `kid` and `alg` of `token`."""
        try:
            header = jwt.get_unverified_header(token)
        except _DECODE_ERRORS:
            raise _unauthenticated("the token cannot be read") from None
        key_id, algorithm = header.get("kid"), header.get("alg")
        return (
            key_id if isinstance(key_id, str) else None,
            algorithm if isinstance(algorithm, str) else "",
        )

    def _verify(self, token: str) -> dict[str, Any]:
        """Return the claims of `token` after checking its signature and times."""
        key_id, algorithm = self._parse_header(token)
        if algorithm not in self._algorithms:
            raise _unauthenticated("the token is not signed with an allowed algorithm")
        try:
            candidates = self._keys.candidate_keys(key_id, algorithm)
        except KeysUnavailable:
            raise AuthRefused(close_codes.KEYS_UNAVAILABLE, metric_reason="no_keys") from None
        reason = "the token's key is unknown"
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
    return "the token cannot be read"


def _unauthenticated(reason: str) -> AuthRefused:
    return AuthRefused(close_codes.UNAUTHENTICATED, f"unauthenticated: {reason}")


_log = logging.getLogger(__name__)


def build_allow_all(*, loopback_only: bool = False) -> AllowAll:
    """Return the authenticator for mode `none`. It warns unless only loopback can connect."""
    if not loopback_only:
        _log.warning(
            "authentication is off (BRIDGE_AUTH__MODE=none): every client may name any account"
            " and may read every topic and room; set BRIDGE_AUTH__MODE=jwt"
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
    """Return the authenticator for mode `jwt`, and its JWKS cache if it has one.

    Raises:
        ValueError: If there is neither a secret nor a JWKS URL, or the algorithms do not fit.
    """
    allowed_algorithms = select_algorithms(
        algorithms, has_secret=secret is not None, has_jwks_url=jwks_url is not None
    )
    if jwks_url is not None:
        jwks = JwksCache(jwks_url)
        return JwtAuthenticator(jwks, allowed_algorithms, audience=audience, issuer=issuer), jwks
    if secret is None:
        raise ValueError("tokens need BRIDGE_AUTH__SECRET or BRIDGE_AUTH__JWKS_URL; neither is set")
    shared_secret = SharedSecret(secret)
    if shared_secret.size_bytes < MIN_SECRET_BYTES:
        _log.warning(
            "BRIDGE_AUTH__SECRET is too short: it can be guessed from one token; use a longer"
            " secret bytes=%d min_bytes=%d",
            shared_secret.size_bytes,
            MIN_SECRET_BYTES,
        )
    # PyJWT would warn for each token.
    warnings.simplefilter("ignore", InsecureKeyLengthWarning)
    return JwtAuthenticator(
        shared_secret, allowed_algorithms, audience=audience, issuer=issuer
    ), None
