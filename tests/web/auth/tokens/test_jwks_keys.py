"""Key sets: what of them can be used, and that the rest is passed over."""

from __future__ import annotations

import contextlib
import itertools
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import example, given
from hypothesis import strategies as st
from jwt.algorithms import RSAAlgorithm

from bridge.web.auth.tokens.jwks import parse_key_set
from tests.web.token_signing import ec_key, ed_key, jwk_set, public_jwk, rsa_key

GOOD = public_jwk(rsa_key(), "good")


def algorithms(*keys: Any) -> set[str]:
    return set().union(*(key.algorithms for key in parse_key_set(jwk_set(*keys))))


def test_a_key_is_for_the_algorithms_of_its_kind_and_curve() -> None:
    assert algorithms(GOOD) == {
        f"{name}{bits}" for name in ("RS", "PS") for bits in (256, 384, 512)
    }
    assert algorithms(public_jwk(ec_key())) == {"ES256"}
    assert algorithms(public_jwk(ec_key(ec.SECP384R1))) == {"ES384"}
    assert algorithms(public_jwk(ec_key(ec.SECP521R1))) == {"ES512"}
    assert algorithms(public_jwk(ed_key())) == {"EdDSA", "Ed25519"}


def test_a_key_that_names_its_algorithm_is_for_no_other() -> None:
    assert algorithms({**GOOD, "alg": "PS384"}) == {"PS384"}


NUMBERS = itertools.count()


@pytest.mark.parametrize(
    "useless",
    [
        5,
        None,
        "text",
        [],
        {},
        {"kty": "RSA"},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "one", "alg": "HS256"},
        {**GOOD, "use": "enc"},
        {**GOOD, "key_ops": ["encrypt"]},
        {**GOOD, "key_ops": "verify"},
        {**GOOD, "alg": "RSA-OAEP"},
        {**GOOD, "alg": "HS256"},
        {**GOOD, "alg": "none"},
        {**GOOD, "kty": "EC"},
        {**GOOD, "n": "!!!"},
        {**GOOD, "n": 5},
        {**GOOD, "e": ""},
        {**GOOD, "kid": 5},
        {**public_jwk(ec_key()), "crv": "P-384"},
        {**public_jwk(ec_key()), "x": "AA"},
        {**public_jwk(ec_key(ec.SECP256K1))},
        {**public_jwk(ed_key()), "crv": "X25519"},
        {**public_jwk(ed_key()), "x": ""},
        public_jwk(rsa_key(bits=1024)),
    ],
    ids=lambda _: str(next(NUMBERS)),  # keys are random, names must not be
)
def test_what_can_not_be_used_is_passed_over(useless: Any) -> None:
    assert [key.key_id for key in parse_key_set(jwk_set(useless, GOOD, useless))] == ["good"]
    with pytest.raises(ValueError, match="none of its keys"):
        parse_key_set(jwk_set(useless))


def test_of_a_private_key_only_the_public_half_is_kept() -> None:
    leaked = RSAAlgorithm.to_jwk(rsa_key(), as_dict=True)
    del leaked["key_ops"]
    assert "d" in leaked
    (key,) = parse_key_set(jwk_set(leaked))
    assert isinstance(key.key, rsa.RSAPublicKey)


members = st.fixed_dictionaries(
    {},
    optional={
        name: st.none() | st.integers() | st.text(max_size=8) | st.sampled_from(values)
        for name, values in {
            "kty": ["RSA", "EC", "OKP", "oct"],
            "crv": ["P-256", "P-521", "Ed25519", "Ed448"],
            "use": ["sig", "enc"],
            "alg": ["RS256", "ES256", "EdDSA"],
            **{name: ["AQAB", "A" * 43, "A" * 342, "_" * 43] for name in ("n", "e", "x", "y")},
        }.items()
    },
)


@given(st.lists(members, max_size=3).map(lambda keys: jwk_set(*keys)) | st.binary(max_size=50))
@example(b"[" * 100_000)
@example(b'{"keys": [' + b"[" * 100_000)
@example(b"\xff")
def test_whatever_is_published_is_a_set_of_keys_or_is_not(text: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert parse_key_set(text)
