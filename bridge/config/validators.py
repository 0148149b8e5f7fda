"""What the operator has set about who may come in, checked as it was written.

Rule: whatever could not work, or would let in more than was meant, is a `ValueError` with a
sentence for the operator. Where several settings are looked at it begins with the one to change.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from bridge.web.auth.client_address import TrustedProxies
from bridge.web.auth.fetch import parse_location
from bridge.web.auth.jwks import check_secret, select_algorithms

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class _SecretValue(Protocol):
    """A secret that does not show itself."""

    def get_secret_value(self) -> str:
        """Show it."""


class _AuthValues(Protocol):
    """The settings of `BRIDGE_AUTH__*`."""

    @property
    def secret(self) -> _SecretValue | None: ...
    @property
    def jwks_url(self) -> str | None: ...
    @property
    def algorithms(self) -> Sequence[str] | None: ...
    @property
    def audience(self) -> str | None: ...
    @property
    def issuer(self) -> str | None: ...


_AnyAuth = TypeVar("_AnyAuth", bound=_AuthValues)
_AnyTokens = TypeVar("_AnyTokens", bound="Sequence[_SecretValue]")
# RFC 6454, 6.2, less the path that no origin has.
_match_origin: Final = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#\s@*,]+").fullmatch
#: What an `Authorization` header can carry of a token.
_match_token: Final = re.compile(r"[\x21-\x7e]+").fullmatch


def check_auth(settings: _AnyAuth) -> _AnyAuth:
    """Check how tokens are checked.

    Raises:
        ValueError: If two of the settings contradict each other, or one can not work.
    """
    for name in ("audience", "issuer"):
        if getattr(settings, name) == "":
            raise ValueError(f"{name}: it is empty; leave it out to take tokens for any")
    if settings.secret is not None:
        _check_named("secret", check_secret, settings.secret.get_secret_value())
        if settings.jwks_url is not None:
            raise ValueError("jwks_url: not together with BRIDGE_AUTH__SECRET; set one of them")
    if settings.jwks_url is not None:
        _check_named("jwks_url", _check_file_exists, settings.jwks_url)
    try:
        has_url, has_secret = settings.jwks_url is not None, settings.secret is not None
        select_algorithms(settings.algorithms, has_secret=has_secret, has_jwks_url=has_url)
    except ValueError as error:
        raise ValueError(f"algorithms: {error}") from None
    return settings


def normalize_origins(values: list[str]) -> list[str]:
    """Return origins as browsers write them.

    Raises:
        ValueError: If one is none.
    """
    normalized = [origin.lower() for origin in values]
    for origin in normalized:
        if not (_match_origin(origin) or origin in {"*", "null"}):
            raise ValueError(f"an origin is as https://shop.example, without a path: {origin!r}")
    return normalized


def check_networks(values: list[str]) -> list[str]:
    """Check addresses and networks of proxies.

    Raises:
        ValueError: If one is neither.
    """
    TrustedProxies(values)
    return values


def check_admin_tokens(tokens: _AnyTokens) -> _AnyTokens:
    """Check that every token can be sent.

    Raises:
        ValueError: If one is empty, or has other characters than visible ones of ASCII.
    """
    if not all(_match_token(token.get_secret_value()) for token in tokens):
        raise ValueError("a token is not empty, and has visible ASCII characters only")
    return tokens


def _check_file_exists(location: str) -> None:
    path = parse_location(location)
    if isinstance(path, Path) and not path.is_file():
        raise ValueError(f"there is no file {path}")


def _check_named(name: str, check: Callable[[str], None], value: str) -> None:
    try:
        check(value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
