"""Who signs tokens in tests: keys of every kind, and the set in which the public ones are told."""

from __future__ import annotations

import base64
import functools
import json
import time
from typing import TYPE_CHECKING, Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from bridge.web.auth.tokens.claims import ClaimRules
from bridge.web.auth.tokens.jwks import JwksCache
from bridge.web.auth.tokens.jwt import JwtAuthenticator, SharedSecret

if TYPE_CHECKING:
    from collections.abc import Sequence

SECRET = "a secret of the tests, long enough even for SHA-512 by RFC 7518, 3.2"
OTHER_SECRET = "another secret of the tests, as long as RFC 7518, 3.2 asks for too"


def token_claims(**overrides: Any) -> dict[str, Any]:
    """Good claims of alice's for an hour; a claim of None is left out."""
    now = int(time.time())
    all_claims = {"sub": "alice", "iat": now, "exp": now + 3600, **overrides}
    return {name: value for name, value in all_claims.items() if value is not None}


def sign_token(
    key: Any = SECRET, algorithm: str = "HS256", kid: str | None = None, **overrides: Any
) -> str:
    """A token with those claims."""
    headers = None if kid is None else {"kid": kid}
    return jwt.encode(token_claims(**overrides), key, algorithm=algorithm, headers=headers)


def forge_token(header: dict[str, Any], payload: Any, signature: bytes = b"") -> str:
    """A token put together by hand."""
    parts = (json.dumps(header).encode(), json.dumps(payload).encode(), signature)
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def shared_secret_authenticator(
    secret: str = SECRET, algorithms: Sequence[str] = ("HS256",), **options: Any
) -> JwtAuthenticator:
    """A gate that asks for tokens that the secret signed."""
    return JwtAuthenticator(SharedSecret(secret), algorithms, ClaimRules(**options))


@functools.cache
def rsa_key(number: int = 0, bits: int = 2048) -> rsa.RSAPrivateKey:
    """An RSA key; the same for the same number."""
    del number
    return rsa.generate_private_key(65537, bits)


@functools.cache
def ec_key(curve: type[ec.EllipticCurve] = ec.SECP256R1) -> ec.EllipticCurvePrivateKey:
    """An elliptic key."""
    return ec.generate_private_key(curve())


@functools.cache
def ed_key() -> ed25519.Ed25519PrivateKey:
    """An Edwards key."""
    return ed25519.Ed25519PrivateKey.generate()


@functools.cache
def ed448_key() -> ed448.Ed448PrivateKey:
    """A longer Edwards key."""
    return ed448.Ed448PrivateKey.generate()


def public_pem(key: Any) -> bytes:
    """The public key as it is often published."""
    public: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return public


def public_jwk(private: Any, kid: str | None = None, **extra: Any) -> dict[str, Any]:
    """The public half of a key as one of a set."""
    public = private.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        fields = RSAAlgorithm.to_jwk(public, as_dict=True)
    elif isinstance(public, ec.EllipticCurvePublicKey):
        fields = ECAlgorithm.to_jwk(public, as_dict=True)
    else:
        fields = OKPAlgorithm.to_jwk(public, as_dict=True)
    return {**fields, **({} if kid is None else {"kid": kid}), **extra}


def jwk_set(*keys: Any) -> bytes:
    """A key set with these keys."""
    return json.dumps({"keys": keys}).encode()


class JwksServer:
    """Publishes a key set, and counts how often it was asked. A `text` of None is an outage."""

    def __init__(self, *keys: Any) -> None:
        self.body: bytes | None = jwk_set(*keys)
        self.request_count = 0

    async def read(self) -> bytes:
        self.request_count += 1
        if self.body is None:
            raise OSError("the publisher is away")
        return self.body

    def new_jwks(self) -> JwksCache:
        return JwksCache("https://id.example/jwks.json", self.read)
