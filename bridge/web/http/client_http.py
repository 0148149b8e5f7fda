"""What clients' calls over plain HTTP have in common: pages of other origins, refusals, vanishing.

Rule: whoever may call by its origin may read the answer, an error too; and nothing is done any
more for one who has gone.
"""

from __future__ import annotations

import asyncio
import math
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, TypeVar

from fastapi.responses import Response

from bridge.core.protocol import close_codes as closes
from bridge.web.auth.authenticator import Refused
from bridge.web.http.problems import problem

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from fastapi import Request

    from bridge.core.protocol.close_codes import Close
    from bridge.web.auth.origins import Doors

T = TypeVar("T")

_PREFLIGHT_SECONDS: Final = 600
_STATUSES: Final = {
    closes.EXPIRED.code: HTTPStatus.UNAUTHORIZED,
    closes.UNAUTHENTICATED.code: HTTPStatus.UNAUTHORIZED,
    closes.FORBIDDEN.code: HTTPStatus.FORBIDDEN,
    closes.DISCONNECTED.code: HTTPStatus.FORBIDDEN,
}


class Vanished(Exception):
    """The client has gone before it was answered."""


def turned_away(request: Request, doors: Doors) -> Response | None:
    """Return the answer to a call by a host or origin that is not allowed; None where it is."""
    if doors.admits(request.headers.get("Host", ""), request.headers.get("Origin")):
        return None
    return problem(403, "this host or origin is not allowed here (BRIDGE_ALLOWED_ORIGINS)")


def shared(request: Request) -> dict[str, str]:
    """What lets a page of another origin read the answer; without cookies, which mean nothing."""
    origin = request.headers.get("Origin")
    if origin is None:
        return {"Vary": "Origin"}
    return {
        "Vary": "Origin",
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Expose-Headers": "Retry-After",
    }


def preflight(request: Request, doors: Doors, *, methods: str, headers: str) -> Response:
    """Say what another origin's page may send, where it may send anything."""
    if (answer := turned_away(request, doors)) is not None:
        return answer
    told = {"Allow": f"{methods}, OPTIONS", **shared(request)}
    if "Origin" in request.headers:
        told |= {
            "Access-Control-Allow-Methods": methods,
            "Access-Control-Allow-Headers": headers,
            "Access-Control-Max-Age": str(_PREFLIGHT_SECONDS),
        }
    return Response(status_code=204, headers=told)


def status(why: Close) -> HTTPStatus:
    """Return what a refusal is called over HTTP."""
    return _STATUSES.get(why.code, HTTPStatus.SERVICE_UNAVAILABLE)


def refusal(why: Close, retry_after: float, headers: Mapping[str, str]) -> Response:
    """Return the answer to who is refused; `retry_after` seconds count where it may come back."""
    code, more = status(why), dict(headers)
    if code == HTTPStatus.UNAUTHORIZED:
        more["WWW-Authenticate"] = "Bearer"
    elif code == HTTPStatus.SERVICE_UNAVAILABLE:
        more["Retry-After"] = str(max(1, math.ceil(retry_after)))
    return problem(code, why.reason, headers=more)


async def unless_gone(work: Awaitable[T], request: Request, leaving: asyncio.Event) -> T:
    """Wait for `work`, unless the client or this instance leaves first.

    Raises:
        Vanished: If the client leaves.
        Refused: If this instance does, which `leaving` tells.

    Cancellation: safe; the work is cancelled too.
    """
    working = asyncio.ensure_future(work)
    parting = asyncio.ensure_future(leaving.wait())
    vanishing = asyncio.ensure_future(_vanished(request))
    everything: set[asyncio.Future[Any]] = {working, parting, vanishing}
    try:
        await asyncio.wait(everything, return_when=asyncio.FIRST_COMPLETED)
        if vanishing.done():
            raise Vanished
        if parting.done():
            raise Refused(closes.DRAINING)
        return working.result()
    finally:
        for each in everything:
            each.cancel()


async def _vanished(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
