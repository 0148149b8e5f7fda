"""HEAD: the response to a GET, without its body (RFC 9110, 9.3.2).

Rule: every path that answers GET answers HEAD. The server leaves the body out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from fastapi import Request
    from starlette.types import ASGIApp, Receive, Scope, Send

_IS_HEAD: Final = "push_bridge.is_head"


class HeadMiddleware:
    """Passes HEAD requests on as GET."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. The server has the original scope, and sends no body to HEAD."""
        if scope["type"] == "http" and scope["method"] == "HEAD":
            scope = {**scope, "method": "GET", _IS_HEAD: True}
        await self._app(scope, receive, send)


def is_head(request: Request) -> bool:
    """Whether the client asks for the head alone."""
    return _IS_HEAD in request.scope
