"""The HTTP side: one application, behind its doors, its errors as RFC 9457 wants them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException

from bridge import __version__
from bridge.web.api.names import WholeNames
from bridge.web.http.problems import problem
from bridge.web.openapi import openapi

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fastapi import APIRouter, Response
    from starlette.types import ASGIApp, Receive, Scope, Send

    from bridge.web.auth.origins import Doors


class _HostCheck:
    """Keeps out requests by names that this machine should not be called by."""

    def __init__(self, app: ASGIApp, doors: Doors) -> None:
        self._app = app
        self._doors = doors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        host = Headers(scope=scope).get("host", "")
        if self._doors.admits(host, None):
            await self._app(scope, receive, send)
        else:
            await problem(403, "this host is not allowed here")(scope, receive, send)


def site(
    doors: Doors, routers: Iterable[APIRouter], document: dict[str, Any] | None = None
) -> FastAPI:
    """Return the application with these routes, behind these doors.

    `document` is its OpenAPI document, where it is not just that of the routes.
    """
    routers = tuple(routers)
    told = document if document is not None else openapi(routers)
    app = FastAPI(
        title="Push bridge",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.openapi = lambda: told  # type: ignore[method-assign]
    for router in routers:
        app.include_router(router)
    app.add_middleware(WholeNames)
    app.add_middleware(_HostCheck, doors=doors)

    @app.exception_handler(HTTPException)
    async def refused(_request: Request, error: HTTPException) -> Response:
        return problem(error.status_code, str(error.detail), headers=error.headers)

    @app.exception_handler(RequestValidationError)
    async def not_understood(_request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"][1:])
        return problem(422, f"{place}: {first['msg']}" if place else str(first["msg"]))

    @app.exception_handler(Exception)
    async def failed(_request: Request, _error: Exception) -> Response:
        return problem(500, "the bridge failed at this; its log says more")

    @app.get("/ws", include_in_schema=False)
    async def upgrade() -> Response:
        headers = {"Upgrade": "websocket", "Connection": "Upgrade"}
        return problem(426, "this is a WebSocket: ask for an upgrade", headers=headers)

    return app
