"""The keys of those who sign tokens, kept up to date from where they publish them.

Rules: a client never waits for a key that is here. One that is not here is looked for at once,
but not more often than every some seconds, by one request for all who wait. What was fetched
stays good until something newer is fetched: an outage of the publisher closes nobody out.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from bridge.web.auth.fetch import download, locate, shown
from bridge.web.auth.jwk import read_keys

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from bridge.web.auth.jwk import Key

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
