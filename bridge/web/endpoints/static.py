"""The page at `/`, its configuration, and the JavaScript client.

Rule: the page consists of its own files: nothing inline, nothing from other sites. Other sites'
pages cannot read `/console.json`.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import JSONResponse, Response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bridge.web.auth.origins import OriginPolicy

_CLIENT_FOLDER: Final = Path(__file__).parents[2] / "client" / "javascript"
_CLIENT_FILES: Final = {
    "/client.js": ("push-bridge.js", "text/javascript; charset=utf-8"),
    "/client.d.ts": ("push-bridge.d.ts", "text/plain; charset=utf-8"),
}


def client_files_router() -> APIRouter:
    """Return the routes of the JavaScript client, which any site may load."""
    router = APIRouter(include_in_schema=False)
    for path, (name, content_type) in _CLIENT_FILES.items():
        handler = _file_handler((_CLIENT_FOLDER / name).read_bytes(), content_type)
        router.add_api_route(path, handler, methods=["GET", "HEAD"])
    return router


def _file_handler(content: bytes, content_type: str) -> Callable[[Request], Awaitable[Response]]:
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {
        "Access-Control-Allow-Origin": "*",
        "Cache-Control": "no-cache",
        "Content-Type": content_type,
        "Cross-Origin-Resource-Policy": "cross-origin",
        "ETag": etag,
        "X-Content-Type-Options": "nosniff",
    }

    async def file(request: Request) -> Response:
        if etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(content, headers=headers)

    return file


_CONSOLE_DIRECTORY: Final = Path(__file__).parents[1] / "console"
_CONTENT_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_METHODS: Final = ["GET", "HEAD"]
_SECURITY_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self';"
    " img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class _ConsoleFile(NamedTuple):
    """One file of the page with its response headers."""

    content: bytes
    headers: dict[str, str]

    def respond(self, request: Request) -> Response:
        """Return the file, or a 304 if the browser has it."""
        if self.headers["ETag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=self.headers)
        return Response(self.content, headers=self.headers)


def console_router(
    origin_policy: OriginPolicy, *, by_account: bool, admin_token: str | None = None
) -> APIRouter:
    """Return the routes of the page.

    With `by_account` users sign in with an account name, else with a token. Everybody who opens the
    page gets `admin_token`, so that publishing needs none: for `dev` on loopback only.
    """
    router = APIRouter(include_in_schema=False)
    origin_policy = origin_policy._replace(admits_loopback_pages=False)  # they are not this page
    files = {
        path.name: _read_file(path)
        for path in _CONSOLE_DIRECTORY.iterdir()
        if path.suffix in _CONTENT_TYPES
    }

    @router.api_route("/", methods=_METHODS)
    async def index(request: Request) -> Response:
        return files["index.html"].respond(request)

    @router.api_route("/console/{name}", methods=_METHODS)
    async def file(name: str, request: Request) -> Response:
        if name not in files:
            raise HTTPException(404, "the page has no such file")
        return files[name].respond(request)

    @router.get("/console.json")
    async def config(request: Request) -> Response:
        headers = request.headers
        # Browsers name the requesting site. The address bar (`none`) is not the page.
        is_cross_site = headers.get("sec-fetch-site", "same-origin") != "same-origin"
        if is_cross_site or not origin_policy.allows(
            headers.get("host", ""), headers.get("origin")
        ):
            raise HTTPException(403, "only the page at / may read this")
        return JSONResponse(
            {"by_account": by_account, "admin_token": admin_token},
            headers={**_SECURITY_HEADERS, "Cache-Control": "no-store"},
        )

    return router


def _read_file(path: Path) -> _ConsoleFile:
    content = path.read_bytes()
    headers = {
        **_SECURITY_HEADERS,
        "Cache-Control": "no-cache",
        "Content-Type": _CONTENT_TYPES[path.suffix],
        "ETag": f'"{hashlib.sha256(content).hexdigest()[:32]}"',
    }
    return _ConsoleFile(content, headers)
