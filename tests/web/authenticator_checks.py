"""What a test asks of a gate: that it refuses, or that it has what it needs to judge."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from bridge.core.sessions.permissions import Permissions
from bridge.web.auth.authenticator import AuthRefused, Credentials
from bridge.web.auth.tokens.claims import ClaimRules
from bridge.web.auth.tokens.jwt import JwtAuthenticator
from tests.web.token_signing import OTHER_SECRET, forge_token, sign_token, token_claims

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.web.auth.authenticator import Authenticator
    from tests.web.token_signing import JwksServer

NOW_SECONDS = int(time.time())

#: Every mistake that a token can have in itself, and a part of the sentence that says so.
INVALID_TOKENS = {
    "none at all": (None, "no token"),
    "empty": ("", "no token"),
    "no token": ("nonsense", "cannot be read"),
    "two parts": (".".join(sign_token().split(".")[:2]), "cannot be read"),
    "no UTF-8": ("\udcff.\udcff.\udcff", "cannot be read"),
    "a header that is a list": (
        forge_token({}, token_claims()).replace("e30", "W10", 1),
        "cannot be read",
    ),
    "another key": (sign_token(OTHER_SECRET), "signature"),
    "cut signature": (sign_token()[:-2], "read"),
    "no signature": (sign_token().rpartition(".")[0] + ".", "signature"),
    "another algorithm": (sign_token(algorithm="HS512"), "allowed algorithm"),
    "alg none": (forge_token({"alg": "none", "typ": "JWT"}, token_claims()), "allowed algorithm"),
    "alg None": (forge_token({"alg": "None"}, token_claims()), "allowed algorithm"),
    "no alg": (forge_token({}, token_claims()), "allowed algorithm"),
    "alg a list": (forge_token({"alg": ["HS256"]}, token_claims()), "allowed algorithm"),
    "another alg with the right signature": (
        forge_token({"alg": "hs256"}, token_claims()),
        "allowed algorithm",
    ),
    "a kid that is a number": (
        forge_token({"alg": "HS256", "kid": 5}, token_claims()),
        "cannot be read",
    ),
    "expired": (sign_token(exp=NOW_SECONDS - 6), "expired"),
    "expired long ago": (sign_token(exp=0), "expired"),
    "not valid yet": (sign_token(nbf=NOW_SECONDS + 3600), "not valid yet"),
    "issued in the future": (sign_token(iat=NOW_SECONDS + 3600), "not valid yet"),
    "for an audience that this is not": (sign_token(aud="elsewhere"), "another audience"),
    "no sub": (sign_token(sub=None), "no sub"),
}


def grant_now(authenticator: Authenticator, token: str | None) -> Permissions:
    """What a client with `token` may do, known at once."""
    permissions = authenticator.authenticate(Credentials(token))
    assert isinstance(permissions, Permissions)
    return permissions


async def authenticated(authenticator: Authenticator, token: str | None) -> Permissions:
    """What a client with `token` may do, once that is known."""
    permissions = authenticator.authenticate(Credentials(token))
    return permissions if isinstance(permissions, Permissions) else await permissions


def auth_error_reason(authenticator: JwtAuthenticator, token: str | None) -> str:
    """The reason why `authenticator` refuses `token`, for good and at once."""
    with pytest.raises(AuthRefused) as refused:
        authenticator.authenticate(Credentials(token))
    return final_reason(refused.value)


async def late_error_reason(authenticator: JwtAuthenticator, token: str | None) -> str:
    """The reason why `authenticator` refuses `token`, for good, after it looked for its key."""
    pending = authenticator.authenticate(Credentials(token))
    assert not isinstance(pending, Permissions)
    with pytest.raises(AuthRefused) as refused:
        await pending
    return final_reason(refused.value)


def final_reason(refused: AuthRefused) -> str:
    """The reason of a refusal for good, which fits into a close frame."""
    assert refused.close.code == 4500, refused
    assert refused.close.reason.startswith("unauthenticated: ")
    assert len(refused.close.reason.encode()) <= 123
    return refused.close.reason


async def ready_authenticator(
    server: JwksServer, algorithms: Sequence[str], **options: Any
) -> JwtAuthenticator:
    """A gate that has fetched its keys."""
    keys = server.new_jwks()
    assert await keys.retry(lambda: True)
    return JwtAuthenticator(keys, algorithms, ClaimRules(**options))


def to_json(value: Any) -> bytes:
    """JSON."""
    return json.dumps(value).encode()
