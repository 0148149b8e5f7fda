"""Public keys for tokens: a cache of the issuer's JWKS, and its parser.

Rule: a known key never waits. A token that no key fits triggers one fetch for all waiting clients,
at most every 5 s. Fetched keys stay valid during an outage of the issuer.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import msgspec
from jwt import PyJWK, PyJWTError

from bridge.web.auth.fetch import download, parse_location, redact_location
from bridge.web.auth.tokens.algorithms import PUBLIC_KEY_ALGORITHMS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

T = TypeVar("T")

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
    if jwk.crv == "Ed25519":
        algorithms = {"EdDSA", "Ed25519"}  # two names of one algorithm (RFC 9864)
    try:
        # Any of the algorithms will do: those of one key type parse keys the same way. PyJWT does
        # not know `Ed25519` (RFC 9864), but by its older name.
        name = min(algorithms - {"Ed25519"}, default="EdDSA")
        key = PyJWK.from_dict({**msgspec.to_builtins(jwk), "alg": name}, name).key
    except _INVALID_KEY_ERRORS:
        return None
    if jwk.kty == "RSA" and key.key_size < MIN_RSA_BITS:
        return None
    return PublicKey(jwk.kid, frozenset(algorithms), key)


_log = logging.getLogger(__name__)

#: The interval of fetches after a success, and after a failure.
REFRESH_SECONDS: Final = 300.0
RETRY_SECONDS: Final = 5.0
#: Tokens that no key fits cannot trigger more frequent fetches.
MIN_FETCH_INTERVAL_SECONDS: Final = 5.0
#: A client waits no longer for newer keys: the interval, and some seconds for the fetch.
MAX_WAIT_SECONDS: Final = 8.0


class KeysUnavailable(Exception):
    """No key fits, and newer ones cannot be fetched now."""


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
        self._document = b""
        self._keys: Sequence[PublicKey] = ()
        self._last_fetch_at = float("-inf")
        self._is_current = False  # whether the last fetch succeeded
        self._started_fetches = 0
        self._ended_fetch = 0  # the number of the last fetch that ended
        self._last_error = ""  # logged last, to log each error once
        self._fetch_task: asyncio.Task[None] | None = None
        self._one_at_a_time = asyncio.Lock()

    def candidate_keys(self, key_id: str | None, algorithm: str) -> list[Any]:
        """Return the keys that may have signed a token."""
        return [
            key.key
            for key in self._keys
            if algorithm in key.algorithms and (key_id is None or key.key_id in {key_id, None})
        ]

    async def retry(self, verify: Callable[[], T | None]) -> T | None:
        """Call `verify` with newer keys until it returns a result.

        Return None if keys that were fetched after this call do not fit either.

        Raises:
            KeysUnavailable: If such keys cannot be fetched within some seconds.

        Cancellation: safe; it does not affect other callers.
        """
        try:
            async with asyncio.timeout(MAX_WAIT_SECONDS):
                return await self._retry(verify)
        except TimeoutError:
            raise KeysUnavailable from None

    async def _retry(self, verify: Callable[[], T | None]) -> T | None:
        first_newer_fetch = self._started_fetches + 1
        tried_document = self._document
        while True:
            await asyncio.shield(self._ensure_fetch_task())
            if self._document is not tried_document:
                # Thousands may wait, and a signature takes 0.1 ms: one in each turn of the loop.
                async with self._one_at_a_time:
                    tried_document = self._document
                    if (result := verify()) is not None:
                        return result
                    await asyncio.sleep(0)
            if self._ended_fetch >= first_newer_fetch:
                if self._is_current:
                    return None
                raise KeysUnavailable

    async def run(self) -> None:
        """Fetch the keys every `REFRESH_SECONDS` until cancelled."""
        try:
            while True:
                await asyncio.shield(self._ensure_fetch_task())
                await asyncio.sleep(REFRESH_SECONDS if self._is_current else RETRY_SECONDS)
        finally:
            if self._fetch_task is not None:
                self._fetch_task.cancel()

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
        self._started_fetches += 1
        try:
            document = await self._fetch()
            if document != self._document:
                self._keys, self._document = parse_key_set(document), document
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
                _log.info(
                    "fetched the JWKS url=%s keys=%d", self._redacted_location, len(self._keys)
                )
            self._is_current, self._last_error = True, ""
        self._ended_fetch = self._started_fetches
