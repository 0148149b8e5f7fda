"""What a client is told when it is made.

The rule kept here: what is wrong with it is said at once, and not by a connection that fails.
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
    """All of a client's options; `Client` says what they mean."""

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
        """Raise ValueError where one makes no sense."""
        if not self.urls:
            raise ValueError("no address of a bridge")
        if self.queue < 1:
            raise ValueError("a queue of at least 1")

    def hello_fields(self) -> dict[str, Any]:
        """Return the fields of a hello that never change."""
        fields: dict[str, Any] = {}
        if self.account is not None:
            fields["account"] = self.account
        if self.types is not None:
            fields["types"] = list(self.types)
        return fields


def websocket_url(url: str) -> str:
    """Return where the WebSocket is, given any of the bridge's addresses.

    Raises:
        ValueError: If it is none.
    """
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        scheme = _SCHEMES.get(parts.scheme, parts.scheme)
        is_usable = scheme in {"ws", "wss"} and parts.hostname and parts.port != 0
    except ValueError:  # an impossible port, or half an IPv6 address
        is_usable = False
    if not is_usable:
        raise ValueError(f"not an address of a bridge: {url!r}; as http://127.0.0.1:8080")
    path = parts.path.rstrip("/")
    path = path if path.endswith("/ws") else f"{path}/ws"
    return urlunsplit((scheme, parts.netloc, path, "", ""))


def name_list(option: str, values: Iterable[str]) -> list[str]:
    """Return names in a list; a text alone is a mistake, for it would be one name a letter."""
    if isinstance(values, str):
        raise TypeError(f"{option}: a list of names, as [{values!r}]")
    return list(values)
