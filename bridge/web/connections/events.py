"""The route of `GET /events`, and what OpenAPI is told of it.

Rule: parameters are described here and read where those of WebSockets are, so that both ways in
have the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import Response

from bridge.web.connections.sse import PATH
from bridge.web.http.problems import described
from bridge.web.transport import sse_format

if TYPE_CHECKING:
    from bridge.web.connections.sse import Streams

_QUERY: Final = {
    "topics": "Topics with commas between them; absent: every topic that may be read unnamed",
    "rooms": "Rooms to be in, with commas between them",
    "types": "Event types to be sent; one with `*` at its end is a prefix; absent: all",
    "cursor": "Resume from here; positions seen since may follow, each behind a comma",
    "since": "An RFC 3339 time to replay from; not together with a cursor",
    "token": "The credential, where no `Authorization` header can be set",
    "account": "Who the client is, only where authentication is off",
}


def _parameter(name: str, about: str, place: str = "query") -> dict[str, Any]:
    text = {"type": "string", "minLength": 1}
    return {"name": name, "in": place, "required": False, "description": about, "schema": text}


_PARAMETERS: Final = [
    *(_parameter(name, about) for name, about in _QUERY.items()),
    _parameter("Last-Event-ID", "A cursor; it wins over `cursor` and `since`", "header"),
    _parameter("Authorization", "`Bearer` and the credential; it wins over `token`", "header"),
]
_HEADERS: Final = {
    "Cache-Control": {"description": "`no-store`", "schema": {"type": "string"}},
    "X-Accel-Buffering": {"description": "`no`: for nginx", "schema": {"type": "string"}},
}
_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "Events as they happen, until either side ends it. A browser's"
        " `EventSource` gets a 200 instead of a 503 too: a `closing` event and the end.",
        "headers": _HEADERS,
        "content": {sse_format.MEDIA_TYPE: {"schema": {"type": "string"}}},
    },
    204: {"description": "Its last stream was closed for good: do not come back by yourself"},
    **described(
        {
            400: "A parameter is unknown, empty, given twice or malformed; a garbled cursor",
            401: "No credential, or a wrong one",
            403: "The host, the origin, a topic or a room is not allowed",
            503: "Come back later, or to another instance; `Retry-After` says how long",
        }
    ),
}


def events(streams: Streams) -> APIRouter:
    """Return the routes of event streams."""
    router = APIRouter(tags=["events"])

    @router.get(
        PATH,
        response_class=Response,
        responses=_ANSWERS,
        openapi_extra={"parameters": _PARAMETERS},
    )
    async def listen(request: Request) -> Response:
        """Listen: frames as Server-Sent Events, each named by its `op`; the `id` is a cursor."""
        return await streams.answer(request)

    @router.head(PATH, include_in_schema=False)
    async def look(request: Request) -> Response:
        return await streams.answer(request)

    @router.options(PATH, include_in_schema=False)
    async def preflight(request: Request) -> Response:
        return streams.preflight(request)

    return router
