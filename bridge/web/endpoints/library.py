"""The JavaScript client as this bridge serves it: `/client.js`, and its types at `/client.d.ts`.

Rule: it is for pages of every origin, and it is the file that npm gets, byte for byte.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fastapi import APIRouter, Request
from fastapi.responses import Response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_FOLDER: Final = Path(__file__).parents[2] / "client" / "javascript"
_FILES: Final = {
    "/client.js": ("push-bridge.js", "text/javascript; charset=utf-8"),
    "/client.d.ts": ("push-bridge.d.ts", "text/plain; charset=utf-8"),
}


def library() -> APIRouter:
    """Return the routes of the client's files."""
    router = APIRouter(include_in_schema=False)
    for path, (name, kind) in _FILES.items():
        file = _file((_FOLDER / name).read_bytes(), kind)
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
