"""Checks of the `Origin` and `Host` headers.

Rule: a page of another site cannot use its visitor's network position, unless it is listed.
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from bridge.web.auth.http_client import is_loopback_host
from bridge.web.http.counted_log import CountedLog

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Container, Sequence

_refusals = CountedLog(logging.getLogger(__name__))
_MAX_LOGGED_CHARACTERS: Final = 200
#: Browsers leave these out of `Host` and `Origin` (RFC 6454, 6.2).
DEFAULT_PORTS: Final = {"http": 80, "https": 443}
#: Browsers attach these to requests of any page.
_AMBIENT_HEADERS: Final = frozenset({"cookie", "authorization"})


class _LoopbackHosts:
    """All names and addresses of this machine."""

    def __contains__(self, host: object) -> bool:
        return isinstance(host, str) and is_loopback_host(host)


LOOPBACK_HOSTS: Final[Container[str]] = _LoopbackHosts()


class OriginPolicy(NamedTuple):
    """Allowed origins and hosts. `hosts=None` allows any `Host` header.

    `uses_cookies` is true if cookies can be credentials: listed origins may send them. With
    `admits_loopback_pages`, pages that this machine serves are allowed too, on any port.
    """

    origins: Collection[str] = ()
    hosts: Container[str] | None = None
    uses_cookies: bool = False
    admits_loopback_pages: bool = False

    def allows(self, host: str, origin: str | None) -> bool:
        """Whether a request to `host` from a page of `origin` (None: no page) is allowed.

        Without a list of origins only the same origin is allowed. This keeps other sites' pages
        from using a visitor's network position. `hosts` blocks the same attack by DNS rebinding.
        """
        if not self._allows_host(host):
            return False
        if origin is None or (self.admits_loopback_pages and _is_loopback_page(origin)):
            return True
        if self.origins:
            return origin in self.origins or "*" in self.origins
        return _is_same_origin(host, origin)

    def allows_credentials(self, origin: str | None) -> bool:
        """Whether pages of `origin` may send cookies and read the response: it is listed itself."""
        return self.uses_cookies and origin in self.origins and origin not in {"*", "null"}

    def select_credentials(
        self, names: Collection[str], values_of: Callable[[str], Sequence[str]]
    ) -> dict[str, str]:
        """Return the headers called `names` that came.

        What browsers send by themselves is left out unless the page may use it: a page of another
        site would act as its visitor.
        """
        selected = {name: values for name in names if (values := values_of(name))}
        if selected.keys() & _AMBIENT_HEADERS and not self._may_use_cookies(values_of):
            for name in _AMBIENT_HEADERS & selected.keys():
                if name == "cookie" or not selected[name][0].lower().startswith("bearer "):
                    del selected[name]
        return {
            name: ("; " if name == "cookie" else ", ").join(values)
            for name, values in selected.items()
        }

    def _may_use_cookies(self, values_of: Callable[[str], Sequence[str]]) -> bool:
        def first(name: str) -> str | None:
            return next(iter(values_of(name)), None)

        if (origin := first("origin")) is None:
            return first("sec-fetch-site") in {None, "same-origin", "none"}
        if self.allows_credentials(origin):
            return True
        only_same_origin = not self.origins or "*" in self.origins
        return only_same_origin and _is_same_origin(first("host") or "", origin)

    def _allows_host(self, host: str) -> bool:
        if self.hosts is None or "*" in self.origins:
            return True
        name, _ = split_host(f"//{host}")
        if name in self.hosts and name:
            return True
        return name != "" and any(name == split_host(origin)[0] for origin in self.origins)


def split_host(url: str) -> tuple[str, int | None]:
    """Return host and port of `url` or `//host:port`; an empty host if there is no valid one."""
    with contextlib.suppress(ValueError):
        parts = urlsplit(url)
        return parts.hostname or "", parts.port
    return "", None


def _is_loopback_page(origin: str) -> bool:
    is_page = origin.partition("://")[0].lower() in DEFAULT_PORTS and "@" not in origin
    return is_page and is_loopback_host(split_host(origin)[0])


def _is_same_origin(host: str, origin: str) -> bool:
    """Whether a page of `origin` was served by `host`, whichever scheme a proxy may have added."""
    scheme = origin.partition("://")[0].lower()
    default_port = DEFAULT_PORTS.get(scheme)
    if default_port is None or origin.count("/") != len("//"):
        return False  # a page of an app, or no origin
    (origin_name, origin_port), (name, port) = split_host(origin), split_host(f"//{host}")
    if "@" in origin or not name or origin_name != name:
        return False
    return (origin_port or default_port) == (port or default_port)


def log_refused_origin(host: str, origin: str | None) -> None:
    """Log, once a minute, a request that `OriginPolicy` does not allow, and the remedy."""
    if origin is None:
        _refusals.warning(
            "refused a request for a host that is not served here: with BRIDGE_AUTH__MODE=none only"
            " loopback names and hosts of BRIDGE_ALLOWED_ORIGINS are host=%a",
            host[:_MAX_LOGGED_CHARACTERS],
        )
    else:
        _refusals.warning(
            "refused a page of another origin: it gets 403; if it is yours, add its origin to"
            " BRIDGE_ALLOWED_ORIGINS origin=%a host=%a",
            origin[:_MAX_LOGGED_CHARACTERS],
            host[:_MAX_LOGGED_CHARACTERS],
        )
