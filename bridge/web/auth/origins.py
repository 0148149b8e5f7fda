"""Checks of the `Origin` and `Host` headers.

Rule: a page of another site cannot use its visitor's network position, unless it is listed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Collection

LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})


class OriginPolicy(NamedTuple):
    """Allowed origins and hosts. `hosts=None` allows any `Host` header."""

    origins: Collection[str] = ()
    hosts: Collection[str] | None = None

    def allows(self, host: str, origin: str | None) -> bool:
        """Whether a request to `host` from a page of `origin` (None: no page) is allowed.

        Without a list of origins only the same origin is allowed. This keeps other sites' pages
        from using a visitor's network position. `hosts` blocks the same attack by DNS rebinding.
        """
        if self.hosts is not None and _hostname(host) not in self.hosts:
            return False
        if origin is None:
            return True
        if self.origins:
            return origin in self.origins or "*" in self.origins
        return host != "" and _netloc(origin) == host.lower()


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _hostname(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
