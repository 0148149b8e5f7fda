"""Asks a bridge's `/v1`: what the commands for operators share.

Rules: whatever goes wrong is one sentence, and an exit code that says whose it is to change; the
token goes to the bridge that was named and nowhere else.
"""

from __future__ import annotations

import json
import re
from http.client import HTTPException
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib import request
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode, urlsplit

import typer

from bridge.cli.output import address, refuse, visible
from bridge.core.protocol.names import is_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge.config.settings import Settings

UrlOption = Annotated[
    str | None,
    typer.Option("--url", help="The bridge; default: as the settings say.", show_default=False),
]
TokenOption = Annotated[
    str | None,
    typer.Option(
        "--token",
        help="An admin token; default: the first of BRIDGE_ADMIN_TOKENS. `dev` needs none.",
        show_default=False,
    ),
]
_SECONDS: Final = 20.0
_PAGE: Final = 1_000
_WRONG: Final = {400, 413, 422}  # what was asked, and not who or where
_TOKEN: Final = re.compile(r"[\x21-\x7e]+").fullmatch


def checked(**names: str | None) -> None:
    """Exit with 2 where one of `names`, by their options, is none."""
    for option, name in names.items():
        if name is not None and not is_name(name):
            refuse(f"{option}: not a name of 1 to 200 bytes: {name!a}", code=2)


def one_of(account: str | None, connection: str | None) -> tuple[str, str]:
    """Return which of the two is meant, `accounts` or `connections`, and its name."""
    checked(account=account, connection=connection)
    both = (("accounts", account), ("connections", connection))
    given = [(kind, name) for kind, name in both if name is not None]
    if len(given) != 1:
        refuse("say who: --account or --connection, one of them", code=2)
    return given[0]


class Bridge:
    """The API of one bridge."""

    def __init__(self, settings: Settings, url: str | None, token: str | None) -> None:
        port = settings.port if settings.admin_port is None else settings.admin_port
        self._url = _base(address(settings.host, port) if url is None else url)
        self._headers = {"Accept": "application/json", "User-Agent": "push-bridge"}
        self._opener = request.OpenerDirector()
        # None that follows redirects: the token would follow too.
        for part in (
            request.ProxyHandler,
            request.HTTPHandler,
            request.HTTPSHandler,
            request.HTTPErrorProcessor,
            request.HTTPDefaultErrorHandler,
        ):
            self._opener.add_handler(part())
        if token is None and settings.admin_tokens:
            token = settings.admin_tokens[0].get_secret_value()
        if token is None:
            token = self._handed_out()
        if token is None:
            refuse("BRIDGE_ADMIN_TOKENS: set one of the bridge's, or give it by --token", code=2)
        if not _TOKEN(token):
            refuse("--token: a token has visible ASCII characters only", code=2)
        self._headers["Authorization"] = f"Bearer {token}"

    def do(self, method: str, *parts: str, body: Any = None, **query: str | None) -> dict[str, Any]:  # noqa: ANN401 - JSON
        """Return what a call answers. `parts` are those of its path, names among them."""
        given = {name: value for name, value in query.items() if value is not None}
        try:
            path = "/".join(quote(part, safe="") for part in ("v1", *parts))
            path += f"?{urlencode(given)}" if given else ""
            data = None if body is None else json.dumps(body, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            refuse("what is said has to be UTF-8", code=2)
        try:
            return self._ask(method, path, data)
        except HTTPError as error:
            code = 2 if error.code in _WRONG else 1
            refuse(f"refused: {error.code} {_detail(error)}", code=code)

    def items(self, *parts: str, **query: str | None) -> Iterator[dict[str, Any]]:
        """Yield everything that a list has, page after page."""
        page: str | None = None
        while True:
            answer = self.do("GET", *parts, limit=str(_PAGE), page=page, **query)
            yield from answer["items"]
            page = answer["next"]
            if page is None:
                return

    def _handed_out(self) -> str | None:
        """Return the token that `dev` gives to whoever is on its machine."""
        try:
            token = self._ask("GET", "console.json", None).get("admin_token")
        except HTTPError:
            return None
        return token if isinstance(token, str) else None

    def _ask(self, method: str, path: str, data: bytes | None) -> dict[str, Any]:
        asked = request.Request(  # noqa: S310 - `_base` has seen to the scheme
            f"{self._url}/{path}", data=data, headers=self._headers, method=method
        )
        if data is not None:
            asked.add_header("Content-Type", "application/json")
        try:
            with self._opener.open(asked, timeout=_SECONDS) as answer:
                told = json.load(answer)
        except HTTPError:
            raise
        except (OSError, HTTPException) as error:
            why = error.reason if isinstance(error, URLError) else error or type(error).__name__
            said = visible(" ".join(str(why).split()))
            refuse(f"{self._url} does not answer (--url, BRIDGE_HOST, BRIDGE_PORT): {said}")
        except ValueError:
            refuse(f"{self._url} answers as no bridge would (--url)")
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
        if not isinstance(told, dict):
            refuse(f"{self._url} answers as no bridge would (--url)")
        return told


def _base(url: str) -> str:
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:  # an impossible port, or half an IPv6 address
        usable = False
    if not usable or parts.query or parts.fragment or not url.isprintable() or " " in url:
        refuse(f"not an address of a bridge: {url!a}; as http://127.0.0.1:8080", code=2)
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def _detail(error: HTTPError) -> str:
    """What an HTTP answer says is wrong."""
    try:
        return visible(str(json.load(error)["detail"]))
    except (OSError, HTTPException, ValueError, KeyError, TypeError):
        return visible(str(error.reason))
