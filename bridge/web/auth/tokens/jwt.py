"""Authentication by a signed token (JWT, RFC 7519).

Rules: the operator's algorithms and keys decide; nothing in the token does. A token is refused for
good only by keys that were fetched after it came. No credential is ever logged or returned.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Final

import jwt
from jwt.algorithms import OKPAlgorithm

from bridge.core.protocol import close_codes
from bridge.web.auth.authenticator import AllowAll, AuthRefused
from bridge.web.auth.tokens.algorithms import select_algorithms
from bridge.web.auth.tokens.claims import (
    ClaimRules,
    parse_claims,
    permissions_from_claims,
    unauthenticated,
)
from bridge.web.auth.tokens.jwks import JwksCache, KeysUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence

    from bridge.core.sessions.permissions import Permissions
    from bridge.web.auth.authenticator import Credentials

# The decoders of JSON, base64 and numbers raise more than PyJWT's own errors.
_DECODE_ERRORS: Final = (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError)
_signatures: Final = jwt.PyJWS()
if "Ed25519" not in _signatures.get_algorithms():  # RFC 9864
    _signatures.register_algorithm("Ed25519", OKPAlgorithm())


class SharedSecret:
    """The one key shared with the issuer. A token's `kid` is ignored."""

    def __init__(self, secret: str) -> None:
        # An environment variable's bytes that are not UTF-8 arrive as surrogates.
        self._key = secret.encode("utf-8", "surrogateescape")

    def candidate_keys(
        self,
        key_id: str | None,  # noqa: ARG002 - ignored
        algorithm: str,  # noqa: ARG002 - ignored
    ) -> list[Any]:
        """Return the secret."""
        return [self._key]


class JwtAuthenticator:
    """Accepts tokens that one of `keys` signed with one of `algorithms`.

    With a `SharedSecret` every token is judged at once: it never changes.
    """

    accepts_account_parameter = False
    credential_headers: Collection[str] = ()

    def __init__(
        self,
        keys: SharedSecret | JwksCache,
        algorithms: Sequence[str],
        rules: ClaimRules = ClaimRules(),  # noqa: B008 - never changed
        *,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """`wall_clock` returns seconds since 1970."""
        self._keys = keys
        self._algorithms = tuple(algorithms)
        self._rules = rules
        self._wall_clock = wall_clock

    def authenticate(self, credentials: Credentials) -> Permissions | Awaitable[Permissions]:
        """Return the permissions in the token; what to await if no known key signed it.

        Raises:
            AuthRefused: If the token is invalid; also by the awaitable, if keys that were fetched
                meanwhile do not fit or cannot be fetched.
        """
        token = credentials.token
        if not token:
            raise unauthenticated("no token")
        key_id, algorithm = _parse_header(token)
        if algorithm not in self._algorithms:
            raise unauthenticated("the token is not signed with an allowed algorithm")
        payload = self._verify(token, key_id, algorithm)
        if payload is not None:
            return self._permissions(payload)
        if isinstance(self._keys, SharedSecret):
            raise unauthenticated("the token's signature is wrong")
        return self._authenticate_with_newer_keys(self._keys, token, key_id, algorithm)

    async def _authenticate_with_newer_keys(
        self, keys: JwksCache, token: str, key_id: str | None, algorithm: str
    ) -> Permissions:
        try:
            payload = await keys.retry(lambda: self._verify(token, key_id, algorithm))
        except KeysUnavailable:
            raise AuthRefused(close_codes.KEYS_UNAVAILABLE, metric_reason="no_keys") from None
        if payload is not None:
            return self._permissions(payload)
        is_known = keys.candidate_keys(key_id, algorithm)
        raise unauthenticated(
            "the token's signature is wrong" if is_known else "the token's key is unknown"
        )

    def _verify(self, token: str, key_id: str | None, algorithm: str) -> bytes | None:
        """Return the payload of `token`; None if no key signed it.

        Raises:
            AuthRefused: If `token` cannot be read.
        """
        for key in self._keys.candidate_keys(key_id, algorithm):
            try:
                decoded = _signatures.decode_complete(
                    token, key, [algorithm], {"verify_signature": True}
                )
            except (jwt.InvalidSignatureError, jwt.InvalidKeyError):
                continue
            except _DECODE_ERRORS:
                raise unauthenticated("the token cannot be read") from None
            payload: bytes = decoded["payload"]
            return payload
        return None

    def _permissions(self, payload: bytes) -> Permissions:
        return permissions_from_claims(parse_claims(payload), self._rules, self._wall_clock())


def _parse_header(token: str) -> tuple[str | None, str]:
    """Return the unverified `kid` and `alg` of `token`."""
    try:
        header = _signatures.get_unverified_header(token)
    except _DECODE_ERRORS:
        raise unauthenticated("the token cannot be read") from None
    key_id, algorithm = header.get("kid"), header.get("alg")
    return (
        key_id if isinstance(key_id, str) else None,
        algorithm if isinstance(algorithm, str) else "",
    )


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
    rules: ClaimRules,
) -> tuple[JwtAuthenticator, JwksCache | None]:
    """Return the authenticator for mode `jwt`, and its JWKS cache if it has one.

    Raises:
        ValueError: If there is neither a secret nor a JWKS URL, or the algorithms do not fit.
    """
    allowed_algorithms = select_algorithms(
        algorithms, has_secret=secret is not None, has_jwks_url=jwks_url is not None
    )
    if jwks_url is not None:
        jwks = JwksCache(jwks_url)
        return JwtAuthenticator(jwks, allowed_algorithms, rules), jwks
    if secret is None:
        raise ValueError("tokens need BRIDGE_AUTH__SECRET or BRIDGE_AUTH__JWKS_URL; neither is set")
    return JwtAuthenticator(SharedSecret(secret), allowed_algorithms, rules), None
