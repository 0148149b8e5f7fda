"""An HTTP client of `/v1`, for the commands for operators.

Rules: every failure is one sentence, with exit code 2 if the request is wrong and 1 otherwise. The
token goes only to the bridge that was named.
"""

from __future__ import annotations

import json
import os
import re
from http.client import HTTPException
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib import request
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode, urlsplit

import typer

from bridge.cli.output import escape_unprintable, exit_with_error, local_url
from bridge.config.environment import SettingError, read_dotenv
from bridge.core.protocol.names import is_valid_name
from bridge.web.auth.http_client import is_loopback_host

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.config.settings import Settings

UrlOption = Annotated[
    str | None,
    typer.Option("--url", help="The bridge's URL; default: from the settings.", show_default=False),
]
TokenOption = Annotated[
    str | None,
    typer.Option(
        "--token",
        help="An admin token; default: the first of BRIDGE_ADMIN_TOKENS. `dev` needs none.",
        show_default=False,
    ),
]
_TIMEOUT_SECONDS: Final = 20.0
_PAGE_SIZE: Final = 1_000
_USAGE_ERROR_STATUSES: Final = {400, 413, 422}  # the request itself is wrong
_match_token: Final = re.compile(r"[\x21-\x7e]+").fullmatch


def check_names(**names: str | None) -> None:
    """Exit with 2 if one of `names`, keyed by its option, is not a valid name."""
    for option, name in names.items():
        if name is not None and not is_valid_name(name):
            exit_with_error(f"{option}: not a name of 1 to 200 bytes: {name!a}", code=2)


def account_or_connection(account: str | None, connection: str | None) -> tuple[str, str]:
    """Return `accounts` or `connections`, and the name; exit with 2 unless one of them is set."""
    check_names(account=account, connection=connection)
    choices = (("accounts", account), ("connections", connection))
    given = [(kind, name) for kind, name in choices if name is not None]
    if len(given) != 1:
        exit_with_error("name a client: --account or --connection, exactly one", code=2)
    return given[0]


