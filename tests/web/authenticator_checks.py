"""What a test asks of a gate: that it refuses, or that it has what it needs to judge."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from bridge.web.auth.authenticator import AuthRefused
from bridge.web.auth.jwt import JwtAuthenticator
from tests.web.token_signing import OTHER_SECRET, forge_token, sign_token, token_claims

if TYPE_CHECKING:
    from collections.abc import Sequence

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


def auth_error_reason(authenticator: JwtAuthenticator, token: str | None) -> str:
    """The reason why `authenticator` refuses `token`, for good."""
    with pytest.raises(AuthRefused) as refused:
        authenticator.authenticate(token, None)
    assert refused.value.close.code == 4500, refused.value
    assert refused.value.close.reason.startswith("unauthenticated: ")
    assert len(refused.value.close.reason.encode()) <= 123
    return refused.value.close.reason


async def ready_authenticator(
    server: JwksServer, algorithms: Sequence[str], **options: Any
) -> JwtAuthenticator:
    """A gate that has fetched its keys."""
    keys = server.new_jwks()
    download = keys.pending_keys(None)
    assert download is not None
    await download
    return JwtAuthenticator(keys, algorithms, **options)


def to_json(value: Any) -> bytes:
    """JSON."""
    return json.dumps(value).encode()
