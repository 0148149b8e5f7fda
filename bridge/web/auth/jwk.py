"""A JSON Web Key Set (RFC 7517), read as far as it has public keys that check signatures.

Rule: one key that can not be used is passed over, as the RFC asks; a symmetric one is none, for
what is published is no secret.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec
from jwt import PyJWK, PyJWTError

from bridge.web.auth.algorithms import PUBLIC

#: RSA keys with fewer bits are no longer safe (NIST SP 800-131A).
RSA_BITS: Final = 2048
_BROKEN: Final = (PyJWTError, ValueError, TypeError, KeyError, AttributeError, OverflowError)


class Key(NamedTuple):
    """One public key, ready for PyJWT, and the algorithms that it may check with."""

    id: str | None
    algorithms: frozenset[str]
    public: Any


class _Jwk(msgspec.Struct, omit_defaults=True):
    """The members that matter here; of a private key only what may be published."""

    kty: str
    kid: str | None = None
    use: str | None = None
    key_ops: list[str] | None = None
    alg: str | None = None
    crv: str | None = None
    n: str | None = None
    e: str | None = None
    x: str | None = None
    y: str | None = None


class _Document(msgspec.Struct):
    keys: list[msgspec.Raw]


def read_keys(text: bytes) -> list[Key]:
    """Return the keys of a set that can be used.

    Raises:
        ValueError: If it is no set of keys, or none of them can be used.
    """
    try:
        document = msgspec.json.decode(text, type=_Document)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"not a JSON Web Key Set: {error}") from None
    keys = [key for each in document.keys if (key := _key(each)) is not None]
    if not keys:
        raise ValueError("no key in it checks signatures with an algorithm that is known here")
    return keys


def _key(text: msgspec.Raw) -> Key | None:
    try:
        jwk = msgspec.json.decode(text, type=_Jwk)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if jwk.use not in {None, "sig"} or (jwk.key_ops is not None and "verify" not in jwk.key_ops):
        return None
    algorithms = {
        name
        for name, (kind, curves) in PUBLIC.items()
        if kind == jwk.kty and (not curves or jwk.crv in curves) and jwk.alg in {None, name}
    }
    if not algorithms:
        return None
    try:
        # Which of the algorithms does not matter here: those of a kind read keys the same way.
        key = PyJWK.from_dict(msgspec.to_builtins(jwk), min(algorithms)).key
    except _BROKEN:
        return None
    if jwk.kty == "RSA" and key.key_size < RSA_BITS:
        return None
    return Key(jwk.kid, frozenset(algorithms), key)
