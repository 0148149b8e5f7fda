"""How a token may be signed, and which keys each algorithm takes.

Rule: the operator pins the algorithms, and each belongs to one kind of key. So a public key is
never taken for a secret (RFC 8725, 2.1), whatever a token says of itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: By an algorithm that checks with a public key: its kind of key and curves (RFC 7518, 8037).
PUBLIC: Final[Mapping[str, tuple[str, frozenset[str]]]] = {
    **dict.fromkeys(("RS256", "RS384", "RS512"), ("RSA", frozenset[str]())),
    **dict.fromkeys(("PS256", "PS384", "PS512"), ("RSA", frozenset[str]())),
    "ES256": ("EC", frozenset({"P-256"})),
    "ES384": ("EC", frozenset({"P-384"})),
    "ES512": ("EC", frozenset({"P-521"})),
    "EdDSA": ("OKP", frozenset({"Ed25519", "Ed448"})),
}
#: Those that check with the secret that signed.
SHARED: Final = ("HS256", "HS384", "HS512")
#: A secret with fewer bytes can be guessed (RFC 7518, 3.2).
SECRET_BYTES: Final = 32
_KEY_MARKS: Final = ("-----BEGIN ", "ssh-", "ecdsa-sha2-")


def pinned(algorithms: Sequence[str] | None, *, by_secret: bool, by_url: bool) -> tuple[str, ...]:
    """Return the algorithms that are allowed; None stands for the usual ones.

    `by_secret` and `by_url` say what the operator has set to check tokens with.

    Raises:
        ValueError: If one is not known, or does not fit what tokens are checked with.
    """
    if algorithms is None:
        return ("RS256", "ES256") if by_url else ("HS256",)
    if not algorithms:
        raise ValueError("name at least one algorithm")
    for name in algorithms:
        if name.lower() == "none":
            raise ValueError("a token that is not signed proves nothing")
        if name not in PUBLIC and name not in SHARED:
            raise ValueError(f"no such algorithm: {', '.join((*SHARED, *PUBLIC))}")
        if name in SHARED and by_url:
            raise ValueError(f"{name} needs a secret, and BRIDGE_AUTH__JWKS_URL has public keys")
        if name in PUBLIC and by_secret:
            raise ValueError(f"{name} needs a public key: set BRIDGE_AUTH__JWKS_URL instead")
    return tuple(algorithms)


def check_secret(secret: str) -> None:
    """Check that `secret` is one.

    Raises:
        ValueError: If it is empty, or a key that others may know.
    """
    if not secret:
        raise ValueError("it is empty")
    if secret.lstrip().startswith(_KEY_MARKS) or ('"kty"' in secret and "{" in secret):
        raise ValueError("that is a key in PEM, SSH or JWK, which is no secret that is shared")
