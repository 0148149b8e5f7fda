"""CORS, refusals and disconnects, shared by `/events` and `/history`.

Rule: an allowed origin can read every response, errors too. Work stops once the client is gone.
"""

from __future__ import annotations

import asyncio
import math
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, TypeVar

from fastapi.responses import Response

from bridge.core.protocol import close_codes as closes
from bridge.web.auth.authenticator import AuthRefused, Credentials, parse_bearer
from bridge.web.auth.origins import log_refused_origin
from bridge.web.http.problems import CACHE_CONTROL, problem_response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Collection, Mapping

    from fastapi import Request

    from bridge.core.protocol.close_codes import CloseCode
    from bridge.web.auth.client_address import TrustedProxies
    from bridge.web.auth.origins import OriginPolicy

T = TypeVar("T")

_PREFLIGHT_SECONDS: Final = 600
#: What pages may send. `*` lets tracing and monitoring libraries add theirs: such headers have no
#: meaning here. It covers all but `Authorization` (Fetch, 4.8); the others are for old browsers.
_ALLOWED_HEADERS: Final = (
    "Authorization, Cache-Control, Last-Event-ID, traceparent, tracestate, baggage, sentry-trace, *"
)
_STATUS_BY_CLOSE_CODE: Final = {
    closes.EXPIRED.code: HTTPStatus.UNAUTHORIZED,
    closes.UNAUTHENTICATED.code: HTTPStatus.UNAUTHORIZED,
    closes.FORBIDDEN.code: HTTPStatus.FORBIDDEN,
    closes.DISCONNECTED.code: HTTPStatus.FORBIDDEN,
}


class ClientDisconnected(Exception):
    """The client closed its connection before the response."""


def reject_origin(request: Request, origin_policy: OriginPolicy) -> Response | None:
    """Return a 403 if the host or the origin is not allowed, else None."""
    host, origin = request.headers.get("Host", ""), request.headers.get("Origin")
    if origin_policy.allows(host, origin):
        return None
    log_refused_origin(host, origin)
    return problem_response(403, "this host or origin is not allowed here (BRIDGE_ALLOWED_ORIGINS)")


def read_credentials(
    request: Request,
    trusted_proxies: TrustedProxies,
    origin_policy: OriginPolicy,
    header_names: Collection[str] = (),
) -> Credentials:
    """Return what the headers of `request` say of its client."""
    peer = request.client.host if request.client is not None else ""
    forwarded_for = request.headers.getlist("X-Forwarded-For")
    return Credentials(
        parse_bearer(request.headers.get("Authorization")),
        address=trusted_proxies.client_address(peer, forwarded_for),
        origin=request.headers.get("Origin"),
        headers=origin_policy.select_credentials(header_names, request.headers.getlist),
    )


def response_headers(request: Request, origin_policy: OriginPolicy) -> dict[str, str]:
    """Return the headers of every response: no cache stores it, and an allowed origin may read it.

    Cookies may be sent by listed origins only, and only if they can be credentials.
    """
    headers = {"Cache-Control": CACHE_CONTROL, "Vary": "Origin"}
    if (origin := request.headers.get("Origin")) is not None:
        headers["Access-Control-Allow-Origin"] = origin
        headers["Access-Control-Expose-Headers"] = "Retry-After"
        if origin_policy.allows_credentials(origin):
            headers["Access-Control-Allow-Credentials"] = "true"
    return headers


def preflight_response(request: Request, origin_policy: OriginPolicy) -> Response:
    """Answer a preflight request, with a 403 if the origin is not allowed."""
    if (rejection := reject_origin(request, origin_policy)) is not None:
        return rejection
    headers = {"Allow": "GET, HEAD, OPTIONS", **response_headers(request, origin_policy)}
    if "Origin" in request.headers:
        headers |= {
            "Access-Control-Allow-Methods": "GET, HEAD",
            "Access-Control-Allow-Headers": _ALLOWED_HEADERS,
            "Access-Control-Max-Age": str(_PREFLIGHT_SECONDS),
        }
    return Response(status_code=204, headers=headers)


def http_status(close: CloseCode) -> HTTPStatus:
    """Return the HTTP status of a refusal."""
    return _STATUS_BY_CLOSE_CODE.get(close.code, HTTPStatus.SERVICE_UNAVAILABLE)


def refusal_response(
    close: CloseCode, retry_after_seconds: float, headers: Mapping[str, str]
) -> Response:
    """Return the problem response of a refusal. `retry_after_seconds` is used with 503 only."""
    http_code, response_headers = http_status(close), dict(headers)
    if http_code == HTTPStatus.UNAUTHORIZED:
        response_headers["WWW-Authenticate"] = "Bearer"
    elif http_code == HTTPStatus.SERVICE_UNAVAILABLE:
        response_headers["Retry-After"] = str(max(1, math.ceil(retry_after_seconds)))
    return problem_response(http_code, close.reason, headers=response_headers)


async def wait_unless_disconnected(
    work: Awaitable[T], request: Request, drain_started: asyncio.Event
) -> T:
    """Return the result of `work`, unless the client disconnects or the instance drains first.

    Raises:
        ClientDisconnected: If the client disconnects.
        AuthRefused: If this instance starts to drain.

    Cancellation: safe; the work is cancelled too.
    """
    work_task = asyncio.ensure_future(work)
    draining_task = asyncio.ensure_future(drain_started.wait())
    disconnect_task = asyncio.ensure_future(_wait_for_disconnect(request))
    tasks: set[asyncio.Future[Any]] = {work_task, draining_task, disconnect_task}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if disconnect_task.done():
            raise ClientDisconnected
        if draining_task.done():
            raise AuthRefused(closes.DRAINING)
        return work_task.result()
    finally:
        for task in tasks:
            task.cancel()


async def _wait_for_disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
