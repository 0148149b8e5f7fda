"""Public keys for tokens: a cache of the issuer's JWKS, and its parser.

Rule: a known key never waits. An unknown one triggers one fetch for all waiting clients, at most
every 2 s. Fetched keys stay valid during an outage of the issuer, so no client is shut out.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
from jwt import PyJWK, PyJWTError

from bridge.web.auth.algorithms import PUBLIC_KEY_ALGORITHMS
from bridge.web.auth.fetch import download, parse_location, redact_location

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

#: Shorter RSA keys are no longer secure (NIST SP 800-131A).
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
    """One public key, ready for PyJWT, and the algorithms that it may be used with."""

    key_id: str | None
    algorithms: frozenset[str]
    key: Any


class _Jwk(msgspec.Struct, omit_defaults=True):
    """The members that are used here. The private members of a key are never read."""

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
    """Return the usable keys of a JWKS.

    Raises:
        ValueError: If `data` is not a JWKS, or no key of it is usable.
    """
    try:
        document = msgspec.json.decode(data, type=_JwkSet)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"not a JSON Web Key Set: {error}") from None
    keys = [key for raw_key in document.keys if (key := _parse_key(raw_key)) is not None]
    if not keys:
        raise ValueError("none of its keys is for signatures with a supported algorithm")
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
        # Any of the algorithms will do: those of one key type parse keys the same way.
        key = PyJWK.from_dict(msgspec.to_builtins(jwk), min(algorithms)).key
    except _INVALID_KEY_ERRORS:
        return None
    if jwk.kty == "RSA" and key.key_size < MIN_RSA_BITS:
        return None
    return PublicKey(jwk.kid, frozenset(algorithms), key)


_log = logging.getLogger(__name__)

#: The interval of fetches after a success, and after a failure.
REFRESH_SECONDS: Final = 300.0
RETRY_SECONDS: Final = 5.0
#: Tokens with unknown keys cannot trigger more frequent fetches.
MIN_FETCH_INTERVAL_SECONDS: Final = 2.0


class KeysUnavailable(Exception):
    """The key is unknown, and the last fetch failed."""


class JwksCache:
    """The key set at `location`, a URL or a file. `fetch` returns its bytes.

    It must be created on the event loop on which it is used.
    """

    def __init__(self, location: str, fetch: Callable[[], Awaitable[bytes]] | None = None) -> None:
        """Create an empty cache; nothing is fetched yet.

        Raises:
            ValueError: If `location` is neither a URL nor a file.
        """
        source = parse_location(location)
        self._redacted_location = redact_location(source)
        self._fetch = fetch or (lambda: download(source))
        self._now = asyncio.get_running_loop().time
        self._keys: Sequence[PublicKey] = ()
        self._last_fetch_at = float("-inf")
        self._is_current = False  # whether the last fetch succeeded
        self._last_error = ""  # logged last, to log each error once
        self._fetch_task: asyncio.Task[None] | None = None

    def pending_keys(self, key_id: str | None) -> Awaitable[None] | None:
        """Return what to await before `candidate_keys(key_id)`; None if nothing."""
        return None if self._has_key(key_id) else asyncio.shield(self._ensure_fetch_task())

    def candidate_keys(self, key_id: str | None, algorithm: str) -> list[Any]:
        """Return the keys that may have signed a token.

        Raises:
            KeysUnavailable: If the key is unknown and the last fetch failed.
        """
        if not self._is_current and not self._has_key(key_id):
            raise KeysUnavailable
        return [
            key.key
            for key in self._keys
            if algorithm in key.algorithms and (key_id is None or key.key_id in {key_id, None})
        ]

    async def run(self) -> None:
        """Fetch the keys every `REFRESH_SECONDS` until cancelled."""
        try:
            while True:
                await asyncio.shield(self._ensure_fetch_task())
                await asyncio.sleep(REFRESH_SECONDS if self._is_current else RETRY_SECONDS)
        finally:
            if self._fetch_task is not None:
                self._fetch_task.cancel()

    def _has_key(self, key_id: str | None) -> bool:
        """Whether a token with the header `kid` of `key_id` (None: without one) can be checked."""
        return any(key_id is None or key.key_id in {key_id, None} for key in self._keys)

    def _ensure_fetch_task(self) -> asyncio.Task[None]:
        """Return the running fetch, or start one."""
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
                kept_keys = "; cached keys stay valid" if self._keys else ""
                _log.warning(
                    "cannot fetch the JWKS: %s%s url=%s keys=%d",
                    error,
                    kept_keys,
                    self._redacted_location,
                    len(self._keys),
                )
        else:
            if not self._is_current:
                _log.info("fetched the JWKS url=%s keys=%d", self._redacted_location, len(keys))
            self._keys, self._is_current, self._last_error = keys, True, ""
