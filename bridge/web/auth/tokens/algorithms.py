"""The algorithms that may sign tokens, and the keys that each of them takes.

Rule: a shared secret never verifies with an algorithm for public keys, nor the other way round.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Algorithms with public keys: the key type and the curves of each (RFC 7518, 8037, 9864).
PUBLIC_KEY_ALGORITHMS: Final[Mapping[str, tuple[str, frozenset[str]]]] = {
    **dict.fromkeys(("RS256", "RS384", "RS512"), ("RSA", frozenset[str]())),
    **dict.fromkeys(("PS256", "PS384", "PS512"), ("RSA", frozenset[str]())),
    "ES256": ("EC", frozenset({"P-256"})),
    "ES384": ("EC", frozenset({"P-384"})),
    "ES512": ("EC", frozenset({"P-521"})),
    "EdDSA": ("OKP", frozenset({"Ed25519", "Ed448"})),
    "Ed25519": ("OKP", frozenset({"Ed25519"})),
}
#: Algorithms with a shared secret.
SHARED_SECRET_ALGORITHMS: Final = ("HS256", "HS384", "HS512")
#: A shorter secret can be guessed (RFC 7518, 3.2).
MIN_SECRET_BYTES: Final = 32
_QUOTES: Final = "\"'`"
_KEY_PREFIXES: Final = ("-----BEGIN ", "ssh-", "ecdsa-sha2-")


def select_algorithms(
    algorithms: Sequence[str] | None, *, has_secret: bool, has_jwks_url: bool
) -> tuple[str, ...]:
    """Return the allowed algorithms. None selects the defaults.

    `has_secret` and `has_jwks_url` are true if the operator set a secret or a JWKS URL.

    Raises:
        ValueError: If an algorithm is unknown, or does not fit the secret or the JWKS.
    """
    if algorithms is None:
        return ("RS256", "ES256") if has_jwks_url else ("HS256",)
    if not algorithms:
        raise ValueError("name at least one algorithm")
    for name in algorithms:
        if name.lower() == "none":
            raise ValueError("`none` is not allowed: an unsigned token proves nothing")
        if name not in PUBLIC_KEY_ALGORITHMS and name not in SHARED_SECRET_ALGORITHMS:
            raise ValueError(
                f"unknown algorithm {name}; known are"
                f" {', '.join((*SHARED_SECRET_ALGORITHMS, *PUBLIC_KEY_ALGORITHMS))}"
            )
        if name in SHARED_SECRET_ALGORITHMS and has_jwks_url:
            raise ValueError(f"{name} needs a secret, and BRIDGE_AUTH__JWKS_URL has public keys")
        if name in PUBLIC_KEY_ALGORITHMS and has_secret:
            raise ValueError(f"{name} needs a public key: set BRIDGE_AUTH__JWKS_URL instead")
    # RFC 9864 renames EdDSA with this curve. An issuer that follows it must not be shut out.
    return (*algorithms, "Ed25519") if "EdDSA" in algorithms else tuple(algorithms)


def check_secret(secret: str) -> None:
    """Reject a secret that can be guessed, that came with its quotes, and a key that may be public.

    Raises:
        ValueError: If `secret` is one of these.
    """
    if not secret:
        raise ValueError("it is empty")
    if secret.lstrip().startswith(_KEY_PREFIXES) or ('"kty"' in secret and "{" in secret):
        raise ValueError("it is a key in PEM, SSH or JWK format, not a shared secret")
    if secret != secret.strip():
        raise ValueError("it begins or ends with a space or a newline; remove it")
    if len(secret) > 1 and secret[0] == secret[-1] and secret[0] in _QUOTES:
        raise ValueError("it has quotes around it, which count as part of it; remove them")
    size_bytes = len(secret.encode("utf-8", "surrogateescape"))
    if size_bytes < MIN_SECRET_BYTES:
        raise ValueError(
            f"it has {size_bytes} bytes and can be guessed from one token; use"
            f" {MIN_SECRET_BYTES} or more, as of `openssl rand -base64 32`"
        )
