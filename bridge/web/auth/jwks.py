"""The keys of those who sign tokens, kept up to date from where they publish them.

Rules: a client never waits for a key that is here. One that is not here is looked for at once,
but not more often than every some seconds, by one request for all who wait. What was fetched
stays good until something newer is fetched: an outage of the publisher closes nobody out.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
from jwt import PyJWK, PyJWTError

from bridge.web.auth.fetch import download, parse_location, redact_location

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

#: By an algorithm that checks with a public key: its kind of key and curves (RFC 7518, 8037).
PUBLIC_KEY_ALGORITHMS: Final[Mapping[str, tuple[str, frozenset[str]]]] = {
    **dict.fromkeys(("RS256", "RS384", "RS512"), ("RSA", frozenset[str]())),
    **dict.fromkeys(("PS256", "PS384", "PS512"), ("RSA", frozenset[str]())),
    "ES256": ("EC", frozenset({"P-256"})),
    "ES384": ("EC", frozenset({"P-384"})),
    "ES512": ("EC", frozenset({"P-521"})),
    "EdDSA": ("OKP", frozenset({"Ed25519", "Ed448"})),
}
#: Those that check with the secret that signed.
SHARED_SECRET_ALGORITHMS: Final = ("HS256", "HS384", "HS512")
#: A secret with fewer bytes can be guessed (RFC 7518, 3.2).
MIN_SECRET_BYTES: Final = 32
_KEY_PREFIXES: Final = ("-----BEGIN ", "ssh-", "ecdsa-sha2-")


def select_algorithms(
    algorithms: Sequence[str] | None, *, has_secret: bool, has_jwks_url: bool
) -> tuple[str, ...]:
    """Return the algorithms that are allowed; None stands for the usual ones.

    `has_secret` and `has_jwks_url` say what the operator has set to check tokens with.

    Raises:
        ValueError: If one is not known, or does not fit what tokens are checked with.
    """
    if algorithms is None:
        return ("RS256", "ES256") if has_jwks_url else ("HS256",)
    if not algorithms:
        raise ValueError("name at least one algorithm")
    for name in algorithms:
        if name.lower() == "none":
            raise ValueError("a token that is not signed proves nothing")
        if name not in PUBLIC_KEY_ALGORITHMS and name not in SHARED_SECRET_ALGORITHMS:
            raise ValueError(
                f"no such algorithm: {', '.join((*SHARED_SECRET_ALGORITHMS, *PUBLIC_KEY_ALGORITHMS))}"
            )
        if name in SHARED_SECRET_ALGORITHMS and has_jwks_url:
            raise ValueError(f"{name} needs a secret, and BRIDGE_AUTH__JWKS_URL has public keys")
        if name in PUBLIC_KEY_ALGORITHMS and has_secret:
            raise ValueError(f"{name} needs a public key: set BRIDGE_AUTH__JWKS_URL instead")
    return tuple(algorithms)


def check_secret(secret: str) -> None:
    """Check that `secret` is one.

    Raises:
        ValueError: If it is empty, or a key that others may know.
    """
    if not secret:
        raise ValueError("it is empty")
    if secret.lstrip().startswith(_KEY_PREFIXES) or ('"kty"' in secret and "{" in secret):
        raise ValueError("that is a key in PEM, SSH or JWK, which is no secret that is shared")


#: RSA keys with fewer bits are no longer safe (NIST SP 800-131A).
MIN_RSA_BITS: Final = 2048
_INVALID_KEY_ERRORS: Final = (
    PyJWTError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    OverflowError,
)


class PublicKey(NamedTuple):
    """One public key, ready for PyJWT, and the algorithms that it may check with."""

    key_id: str | None
    algorithms: frozenset[str]
    key: Any


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


class _JwkSet(msgspec.Struct):
    keys: list[msgspec.Raw]


def parse_key_set(data: bytes) -> list[PublicKey]:
    """Return the keys of a set that can be used.

    Raises:
        ValueError: If it is no set of keys, or none of them can be used.
    """
    try:
        document = msgspec.json.decode(data, type=_JwkSet)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"not a JSON Web Key Set: {error}") from None
    keys = [key for raw_key in document.keys if (key := _parse_key(raw_key)) is not None]
    if not keys:
        raise ValueError("no key in it checks signatures with an algorithm that is known here")
    return keys


def _parse_key(raw_key: msgspec.Raw) -> PublicKey | None:
    try:
        jwk = msgspec.json.decode(raw_key, type=_Jwk)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if jwk.use not in {None, "sig"} or (jwk.key_ops is not None and "verify" not in jwk.key_ops):
        return None
    algorithms = {
        name
        for name, (key_type, curves) in PUBLIC_KEY_ALGORITHMS.items()
        if key_type == jwk.kty and (not curves or jwk.crv in curves) and jwk.alg in {None, name}
    }
    if not algorithms:
        return None
    try:
        # Which of the algorithms does not matter here: those of a kind read keys the same way.
        key = PyJWK.from_dict(msgspec.to_builtins(jwk), min(algorithms)).key
    except _INVALID_KEY_ERRORS:
        return None
    if jwk.kty == "RSA" and key.key_size < MIN_RSA_BITS:
        return None
    return PublicKey(jwk.kid, frozenset(algorithms), key)


_log = logging.getLogger(__name__)

#: Between two looks while all is well, and while the last one failed.
REFRESH_SECONDS: Final = 300.0
RETRY_SECONDS: Final = 5.0
#: However many tokens name keys that nobody has heard of, the publisher is asked no more often.
MIN_FETCH_INTERVAL_SECONDS: Final = 2.0


class KeysUnavailable(Exception):
    """Whether a key is good can not be told now, because the last look for keys failed."""


class JwksCache:
    """The key set at `where`, a URL or a file; `read` fetches it, as bytes.

    To be made on the event loop that it is used on.
    """

    def __init__(self, location: str, fetch: Callable[[], Awaitable[bytes]] | None = None) -> None:
        """Fetch nothing yet.

        Raises:
            ValueError: If `location` is neither a URL nor a file.
        """
        source = parse_location(location)
        self._redacted_location = redact_location(source)
        self._fetch = fetch or (lambda: download(source))
        self._now = asyncio.get_running_loop().time
        self._keys: Sequence[PublicKey] = ()
        self._last_fetch_at = float("-inf")
        self._is_current = False  # whether the last look succeeded
        self._last_error = ""  # what was last said of a look that failed
        self._fetch_task: asyncio.Task[None] | None = None

    def pending_keys(self, key_id: str | None) -> Awaitable[None] | None:
        """What to wait for before `candidates` can judge a token that names the key `key_id`."""
        return None if self._has_key(key_id) else asyncio.shield(self._ensure_fetch_task())

    def candidate_keys(self, key_id: str | None, algorithm: str) -> list[Any]:
        """Return the keys that may have signed a token.

        Raises:
            NoKeys: If that can not be told: the key is not known, and the last look failed.
        """
        if not self._is_current and not self._has_key(key_id):
            raise KeysUnavailable
        return [
            key.key
            for key in self._keys
            if algorithm in key.algorithms and (key_id is None or key.key_id in {key_id, None})
        ]

    async def run(self) -> None:
        """Keep the keys up to date until cancelled."""
        try:
            while True:
                await asyncio.shield(self._ensure_fetch_task())
                await asyncio.sleep(REFRESH_SECONDS if self._is_current else RETRY_SECONDS)
        finally:
            if self._fetch_task is not None:
                self._fetch_task.cancel()

    def _has_key(self, key_id: str | None) -> bool:
        """Whether a token that names the key `key_id` (None: names none) can be judged."""
        return any(key_id is None or key.key_id in {key_id, None} for key in self._keys)

    def _ensure_fetch_task(self) -> asyncio.Task[None]:
        """Return the look for keys that is under way; begin one where none is."""
        if self._fetch_task is None or self._fetch_task.done():
            self._fetch_task = asyncio.create_task(self._refresh(), name="jwks")
        return self._fetch_task

    async def _refresh(self) -> None:
        delay_seconds = self._last_fetch_at + MIN_FETCH_INTERVAL_SECONDS - self._now()
        if delay_seconds > 0:
            await asyncio.sleep(delay_seconds)
        self._last_fetch_at = self._now()
        try:
            keys = parse_key_set(await self._fetch())
        except (OSError, ValueError) as error:
            self._is_current = False
            if str(error) != self._last_error:
                self._last_error = str(error)
                kept_keys = f"; the {len(self._keys)} known stay good" if self._keys else ""
                _log.warning("no keys from %s: %s%s", self._redacted_location, error, kept_keys)
        else:
            if not self._is_current:
                _log.info("%d keys from %s", len(keys), self._redacted_location)
            self._keys, self._is_current, self._last_error = keys, True, ""
