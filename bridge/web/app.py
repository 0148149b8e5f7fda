"""The FastAPI application: routes, host check, error format, OpenAPI document, admin port."""

from __future__ import annotations

from inspect import cleandoc
from typing import TYPE_CHECKING, Any

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException

from bridge import __version__
from bridge.web.api import commands
from bridge.web.api import schemas as api_schemas
from bridge.web.api.params import RawPathMiddleware
from bridge.web.api.publish import AUDIENCE_SCHEMA, EXAMPLE, Publication, Published
from bridge.web.auth.origins import log_refused_origin
from bridge.web.endpoints.history import History
from bridge.web.http.head_requests import HeadMiddleware
from bridge.web.http.problems import Problem, problem_response

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fastapi import APIRouter, Response
    from starlette.types import ASGIApp, Receive, Scope, Send

    from bridge.web.auth.origins import OriginPolicy


class PortDispatcher:
    """Serves `apps_by_port` on their ports, and `default_app` on all others."""

    def __init__(self, default_app: ASGIApp, apps_by_port: Mapping[int, ASGIApp]) -> None:
        self._default_app = default_app
        self._apps_by_port = apps_by_port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request with the application of its port."""
        _, port = scope.get("server") or ("", 0)
        await self._apps_by_port.get(port or 0, self._default_app)(scope, receive, send)


_DESCRIPTION = """From Kafka to every browser, phone and terminal that should know.

`/v1` needs one of the admin tokens. If none is set, it is a 404. With `BRIDGE_ADMIN_PORT` set,
`/v1` and `/metrics` are on that port only. Every error is `application/problem+json` (RFC 9457).
WebSocket clients connect to `/ws`; the AsyncAPI document describes their frames.
"""


def build_openapi_document(routers: Iterable[APIRouter]) -> dict[str, Any]:
    """Return the OpenAPI document of these routes."""
    app = FastAPI(title="Push bridge", version=__version__, description=_DESCRIPTION)
    for router in routers:
        app.include_router(router)
    document = app.openapi()
    examples = {type(each).__name__: each for each in (*api_schemas.EXAMPLES, *commands.EXAMPLES)}
    types = (History, Problem, Publication, Published, *map(type, examples.values()))
    _, schemas = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    for schema in schemas.values():
        schema["description"] = cleandoc(schema["description"])
    for name, example in examples.items():
        schemas[name]["examples"] = [msgspec.to_builtins(example)]
    schemas["Publication"] |= {"anyOf": AUDIENCE_SCHEMA, "examples": [EXAMPLE]}
    document.setdefault("components", {}).setdefault("schemas", {}).update(schemas)
    return document


class _HostCheck:
    """Rejects requests whose `Host` header is not allowed."""

    def __init__(self, app: ASGIApp, origin_policy: OriginPolicy) -> None:
        self._app = app
        self._origin_policy = origin_policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        host = Headers(scope=scope).get("host", "")
        if self._origin_policy.allows(host, None):
            await self._app(scope, receive, send)
        else:
            log_refused_origin(host, None)
            await problem_response(403, "this host is not allowed here")(scope, receive, send)


def create_app(
    origin_policy: OriginPolicy,
    routers: Iterable[APIRouter],
    document: dict[str, Any] | None = None,
) -> FastAPI:
    """Return the application with these routes.

    `document` is its OpenAPI document, if that is not just the document of the routes.
    """
    routers = tuple(routers)
    openapi_document = document if document is not None else build_openapi_document(routers)
    app = FastAPI(
        title="Push bridge",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.openapi = lambda: openapi_document  # type: ignore[method-assign]
    for router in routers:
        app.include_router(router)
    app.add_middleware(RawPathMiddleware)
    app.add_middleware(HeadMiddleware)
    app.add_middleware(_HostCheck, origin_policy=origin_policy)

    @app.exception_handler(HTTPException)
    async def handle_http_exception(_request: Request, error: HTTPException) -> Response:
        headers = dict(error.headers or {})
        if headers.get("Allow") == "GET":
            headers["Allow"] = "GET, HEAD"
        return problem_response(error.status_code, str(error.detail), headers=headers)

    @app.exception_handler(RequestValidationError)
    async def handle_validation_error(_request: Request, error: RequestValidationError) -> Response:
        first_error = error.errors()[0]
        field = ".".join(str(part) for part in first_error["loc"][1:])
        return problem_response(
            422, f"{field}: {first_error['msg']}" if field else str(first_error["msg"])
        )

    @app.exception_handler(Exception)
    async def handle_unexpected_error(_request: Request, _error: Exception) -> Response:
        return problem_response(
            500, "the request failed because of a bug in the bridge; see its log"
        )

    @app.get("/ws", include_in_schema=False)
    async def require_websocket_upgrade() -> Response:
        headers = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
        }
        return problem_response(
            426, "this is a WebSocket endpoint: send an upgrade request", headers=headers
        )

    return app
