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

from bridge.web.auth.fetch import download, locate, shown

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

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


_log = logging.getLogger(__name__)

#: Between two looks while all is well, and while the last one failed.
REFRESH_SECONDS: Final = 300.0
RETRY_SECONDS: Final = 5.0
#: However many tokens name keys that nobody has heard of, the publisher is asked no more often.
PAUSE_SECONDS: Final = 2.0


class NoKeys(Exception):
    """Whether a key is good can not be told now, because the last look for keys failed."""


class Jwks:
    """The key set at `where`, a URL or a file; `read` fetches it, as bytes.

    To be made on the event loop that it is used on.
    """

    def __init__(self, where: str, read: Callable[[], Awaitable[bytes]] | None = None) -> None:
        """Fetch nothing yet.

        Raises:
            ValueError: If `where` is neither a URL nor a file.
        """
        place = locate(where)
        self._shown = shown(place)
        self._read = read or (lambda: download(place))
        self._now = asyncio.get_running_loop().time
        self._keys: Sequence[Key] = ()
        self._looked_at = float("-inf")
        self._current = False  # whether the last look succeeded
        self._trouble = ""  # what was last said of a look that failed
        self._looking: asyncio.Task[None] | None = None

    def missing(self, id: str | None) -> Awaitable[None] | None:
        """What to wait for before `candidates` can judge a token that names the key `id`."""
        return None if self._knows(id) else asyncio.shield(self._look())

    def candidates(self, id: str | None, algorithm: str) -> list[Any]:
        """Return the keys that may have signed a token.

        Raises:
            NoKeys: If that can not be told: the key is not known, and the last look failed.
        """
        if not self._current and not self._knows(id):
            raise NoKeys
        return [
            key.public
            for key in self._keys
            if algorithm in key.algorithms and (id is None or key.id in {id, None})
        ]

    async def run(self) -> None:
        """Keep the keys up to date until cancelled."""
        try:
            while True:
                await asyncio.shield(self._look())
                await asyncio.sleep(REFRESH_SECONDS if self._current else RETRY_SECONDS)
        finally:
            if self._looking is not None:
                self._looking.cancel()

    def _knows(self, id: str | None) -> bool:
        """Whether a token that names the key `id` (None: names none) can be judged."""
        return any(id is None or key.id in {id, None} for key in self._keys)

    def _look(self) -> asyncio.Task[None]:
        """Return the look for keys that is under way; begin one where none is."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._refresh(), name="jwks")
        return self._looking

    async def _refresh(self) -> None:
        pause = self._looked_at + PAUSE_SECONDS - self._now()
        if pause > 0:
            await asyncio.sleep(pause)
        self._looked_at = self._now()
        try:
            keys = read_keys(await self._read())
        except (OSError, ValueError) as error:
            self._current = False
            if str(error) != self._trouble:
                self._trouble = str(error)
                stay = f"; the {len(self._keys)} known stay good" if self._keys else ""
                _log.warning("no keys from %s: %s%s", self._shown, error, stay)
        else:
            if not self._current:
                _log.info("%d keys from %s", len(keys), self._shown)
            self._keys, self._current, self._trouble = keys, True, ""
