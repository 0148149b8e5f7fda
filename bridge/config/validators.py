"""Checks of the settings for authentication, origins, proxies and admin tokens.

Rule: a value that cannot work, or lets in more clients than intended, raises `ValueError`. A check
of several settings begins its message with the one to change.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, TypeVar, get_args

from bridge.web.auth.client_address import TrustedProxies
from bridge.web.auth.fetch import parse_location
from bridge.web.auth.origins import DEFAULT_PORTS, split_host
from bridge.web.auth.tokens.algorithms import check_secret, select_algorithms

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pydantic import BaseModel


class _SecretValue(Protocol):
    """A secret that hides itself in `repr`."""

    def get_secret_value(self) -> str:
        """Return the text."""


class _AdminToken(Protocol):
    """An item of `BRIDGE_ADMIN_TOKENS`."""

    @property
    def token(self) -> _SecretValue: ...


class _AuthValues(Protocol):
    """The values of `BRIDGE_AUTH__*`."""

    @property
    def mode(self) -> str: ...
    @property
    def secret(self) -> _SecretValue | None: ...
    @property
    def callback_url(self) -> str | None: ...
    @property
    def callback_secret(self) -> _SecretValue | None: ...
    @property
    def jwks_url(self) -> str | None: ...
    @property
    def algorithms(self) -> Sequence[str] | None: ...
    @property
    def audience(self) -> str | None: ...
    @property
    def issuer(self) -> str | None: ...


_AnyAuth = TypeVar("_AnyAuth", bound=_AuthValues)
_AnyTokens = TypeVar("_AnyTokens", bound="Sequence[_AdminToken]")
# RFC 6454, 6.2. An origin has no path.
_match_origin: Final = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#\s@*,]+").fullmatch
_match_server: Final = re.compile(
    r"(?:\[[0-9a-fA-F:.]+\]|[^\s/:@,;\[\]\"'=]+)(?::(?P<port>[0-9]{1,5}))?"
).fullmatch
_MAX_PORT: Final = 65_535
_match_header_name: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+").fullmatch
#: A shorter token can be guessed.
MIN_ADMIN_TOKEN_LENGTH: Final = 16
#: Characters of a token that an `Authorization` header can carry.
_match_token: Final = re.compile(r"[\x21-\x7e]+").fullmatch


def check_auth(settings: _AnyAuth) -> _AnyAuth:
    """Return the settings, if they can authenticate tokens.

    Raises:
        ValueError: If two settings contradict each other, or one cannot work.
    """
    for name in ("audience", "issuer"):
        if getattr(settings, name) == "":
            raise ValueError(f"{name}: is empty; remove it to accept tokens with any {name}")
    if settings.secret is not None:
        _check_named("secret", _check_one_line, settings.secret.get_secret_value())
        _check_named("secret", check_secret, settings.secret.get_secret_value())
        if settings.jwks_url is not None:
            raise ValueError("jwks_url: excludes BRIDGE_AUTH__SECRET; set only one of them")
    if settings.callback_url is not None:
        _check_named("callback_url", _check_url, settings.callback_url)
    elif settings.mode == "callback":
        raise ValueError("callback_url: BRIDGE_AUTH__MODE=callback needs the URL to ask; set it")
    if settings.callback_secret is not None:
        _check_named("callback_secret", check_secret, settings.callback_secret.get_secret_value())
    if settings.jwks_url is not None:
        _check_named("jwks_url", _check_file_exists, settings.jwks_url)
    try:
        has_url, has_secret = settings.jwks_url is not None, settings.secret is not None
        select_algorithms(settings.algorithms, has_secret=has_secret, has_jwks_url=has_url)
    except ValueError as error:
        raise ValueError(f"algorithms: {error}") from None
    return settings


def normalize_origins(values: list[str]) -> list[str]:
    """Return the origins as browsers send them: lower case, ASCII, no default port.

    Raises:
        ValueError: If one is not an origin.
    """
    return [_normalize_origin(value) for value in values]


def _normalize_origin(value: str) -> str:
    origin = value.lower()
    if origin in {"*", "null"}:
        return origin
    scheme = origin.partition("://")[0]
    name, port = split_host(origin)
    if not _match_origin(origin) or not name:
        raise ValueError(f"must be like https://shop.example, without a path: {value!r}")
    if scheme not in DEFAULT_PORTS:
        return origin  # a page of an app
    try:
        ascii_name = name if ":" in name else name.encode("idna").decode()
    except UnicodeError:
        raise ValueError(f"has an invalid host name: {value!r}") from None
    host = f"[{ascii_name}]" if ":" in ascii_name else ascii_name
    is_default_port = port is None or port == DEFAULT_PORTS[scheme]
    return f"{scheme}://{host}" if is_default_port else f"{scheme}://{host}:{port}"


def refuse_yes_as_number(cls: type[BaseModel], values: object) -> object:
    """Return `values`, if no number is `true` or `false`, which Python counts as a number.

    Raises:
        ValueError: If one is; YAML reads `yes` and `on` as true.
    """
    for name, value in values.items() if isinstance(values, dict) else ():
        field = cls.model_fields.get(name)
        if field is None or not isinstance(value, bool):
            continue
        if {int, float} & {field.annotation, *get_args(field.annotation)}:
            raise ValueError(f"{name}: must be a number, not {str(value).lower()}")
    return values


def check_bootstrap_servers(servers: str) -> str:
    """Return `servers`, if each is a host or `host:port`.

    Raises:
        ValueError: If one is not.
    """
    for server in servers.split(","):
        found = _match_server(server.strip())
        port = found and found["port"]
        if not found or (port is not None and not 0 < int(port) <= _MAX_PORT):
            raise ValueError(
                f"must be host:port, several with commas between them: {server.strip()!r}"
            )
    return servers


def _check_one_line(secret: str) -> None:
    if any(ord(character) < ord(" ") for character in secret.strip()):
        raise ValueError("it has a line break or another control character; write it in one line")


def check_networks(values: list[str]) -> list[str]:
    """Return the values, if each is an address or a network.

    Raises:
        ValueError: If one is neither.
    """
    TrustedProxies(values)
    return values


def check_admin_tokens(tokens: _AnyTokens) -> _AnyTokens:
    """Return the tokens, if an HTTP header can carry each and none can be guessed.

    Raises:
        ValueError: If one is too short, or has characters other than visible ASCII.
    """
    for token in tokens:
        text = token.token.get_secret_value()
        if not _match_token(text):
            raise ValueError("each token must have visible ASCII characters, and no others")
        if len(text) < MIN_ADMIN_TOKEN_LENGTH:
            raise ValueError(
                f"a token has {len(text)} characters and can be guessed; use"
                f" {MIN_ADMIN_TOKEN_LENGTH} or more, as of `openssl rand -hex 16`"
            )
    if len({token.token.get_secret_value() for token in tokens}) < len(tokens):
        raise ValueError("a token is listed twice; remove one")
    return tokens


def check_header_names(names: list[str]) -> list[str]:
    """Return the names in lower case.

    Raises:
        ValueError: If one cannot be the name of a header.
    """
    for name in names:
        if not _match_header_name(name):
            raise ValueError(f"no header can be called {name!r}")
    return [name.lower() for name in names]


def _check_url(location: str) -> None:
    if isinstance(parse_location(location), Path):
        raise ValueError("must be a URL with https or http")  # noqa: TRY004 - a wrong setting


def _check_file_exists(location: str) -> None:
    path = parse_location(location)
    if isinstance(path, Path) and not path.is_file():
        raise ValueError(f"the file {path} does not exist")


def _check_named(name: str, check: Callable[[str], None], value: str) -> None:
    try:
        check(value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
