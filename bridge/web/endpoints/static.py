"""The page at `/`: the files beside this module, and what they have to know of this bridge.

Rule: the page is made of these files only; nothing inline, nothing of another site. What it is
told is for it alone: `/console.json` answers no other site's page.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import JSONResponse, Response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bridge.web.auth.origins import Doors

_CLIENT_FOLDER: Final = Path(__file__).parents[2] / "client" / "javascript"
_FILES: Final = {
    "/client.js": ("push-bridge.js", "text/javascript; charset=utf-8"),
    "/client.d.ts": ("push-bridge.d.ts", "text/plain; charset=utf-8"),
}


def library() -> APIRouter:
    """Return the routes of the client's files."""
    router = APIRouter(include_in_schema=False)
    for path, (name, kind) in _FILES.items():
        file = _file((_CLIENT_FOLDER / name).read_bytes(), kind)
        router.add_api_route(path, file, methods=["GET", "HEAD"])
    return router


def _file(content: bytes, kind: str) -> Callable[[Request], Awaitable[Response]]:
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {
        "Access-Control-Allow-Origin": "*",
        "Cache-Control": "no-cache",
        "Content-Type": kind,
        "Cross-Origin-Resource-Policy": "cross-origin",
        "ETag": tag,
        "X-Content-Type-Options": "nosniff",
    }

    async def file(request: Request) -> Response:
        if tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(content, headers=headers)

    return file


_FOLDER: Final = Path(__file__).parents[1] / "console"
_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_METHODS: Final = ["GET", "HEAD"]
_SAFE: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self';"
    " img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class _File(NamedTuple):
    """One of the page's files, as it is served."""

    content: bytes
    headers: dict[str, str]

    def answer(self, request: Request) -> Response:
        """Return the file, or that it has not changed."""
        if self.headers["ETag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=self.headers)
        return Response(self.content, headers=self.headers)


def page(doors: Doors, *, by_account: bool, admin_token: str | None = None) -> APIRouter:
    """Return the routes of the page.

    With `by_account` who signs in says a name, else a token is asked for. `admin_token` is handed
    to whoever opens the page, so that sending needs none: for `dev` on loopback only.
    """
    router = APIRouter(include_in_schema=False)
    files = {path.name: _read(path) for path in _FOLDER.iterdir() if path.suffix in _TYPES}

    @router.api_route("/", methods=_METHODS)
    async def index(request: Request) -> Response:
        return files["index.html"].answer(request)

    @router.api_route("/console/{name}", methods=_METHODS)
    async def file(name: str, request: Request) -> Response:
        if name not in files:
            raise HTTPException(404, "the page has no such file")
        return files[name].answer(request)

    @router.get("/console.json")
    async def told(request: Request) -> Response:
        headers = request.headers
        # A browser says which page asks: the address bar (`none`) is not the page either.
        apart = headers.get("sec-fetch-site", "same-origin") != "same-origin"
        if apart or not doors.admits(headers.get("host", ""), headers.get("origin")):
            raise HTTPException(403, "this is for the page at / only")
        return JSONResponse(
            {"by_account": by_account, "admin_token": admin_token},
            headers={**_SAFE, "Cache-Control": "no-store"},
        )

    return router


def _read(path: Path) -> _File:
    content = path.read_bytes()
    headers = {
        **_SAFE,
        "Cache-Control": "no-cache",
        "Content-Type": _TYPES[path.suffix],
        "ETag": f'"{hashlib.sha256(content).hexdigest()[:32]}"',
    }
    return _File(content, headers)
