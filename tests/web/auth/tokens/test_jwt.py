"""Tokens: every mistake is refused with 4500."""

from __future__ import annotations

from typing import Any

import jwt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.web.auth.authenticator import AuthRefused
from bridge.web.auth.tokens.algorithms import (
    PUBLIC_KEY_ALGORITHMS,
    SHARED_SECRET_ALGORITHMS,
    select_algorithms,
)
from tests.web.authenticator_checks import (
    INVALID_TOKENS,
    auth_error_reason,
    grant_now,
    ready_authenticator,
    to_json,
)
from tests.web.token_signing import (
    SECRET,
    JwksServer,
    forge_token,
    public_jwk,
    public_pem,
    rsa_key,
    shared_secret_authenticator,
    sign_token,
    token_claims,
)


@pytest.mark.parametrize("mistake", INVALID_TOKENS)
def test_every_mistake_is_refused_and_said(mistake: str) -> None:
    token, said = INVALID_TOKENS[mistake]
    assert said in auth_error_reason(shared_secret_authenticator(), token)


WRONG: dict[str, tuple[Any, ...]] = {
    "sub": (5, "", "a,b", "a*", "a\n", "x" * 201, ["alice"], {}, True),
    "exp": ("soon", "9999999999", [], True, float("nan"), float("inf")),
    "iat": ("now", "1", [], True, float("nan")),
    "nbf": ("now", "1", {}, True),
    "topics": ("orders", 5, {"orders": 1}, [1], [["a"]], [None], True),
    "rooms": ("r", 5, {"r": 1}, [1], [["a"]], [None], False),
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in WRONG.items() for value in values]
)
def test_a_claim_of_the_wrong_type_is_refused(name: str, value: Any) -> None:
    auth_error_reason(shared_secret_authenticator(), sign_token(**{name: value}))


@pytest.mark.parametrize("name", ["topics", "rooms", "sub", "exp", "nbf", "iat"])
def test_a_claim_of_null_is_none(name: str) -> None:
    token = jwt.encode({**token_claims(), name: None}, SECRET, algorithm="HS256")
    auth_error_reason(shared_secret_authenticator(), token)


@pytest.mark.parametrize("payload", ["[]", '"text"', "5", "null", "{", "", '{"sub":' + "[" * 9999])
def test_a_payload_that_is_no_object_is_refused(payload: str) -> None:
    token = jwt.PyJWS().encode(payload.encode(), SECRET, algorithm="HS256")
    assert "cannot be read" in auth_error_reason(shared_secret_authenticator(), token)


@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda raw: raw.decode("latin-1")))
@example("..")
@example("e30.e30.")
@example("bnVsbA.bnVsbA.bnVsbA")
@example("=.=.=")
def test_whatever_is_no_token_is_refused(text: str) -> None:
    auth_error_reason(shared_secret_authenticator(), text)


@given(
    st.dictionaries(
        st.sampled_from(["sub", "exp", "nbf", "iat", "aud", "iss", "jti", "topics", "rooms"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
            max_leaves=5,
        ),
    )
)
def test_whatever_is_signed_is_granted_or_refused(made: dict[str, Any]) -> None:
    token = jwt.PyJWS().encode(to_json(made), SECRET, algorithm="HS256")
    try:
        grant = grant_now(shared_secret_authenticator(), token)
    except AuthRefused:
        auth_error_reason(shared_secret_authenticator(), token)
    else:
        assert grant.account == made["sub"]


# -- confusion -------------------------------------------------------------------------------------


async def test_a_public_key_is_never_taken_for_a_secret() -> None:
    publisher = JwksServer(public_jwk(rsa_key(), "one"))
    for algorithms in (("RS256",), ("RS256", "ES256"), tuple(PUBLIC_KEY_ALGORITHMS)):
        gate = await ready_authenticator(publisher, algorithms)
        grant_now(gate, sign_token(rsa_key(), "RS256", "one"))
        for alg in SHARED_SECRET_ALGORITHMS:
            assert "allowed algorithm" in auth_error_reason(gate, confused(alg, "one"))
            assert "allowed algorithm" in auth_error_reason(gate, confused(alg, None))


def confused(alg: str, kid: str | None) -> str:
    """A token that was signed with the public key's text as if that were a secret."""
    header = {"alg": alg, "typ": "JWT", **({} if kid is None else {"kid": kid})}
    hidden = jwt.algorithms.HMACAlgorithm(getattr(jwt.algorithms.HMACAlgorithm, f"SHA{alg[2:]}"))
    body = forge_token(header, token_claims()).rstrip(".")
    signature = hidden.sign(body.encode(), public_pem(rsa_key()))
    return body + "." + forge_token({}, {}, signature).rpartition(".")[2]


def test_the_operator_can_not_mix_secrets_and_public_keys() -> None:
    with pytest.raises(ValueError, match="HS256 needs a secret"):
        select_algorithms(["RS256", "HS256"], has_secret=False, has_jwks_url=True)
    with pytest.raises(ValueError, match="RS256 needs a public key"):
        select_algorithms(["HS256", "RS256"], has_secret=True, has_jwks_url=False)


@pytest.mark.parametrize("by_url", [True, False])
@pytest.mark.parametrize("name", ["none", "NONE", "None"])
def test_an_algorithm_that_proves_nothing_is_refused(name: str, by_url: bool) -> None:
    with pytest.raises(ValueError, match="unsigned token"):
        select_algorithms([name], has_secret=not by_url, has_jwks_url=by_url)


@pytest.mark.parametrize("name", ["HS1", "", "hs256", "ES256K"])
def test_an_algorithm_that_is_not_known_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="unknown algorithm"):
        select_algorithms([name], has_secret=True, has_jwks_url=False)


def test_no_algorithm_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        select_algorithms([], has_secret=True, has_jwks_url=False)


def test_what_is_allowed_where_nothing_was_said() -> None:
    assert select_algorithms(None, has_secret=True, has_jwks_url=False) == ("HS256",)
    assert select_algorithms(None, has_secret=False, has_jwks_url=True) == ("RS256", "ES256")
