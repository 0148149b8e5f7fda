"""Tokens: the right ones are not refused, and grant what they say."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from bridge.web.auth.algorithms import PUBLIC_KEY_ALGORITHMS, SHARED_SECRET_ALGORITHMS
from bridge.web.auth.authenticator import parse_bearer
from tests.web.authenticator_checks import auth_error_reason, ready_authenticator, to_json
from tests.web.token_signing import (
    SECRET,
    JwksServer,
    ec_key,
    ed448_key,
    ed_key,
    public_jwk,
    rsa_key,
    shared_secret_authenticator,
    sign_token,
    token_claims,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.core.sessions.permissions import Permissions


def granted(**changed: Any) -> Permissions:
    return shared_secret_authenticator().authenticate(sign_token(**changed), None)


@pytest.mark.parametrize("algorithm", SHARED_SECRET_ALGORITHMS)
def test_a_token_that_the_secret_signed_is_good(algorithm: str) -> None:
    gate = shared_secret_authenticator(algorithms=[algorithm])
    assert gate.authenticate(sign_token(algorithm=algorithm), None).account == "alice"


KEYS: dict[str, Callable[[], Any]] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), rsa_key),
    "ES256": ec_key,
    "ES384": lambda: ec_key(ec.SECP384R1),
    "ES512": lambda: ec_key(ec.SECP521R1),
    "EdDSA": ed_key,
}


@pytest.mark.parametrize("algorithm", KEYS)
async def test_a_token_that_a_published_key_signed_is_good(algorithm: str) -> None:
    key = KEYS[algorithm]()
    gate = await ready_authenticator(JwksServer(public_jwk(key, "one")), [algorithm])
    for kid in ("one", None):
        assert gate.authenticate(sign_token(key, algorithm, kid), None).account == "alice"
    others = [other for other in KEYS if other != algorithm]
    for other in others:
        auth_error_reason(gate, sign_token(KEYS[other](), other, "one"))


def test_every_algorithm_is_tried() -> None:
    assert set(KEYS) == set(PUBLIC_KEY_ALGORITHMS)


async def test_the_longer_edwards_curve_is_good_too() -> None:
    gate = await ready_authenticator(JwksServer(public_jwk(ed448_key(), "one")), ["EdDSA"])
    assert gate.authenticate(sign_token(ed448_key(), "EdDSA", "one"), None).account == "alice"


def test_clocks_may_differ_by_some_seconds() -> None:
    now = int(time.time())
    assert granted(exp=now - 2).account == "alice"
    assert granted(nbf=now + 3, iat=now + 3).account == "alice"


def test_a_token_without_an_end_has_none() -> None:
    assert granted(exp=None).expires_at is None


@pytest.mark.parametrize("exp", [10**15, 10**400, 1e300, 253402300800])
def test_an_end_beyond_all_years_is_the_last_moment_there_is(exp: float) -> None:
    assert granted(exp=exp).expires_at == 253402300799


def test_a_grant_keeps_when_it_was_issued_and_when_it_ends() -> None:
    now = int(time.time())
    grant = granted(iat=now - 7, exp=now + 70)
    assert (grant.issued_at, grant.expires_at) == (now - 7, now + 70)
    assert granted(iat=None).issued_at is None


@pytest.mark.parametrize("aud", ["push", ["other", "push"]])
def test_the_audience_may_be_one_of_several(aud: Any) -> None:
    assert (
        shared_secret_authenticator(audience="push").authenticate(sign_token(aud=aud), None).account
        == "alice"
    )


@pytest.mark.parametrize("aud", [None, "other", [], ["other"], "", 5, {"push": 1}])
def test_where_an_audience_is_set_no_other_will_do(aud: Any) -> None:
    auth_error_reason(shared_secret_authenticator(audience="push"), sign_token(aud=aud))


@pytest.mark.parametrize("iss", [None, "https://other.example", ["https://id.example"], "", 5])
def test_where_an_issuer_is_set_no_other_will_do(iss: Any) -> None:
    gate = shared_secret_authenticator(issuer="https://id.example")
    payload = {**token_claims(), **({} if iss is None else {"iss": iss})}
    auth_error_reason(gate, jwt.PyJWS().encode(to_json(payload), SECRET, algorithm="HS256"))
    assert gate.authenticate(sign_token(iss="https://id.example"), None).account == "alice"


def test_where_no_issuer_is_set_any_will_do() -> None:
    assert granted(iss="https://any.example").account == "alice"


def test_topics_that_are_not_listed_are_those_that_are_not_private() -> None:
    grant = granted()
    assert grant.may_read("orders", is_private=False)
    assert not grant.may_read("audit", is_private=True)


def test_topics_are_names_or_patterns_and_a_private_one_is_named() -> None:
    grant = granted(topics=["orders", "*"])
    assert grant.may_read("orders", is_private=True)
    assert grant.may_read("news", is_private=False)
    assert not grant.may_read("audit", is_private=True)
    assert not granted(topics=[]).may_read("orders", is_private=False)


def test_rooms_are_names_or_patterns_and_none_where_none_is_listed() -> None:
    assert not granted().may_join("lobby")
    assert not granted(rooms=[]).may_join("lobby")
    grant = granted(rooms=["lobby", "order:*", "team:**"])
    assert all(map(grant.may_join, ("lobby", "order:1", "team:a:b")))
    assert not any(map(grant.may_join, ("order:1:2", "team", "other")))


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("Bearer abc", "abc"),
        ("bearer  abc ", "abc"),
        ("BEARER abc", "abc"),
        ("Basic abc", None),
        ("Bearer", None),
        ("Bearer ", None),
        ("", None),
        (None, None),
        ("abc", None),
    ],
)
def test_a_header_has_a_credential_or_none(header: str | None, token: str | None) -> None:
    assert parse_bearer(header) == token
