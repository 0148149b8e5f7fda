"""The claims of a token whose signature is right, and the permissions that they give.

Rules: a signed but malformed token is refused like an unsigned one. What heals by waiting is never
refused for good: a token of a fast clock is asked to come back.
"""

from __future__ import annotations

import json
import math
from typing import Any, Final, NamedTuple

from bridge.core.protocol import close_codes
from bridge.core.protocol.names import is_valid_name
from bridge.core.sessions.permissions import NamePatterns, Permissions
from bridge.web.auth.authenticator import AuthRefused

#: Tolerated clock difference between the issuer and the bridge.
LEEWAY_SECONDS: Final = 5.0
#: A token that begins within this time is asked to come back. A clock is not further off.
MAX_EARLY_SECONDS: Final = 300.0
#: The last second that RFC 3339 can express.
_MAX_TIMESTAMP_SECONDS: Final = 253402300799
_TIME_CLAIMS: Final = ("exp", "nbf", "iat")


class ClaimRules(NamedTuple):
    """What the settings require of claims. None is any issuer, and no audience."""

    audience: str | None = None
    issuer: str | None = None
    requires_exp: bool = False
    keeps_claims: bool = False  #: in the permissions, for the callback


def unauthenticated(reason: str) -> AuthRefused:
    """Return a refusal for good."""
    return AuthRefused(close_codes.UNAUTHENTICATED, f"unauthenticated: {reason}")


def parse_claims(payload: bytes) -> dict[str, Any]:
    """Return the claims in the payload of a token.

    Raises:
        AuthRefused: If it is no JSON object.
    """
    try:
        claims = json.loads(payload.decode())
    except (ValueError, RecursionError):
        claims = None
    if not isinstance(claims, dict):
        raise unauthenticated("the token cannot be read")
    return claims


def permissions_from_claims(claims: dict[str, Any], rules: ClaimRules, now: float) -> Permissions:
    """Return what `claims` grant at `now`, in seconds since 1970.

    Raises:
        AuthRefused: If they break a rule; with 4006 if waiting some minutes mends it.
    """
    for claim in _TIME_CLAIMS:
        if claim in claims and not _is_numeric_date(claims[claim]):
            raise unauthenticated(f"{claim} is not a number")
    expires = claims.get("exp")
    if expires is None and rules.requires_exp:
        raise unauthenticated("the token has no exp (BRIDGE_AUTH__REQUIRE_EXP)")
    if expires is not None and expires <= now - LEEWAY_SECONDS:
        raise unauthenticated("the token has expired")
    _check_issuer(claims, rules.issuer)
    _check_audience(claims, rules.audience)
    account = claims.get("sub")
    if account is None:
        raise unauthenticated("the token has no sub")
    if not isinstance(account, str) or not is_valid_name(account):
        raise unauthenticated("sub is not the name of an account")
    permissions = Permissions(
        account,
        topics=NamePatterns(_name_list(claims, "topics")) if "topics" in claims else None,
        rooms=NamePatterns(_name_list(claims, "rooms") if "rooms" in claims else ()),
        expires_at=None if expires is None else float(min(expires, _MAX_TIMESTAMP_SECONDS)),
        issued_at=claims.get("iat"),
        claims=claims if rules.keeps_claims else None,
    )
    _check_has_begun(claims, now)  # last: only what has no other fault heals by waiting
    return permissions


def _is_numeric_date(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


def _check_issuer(claims: dict[str, Any], issuer: str | None) -> None:
    if issuer is None:
        return
    if "iss" not in claims:
        raise unauthenticated("the token has no iss")
    if claims["iss"] != issuer:
        raise unauthenticated("the token is from another issuer")


def _check_audience(claims: dict[str, Any], audience: str | None) -> None:
    named = claims.get("aud")
    if audience is None:
        if named:  # RFC 7519, 4.1.3: who is not named must refuse it
            raise unauthenticated("the token is for another audience")
        return
    if named is None:
        raise unauthenticated("the token has no aud")
    if named != audience and not (isinstance(named, list) and audience in named):
        raise unauthenticated("the token is for another audience")


def _check_has_begun(claims: dict[str, Any], now: float) -> None:
    begins = max((claims[name] for name in ("nbf", "iat") if name in claims), default=now)
    early_seconds = begins - now
    if early_seconds <= LEEWAY_SECONDS:
        return
    reason = "the token is not valid yet"
    if early_seconds > MAX_EARLY_SECONDS:
        raise unauthenticated(f"{reason}: its iat or nbf is more than 5 minutes ahead")
    close = close_codes.TOO_EARLY._replace(
        retry_after=math.ceil((early_seconds - LEEWAY_SECONDS) * 1000) / 1000
    )
    raise AuthRefused(close, metric_reason="too_early")


def _name_list(claims: dict[str, Any], claim: str) -> list[str]:
    names = claims[claim]
    if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
        raise unauthenticated(f"{claim} is not a list of names")
    return names
