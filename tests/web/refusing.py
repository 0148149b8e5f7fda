"""What a test asks of a gate: that it refuses, or that it has what it needs to judge."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from bridge.web.auth.authenticator import Refused
from bridge.web.auth.jwt import TokenGate
from tests.web.signing import OTHER_SECRET, claims, forged, signed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.web.signing import Publisher

NOW = int(time.time())

#: Every mistake that a token can have in itself, and a part of the sentence that says so.
MISTAKES = {
    "none at all": (None, "no token"),
    "empty": ("", "no token"),
    "no token": ("nonsense", "can not be read"),
    "two parts": (".".join(signed().split(".")[:2]), "can not be read"),
    "no UTF-8": ("\udcff.\udcff.\udcff", "can not be read"),
    "a header that is a list": (forged({}, claims()).replace("e30", "W10", 1), "can not be read"),
    "another key": (signed(OTHER_SECRET), "signature"),
    "cut signature": (signed()[:-2], "read"),
    "no signature": (signed().rpartition(".")[0] + ".", "signature"),
    "another algorithm": (signed(algorithm="HS512"), "allowed algorithm"),
    "alg none": (forged({"alg": "none", "typ": "JWT"}, claims()), "allowed algorithm"),
    "alg None": (forged({"alg": "None"}, claims()), "allowed algorithm"),
    "no alg": (forged({}, claims()), "allowed algorithm"),
    "alg a list": (forged({"alg": ["HS256"]}, claims()), "allowed algorithm"),
    "another alg with the right signature": (
        forged({"alg": "hs256"}, claims()),
        "allowed algorithm",
    ),
    "a kid that is a number": (forged({"alg": "HS256", "kid": 5}, claims()), "can not be read"),
    "expired": (signed(exp=NOW - 6), "expired"),
    "expired long ago": (signed(exp=0), "expired"),
    "not valid yet": (signed(nbf=NOW + 3600), "not valid yet"),
    "issued in the future": (signed(iat=NOW + 3600), "not valid yet"),
    "for an audience that this is not": (signed(aud="elsewhere"), "another audience"),
    "no sub": (signed(sub=None), "no sub"),
}


def refusal(gate: TokenGate, token: str | None) -> str:
    """The reason why `gate` refuses `token`, for good."""
    with pytest.raises(Refused) as refused:
        gate.identify(token, None)
    assert refused.value.close.code == 4500, refused.value
    assert refused.value.close.reason.startswith("unauthenticated: ")
    assert len(refused.value.close.reason.encode()) <= 123
    return refused.value.close.reason


async def ready(publisher: Publisher, algorithms: Sequence[str], **more: Any) -> TokenGate:
    """A gate that has fetched its keys."""
    keys = publisher.keys()
    looking = keys.missing(None)
    assert looking is not None
    await looking
    return TokenGate(keys, algorithms, **more)


def text(value: Any) -> bytes:
    """JSON."""
    return json.dumps(value).encode()
