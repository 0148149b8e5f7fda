"""The options of a client, checked.

Rule: a wrong option raises when the client is constructed, not when a connection fails.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import urlsplit, urlunsplit

from bridge.client.timing import BACKOFF_BASE_SECONDS, BACKOFF_MAX_SECONDS, MIN_RENEW_SECONDS

Token: TypeAlias = str | Callable[[], str | Awaitable[str]]

_SCHEMES = {"http": "ws", "https": "wss"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options as `Client` documents them."""

    urls: tuple[str, ...]
    token: Token | None = None
    account: str | None = None
    types: tuple[str, ...] | None = None
    since: str | None = None
    queue: int = 1000
    welcome_seconds: float = 10.0
    backoff: tuple[float, float] = (BACKOFF_BASE_SECONDS, BACKOFF_MAX_SECONDS)
    renew_seconds: float = MIN_RENEW_SECONDS
    dial: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise ValueError if an option is out of range."""
        if not self.urls:
            raise ValueError("url: must name at least one bridge")
        if self.queue < 1:
            raise ValueError("queue: must be at least 1")

    def hello_fields(self) -> dict[str, Any]:
        """Return the fields that are the same in every hello."""
        fields: dict[str, Any] = {}
        if self.account is not None:
            fields["account"] = self.account
        if self.types is not None:
            fields["types"] = list(self.types)
        return fields


def websocket_url(url: str) -> str:
    """Return the URL of the WebSocket endpoint for any URL of the bridge.

    Raises:
        ValueError: If it is not a URL of a bridge.
    """
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        scheme = _SCHEMES.get(parts.scheme, parts.scheme)
        is_usable = scheme in {"ws", "wss"} and parts.hostname and parts.port != 0
    except ValueError:  # an impossible port, or half an IPv6 address
        is_usable = False
    if not is_usable:
        raise ValueError(f"not the address of a bridge: {url!r}; example: http://127.0.0.1:8080")
    path = parts.path.rstrip("/")
    path = path if path.endswith("/ws") else f"{path}/ws"
    return urlunsplit((scheme, parts.netloc, path, "", ""))


def name_list(option: str, values: Iterable[str]) -> list[str]:
    """Return the names as a list.

    Raises:
        TypeError: For a single text, which would otherwise become one name per letter.
    """
    if isinstance(values, str):
        raise TypeError(f"{option}: must be a list of names, such as [{values!r}]")
    return list(values)