class RequestFailed(Exception):
    """A request failed. The message is one sentence; `exit_code` is 2 if the request is wrong."""

    def __init__(self, message: str, *, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class AdminClient:
    """Calls `/v1` of one bridge. All but `request` exit the command on failure."""

    def __init__(self, settings: Settings, url: str | None, token: str | None) -> None:
        host, port = settings.host, settings.port
        if settings.admin_port is not None:
            host, port = settings.admin_host or host, settings.admin_port
        self._base_url = _parse_base_url(local_url(host, port) if url is None else url)
        self._headers = {"Accept": "application/json", "User-Agent": "push-bridge"}
        self._opener = request.OpenerDirector()
        # No redirect handler: it would send the token to another address.
        # A proxy would be handed the token, and cannot reach this machine's loopback.
        is_loopback = is_loopback_host(urlsplit(self._base_url).hostname or "")
        self._opener.add_handler(request.ProxyHandler({} if is_loopback else None))
        self._proxy = None if is_loopback else _find_proxy(self._base_url)
        self._advice = "--url, BRIDGE_HOST, BRIDGE_PORT"
        if self._proxy:
            self._advice += ", HTTP_PROXY, HTTPS_PROXY, NO_PROXY"
        for handler in (
            request.HTTPHandler,
            request.HTTPSHandler,
            request.HTTPErrorProcessor,
            request.HTTPDefaultErrorHandler,
        ):
            self._opener.add_handler(handler())
        if url is None and token is None and not is_loopback:
            _refuse_foreign_host()
        if token is None and settings.admin_tokens:
            token = settings.admin_tokens[0].token.get_secret_value()
        if token is None:
            token = self._fetch_dev_token()
        if token is None:
            exit_with_error(
                "BRIDGE_ADMIN_TOKENS: set one of the bridge's tokens, or use --token", code=2
            )
        if not _match_token(token):
            exit_with_error("--token: must have visible ASCII characters only", code=2)
        self._headers["Authorization"] = f"Bearer {token}"

    def call(
        self,
        method: str,
        *segments: str,
        body: Any = None,  # noqa: ANN401 - JSON
        **query: str | None,
    ) -> dict[str, Any]:
        """Return the response body. `segments` are those of the path behind `/v1`, unescaped."""
        query_fields = {name: value for name, value in query.items() if value is not None}
        try:
            path = "/".join(quote(segment, safe="") for segment in ("v1", *segments))
            path += f"?{urlencode(query_fields)}" if query_fields else ""
            data = None if body is None else json.dumps(body, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            exit_with_error("arguments must be UTF-8", code=2)
        try:
            return self.request(method, path, data)
        except RequestFailed as failed:
            exit_with_error(str(failed), code=failed.exit_code)
        except KeyboardInterrupt:
            raise typer.Exit(130) from None

    def list_items(self, *segments: str, **query: str | None) -> Iterator[dict[str, Any]]:
        """Yield the items of all pages of a list."""
        page: str | None = None
        while True:
            response = self.call("GET", *segments, limit=str(_PAGE_SIZE), page=page, **query)
            yield from response["items"]
            page = response["next"]
            if page is None:
                return

    def request(self, method: str, path: str, data: bytes | None) -> dict[str, Any]:
        """Return the response body. `path` is escaped, without a leading slash.

        Raises:
            RequestFailed: If the bridge refuses the request, or does not answer.
        """
        try:
            return self._send(method, path, data)
        except HTTPError as error:
            code = 2 if error.code in _USAGE_ERROR_STATUSES else 1
            message = f"refused: {error.code} {_problem_detail(error)}"
            raise RequestFailed(message, exit_code=code) from None

    def _fetch_dev_token(self) -> str | None:
        """Return the token that `dev` hands to clients on its machine, None elsewhere."""
        try:
            token = self._send("GET", "console.json", None).get("admin_token")
        except HTTPError:
            return None
        except RequestFailed as failed:
            exit_with_error(str(failed))
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
        return token if isinstance(token, str) else None

    def _send(self, method: str, path: str, data: bytes | None) -> dict[str, Any]:
        http_request = request.Request(  # noqa: S310 - `_parse_base_url` checks the scheme
            f"{self._base_url}/{path}", data=data, headers=self._headers, method=method
        )
        if data is not None:
            http_request.add_header("Content-Type", "application/json")
        try:
            with self._opener.open(http_request, timeout=_TIMEOUT_SECONDS) as response:
                content = json.load(response)
        except HTTPError:
            raise
        except (OSError, HTTPException) as error:
            cause = error.reason if isinstance(error, URLError) else error or type(error).__name__
            detail = escape_unprintable(" ".join(str(cause).split()))
            through = f" through the proxy {self._proxy}" if self._proxy else ""
            raise RequestFailed(
                f"{self._base_url} does not answer{through} ({self._advice}): {detail}"
            ) from None
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise RequestFailed(f"{self._base_url} does not respond like a bridge (--url)")
        return content


def _refuse_foreign_host() -> None:
    """Exit if `.env` has the host, but not the token: it may be another person's file."""
    try:
        names = {name.upper() for name in read_dotenv()}
    except SettingError as error:
        exit_with_error(str(error), code=2)
    variables = {name.upper() for name in os.environ}
    is_host_foreign = "BRIDGE_HOST" in names - variables
    if is_host_foreign and "BRIDGE_ADMIN_TOKENS" not in names - variables:
        exit_with_error(
            "BRIDGE_HOST: comes from .env in this folder, and the token does not; use --url",
            code=2,
        )


def _find_proxy(url: str) -> str | None:
    """Return host and port of the proxy that requests to `url` go through; None without one."""
    parts = urlsplit(url)
    proxy = request.getproxies().get(parts.scheme)
    if not proxy or request.proxy_bypass(parts.netloc):
        return None
    return proxy.rpartition("@")[2].rpartition("://")[2].rstrip("/")


def _parse_base_url(url: str) -> str:
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        is_valid = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:  # an impossible port, or half an IPv6 address
        is_valid = False
    if not is_valid or parts.query or parts.fragment or not url.isprintable() or " " in url:
        exit_with_error(
            f"not the address of a bridge: {url!a}; example: http://127.0.0.1:8080", code=2
        )
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def _problem_detail(error: HTTPError) -> str:
    """Return the `detail` of an error response, or its HTTP reason."""
    try:
        return escape_unprintable(str(json.load(error)["detail"]))
    except (OSError, HTTPException, ValueError, KeyError, TypeError):
        return escape_unprintable(str(error.reason))
