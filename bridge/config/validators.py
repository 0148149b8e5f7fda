"""What the operator has set about who may come in, checked as it was written.

Rule: whatever could not work, or would let in more than was meant, is a `ValueError` with a
sentence for the operator. Where several settings are looked at it begins with the one to change.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from bridge.web.auth.client_address import Proxies
from bridge.web.auth.fetch import locate
from bridge.web.auth.jwks import check_secret, pinned

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class _Hidden(Protocol):
    """A secret that does not show itself."""

    def get_secret_value(self) -> str:
        """Show it."""


class _Auth(Protocol):
    """The settings of `BRIDGE_AUTH__*`."""

    @property
    def secret(self) -> _Hidden | None: ...
    @property
    def jwks_url(self) -> str | None: ...
    @property
    def algorithms(self) -> Sequence[str] | None: ...
    @property
    def audience(self) -> str | None: ...
    @property
    def issuer(self) -> str | None: ...


_AnyAuth = TypeVar("_AnyAuth", bound=_Auth)
_AnyTokens = TypeVar("_AnyTokens", bound="Sequence[_Hidden]")
# RFC 6454, 6.2, less the path that no origin has.
_ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#\s@*,]+").fullmatch
#: What an `Authorization` header can carry of a token.
_TOKEN: Final = re.compile(r"[\x21-\x7e]+").fullmatch


def auth(given: _AnyAuth) -> _AnyAuth:
    """Check how tokens are checked.

    Raises:
        ValueError: If two of the settings contradict each other, or one can not work.
    """
    for name in ("audience", "issuer"):
        if getattr(given, name) == "":
            raise ValueError(f"{name}: it is empty; leave it out to take tokens for any")
    if given.secret is not None:
        _named("secret", check_secret, given.secret.get_secret_value())
        if given.jwks_url is not None:
            raise ValueError("jwks_url: not together with BRIDGE_AUTH__SECRET; set one of them")
    if given.jwks_url is not None:
        _named("jwks_url", _there, given.jwks_url)
    try:
        by_url, by_secret = given.jwks_url is not None, given.secret is not None
        pinned(given.algorithms, by_secret=by_secret, by_url=by_url)
    except ValueError as error:
        raise ValueError(f"algorithms: {error}") from None
    return given


def origins(given: list[str]) -> list[str]:
    """Return origins as browsers write them.

    Raises:
        ValueError: If one is none.
    """
    written = [origin.lower() for origin in given]
    for origin in written:
        if not (_ORIGIN(origin) or origin in {"*", "null"}):
            raise ValueError(f"an origin is as https://shop.example, without a path: {origin!r}")
    return written


def networks(given: list[str]) -> list[str]:
    """Check addresses and networks of proxies.

    Raises:
        ValueError: If one is neither.
    """
    Proxies(given)
    return given


def admin_tokens(given: _AnyTokens) -> _AnyTokens:
    """Check that every token can be sent.

    Raises:
        ValueError: If one is empty, or has other characters than visible ones of ASCII.
    """
    if not all(_TOKEN(token.get_secret_value()) for token in given):
        raise ValueError("a token is not empty, and has visible ASCII characters only")
    return given


def _there(where: str) -> None:
    place = locate(where)
    if isinstance(place, Path) and not place.is_file():
        raise ValueError(f"there is no file {place}")


def _named(name: str, check: Callable[[str], None], value: str) -> None:
    try:
        check(value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
