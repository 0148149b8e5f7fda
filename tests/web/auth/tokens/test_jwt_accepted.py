"""Tokens: the right ones are not refused, and grant what they say."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import OKPAlgorithm

from bridge.core.protocol.close_codes import CloseCode
from bridge.core.sessions.permissions import Permissions
from bridge.web.auth.authenticator import AuthRefused, parse_bearer
from bridge.web.auth.tokens import jwks
from bridge.web.auth.tokens.algorithms import (
    PUBLIC_KEY_ALGORITHMS,
    SHARED_SECRET_ALGORITHMS,
    select_algorithms,
)
from bridge.web.auth.tokens.claims import ClaimRules, permissions_from_claims
from bridge.web.auth.tokens.jwt import JwtAuthenticator
from tests.web.authenticator_checks import (
    auth_error_reason,
    authenticated,
    grant_now,
    late_error_reason,
    ready_authenticator,
    to_json,
)
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


def granted(**changed: Any) -> Permissions:
    return grant_now(shared_secret_authenticator(), sign_token(**changed))


@pytest.mark.parametrize("algorithm", SHARED_SECRET_ALGORITHMS)
def test_a_token_that_the_secret_signed_is_good(algorithm: str) -> None:
    gate = shared_secret_authenticator(algorithms=[algorithm])
    assert grant_now(gate, sign_token(algorithm=algorithm)).account == "alice"


KEYS: dict[str, Callable[[], Any]] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), rsa_key),
    "ES256": ec_key,
    "ES384": lambda: ec_key(ec.SECP384R1),
    "ES512": lambda: ec_key(ec.SECP521R1),
    "EdDSA": ed_key,
    "Ed25519": ed_key,
}


@pytest.mark.parametrize("algorithm", KEYS)
async def test_a_token_that_a_published_key_signed_is_good(algorithm: str) -> None:
    key = KEYS[algorithm]()
    gate = await ready_authenticator(JwksServer(public_jwk(key, "one")), [algorithm])
    for kid in ("one", None):
        assert grant_now(gate, sign(key, algorithm, kid)).account == "alice"
    allowed = {"EdDSA", "Ed25519"} if algorithm == "EdDSA" else {algorithm}
    others = [other for other in KEYS if other not in allowed]
    for other in others:
        auth_error_reason(gate, sign(KEYS[other](), other, "one"))


def sign(key: Any, algorithm: str, kid: str | None) -> str:
    """A token, also with the algorithm that PyJWT does not know by this name."""
    tokens = jwt.PyJWT()
    with contextlib.suppress(ValueError):
        tokens._jws.register_algorithm("Ed25519", OKPAlgorithm())
    headers = None if kid is None else {"kid": kid}
    return tokens.encode(token_claims(), key, algorithm, headers)


async def test_ed25519_is_eddsa_by_its_newer_name() -> None:
    """RFC 9864: whichever name the issuer, its key and the setting have."""
    for alg in ({}, {"alg": "EdDSA"}, {"alg": "Ed25519"}):
        for allowed in ("EdDSA", "Ed25519"):
            gate = JwtAuthenticator(
                JwksServer(public_jwk(ed_key(), "one", **alg)).new_jwks(),
                select_algorithms([allowed], has_secret=False, has_jwks_url=True),
            )
            permissions = await authenticated(gate, sign(ed_key(), "Ed25519", "one"))
            assert permissions.account == "alice"
    auth_error_reason(gate, sign(ed_key(), "EdDSA", "one"))


async def test_ed25519_is_not_good_with_the_longer_curve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwks, "MIN_FETCH_INTERVAL_SECONDS", 0.0)
    gate = await ready_authenticator(JwksServer(public_jwk(ed448_key(), "one")), ["Ed25519"])
    await late_error_reason(gate, sign(ed448_key(), "Ed25519", "one"))


def test_every_algorithm_is_tried() -> None:
    assert set(KEYS) == set(PUBLIC_KEY_ALGORITHMS)


async def test_the_longer_edwards_curve_is_good_too() -> None:
    gate = await ready_authenticator(JwksServer(public_jwk(ed448_key(), "one")), ["EdDSA"])
    assert grant_now(gate, sign_token(ed448_key(), "EdDSA", "one")).account == "alice"


def test_clocks_may_differ_by_some_seconds() -> None:
    now = int(time.time())
    assert granted(exp=now - 2).account == "alice"
    assert granted(nbf=now + 3, iat=now + 3).account == "alice"


NOW = 1_800_000_000.0


def judge_early(**claims: Any) -> Permissions | CloseCode:
    """What a token gets at `NOW`."""
    rules = ClaimRules()
    try:
        return permissions_from_claims({"sub": "alice", **claims}, rules, NOW)
    except AuthRefused as refused:
        return refused.close


@pytest.mark.parametrize("name", ["iat", "nbf"])
def test_a_token_that_is_ahead_by_the_leeway_is_good(name: str) -> None:
    assert isinstance(judge_early(**{name: NOW + 5}), Permissions)


@pytest.mark.parametrize("name", ["iat", "nbf"])
@pytest.mark.parametrize(("ahead", "missing"), [(5.001, 0.001), (6, 1), (65.5, 60.5), (300, 295)])
def test_a_token_that_is_ahead_comes_back_after_what_is_missing(
    name: str, ahead: float, missing: float
) -> None:
    close = judge_early(**{name: NOW + ahead})
    assert isinstance(close, CloseCode)
    assert close.code == 4006
    assert missing <= close.spread_retry_after(lambda seconds: seconds / 2) <= missing + 0.002
    later = NOW + close.retry_after
    assert permissions_from_claims({"sub": "alice", name: NOW + ahead}, ClaimRules(), later)


@pytest.mark.parametrize("claims", [{"iat": NOW + 301}, {"nbf": NOW + 301}])
def test_a_token_that_is_far_ahead_is_refused_for_good(claims: dict[str, Any]) -> None:
    close = judge_early(**claims)
    assert isinstance(close, CloseCode)
    assert close.code == 4500


def test_the_later_of_iat_and_nbf_counts() -> None:
    close = judge_early(iat=NOW + 10, nbf=NOW + 20)
    assert isinstance(close, CloseCode)
    assert close.retry_after == 15


@pytest.mark.parametrize(
    "fault", [{"exp": NOW - 6}, {"sub": "a,b"}, {"rooms": 5}, {"aud": "other"}]
)
def test_waiting_does_not_mend_another_fault(fault: dict[str, Any]) -> None:
    close = judge_early(iat=NOW + 60, **fault)
    assert isinstance(close, CloseCode)
    assert close.code == 4500


def test_a_token_without_an_end_is_refused_where_one_is_required() -> None:
    gate = shared_secret_authenticator(requires_exp=True)
    assert "BRIDGE_AUTH__REQUIRE_EXP" in auth_error_reason(gate, sign_token(exp=None))
    assert grant_now(gate, sign_token()).account == "alice"


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
        grant_now(shared_secret_authenticator(audience="push"), sign_token(aud=aud)).account
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
    assert grant_now(gate, sign_token(iss="https://id.example")).account == "alice"


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
