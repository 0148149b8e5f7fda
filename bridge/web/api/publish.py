"""The `/v1` API: what backends may do, with one of the admin tokens.

Rules: an answer says no more than Kafka has said; what may have been written is a 503, and a try
with the same `id` is safe. Without a token to ask for there is no API. A trace that the caller is
in goes on in the record.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import JSONResponse, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from bridge.core.ports import NotAcknowledged, NoTopic, TooLarge
from bridge.core.protocol import trace
from bridge.web.api.bodies import taken, understood
from bridge.web.api.publication import Published, envelope, read_publication
from bridge.web.http.problems import described, problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.core.ports import Outlet
    from bridge.web.http.rate_limit import Pace

#: What a body may have beside the record's value: the topic, the key, and blanks.
_MARGIN_BYTES = 65_536
_RETRY_SECONDS = 1

_bearer = HTTPBearer(
    scheme_name="adminToken",
    description="One of BRIDGE_ADMIN_TOKENS; with none set there is no API.",
    auto_error=False,
)


class AdminTokens:
    """Lets in who has one of the tokens. It takes as long to find out that it is none of them."""

    def __init__(self, tokens: Sequence[str]) -> None:
        self._tokens = [token.encode() for token in tokens]

    async def __call__(
        self, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
    ) -> None:
        """Check the credential of a request.

        Raises:
            HTTPException: 401 if it is none of the tokens.
        """
        if not self.know("" if credentials is None else credentials.credentials):
            raise HTTPException(
                401,
                "this needs one of the admin tokens (BRIDGE_ADMIN_TOKENS)",
                {"WWW-Authenticate": "Bearer"},
            )

    def know(self, token: str) -> bool:
        """Whether `token` is one of them."""
        given = token.encode("utf-8", "replace")
        return any([hmac.compare_digest(given, known) for known in self._tokens])  # noqa: C419 - all of them


_ANSWERS: dict[int | str, dict[str, Any]] = {
    202: {
        "description": "Kafka has acknowledged it",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Published"}}},
    },
    **described(
        {
            400: "The body is no JSON",
            401: "No admin token, or a wrong one",
            404: "No such topic; or, with no admin token set, no API",
            413: "Larger than a record may be (BRIDGE_LIMITS__EVENT_BYTES)",
            422: "A field is wrong, or the event is for nobody",
            429: "Too fast (BRIDGE_LIMITS__PUBLISHES_PER_SECOND); `Retry-After` says how long",
            503: "Kafka has not acknowledged it: whether it was written is not known. Try again"
            " with the `id` that this answer has",
        }
    ),
}
_BODY = {"application/json": {"schema": {"$ref": "#/components/schemas/Publication"}}}
_TRACEPARENT = {
    "name": trace.HEADER,
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "W3C Trace Context: becomes the record's header, and so a field of the event's"
    " frame. One that is not valid is ignored.",
}


def _traced(request: Request) -> list[tuple[str, bytes]]:
    """Return the headers by which the record carries on the trace that `request` is in."""
    said = [value.encode("latin-1") for value in request.headers.getlist(trace.HEADER)]
    traceparent = trace.only(said)
    return [] if traceparent is None else [(trace.HEADER, traceparent.encode())]


def api(outlet: Outlet, tokens: Sequence[str], *, event_bytes: int, pace: Pace) -> APIRouter:
    """Return the route of `/v1/events`."""
    router = APIRouter(prefix="/v1", tags=["api"], dependencies=[Depends(AdminTokens(tokens))])
    too_large = f"more than {event_bytes} bytes (BRIDGE_LIMITS__EVENT_BYTES)"

    @router.post(
        "/events",
        status_code=202,
        responses=_ANSWERS,
        openapi_extra={
            "parameters": [_TRACEPARENT],
            "requestBody": {"required": True, "content": _BODY},
        },
    )
    async def publish(request: Request) -> Response:
        """Write an event to Kafka, and answer once Kafka has acknowledged it."""
        body = await taken(request, event_bytes + _MARGIN_BYTES, too_large)
        posted = understood(body, read_publication)
        value = envelope(posted)
        if len(value) > event_bytes:
            raise HTTPException(413, too_large)
        pace.take()
        key = None if posted.key is None else posted.key.encode()
        try:
            at = await outlet.write(posted.topic, value, key=key, headers=_traced(request))
        except NoTopic:
            return problem(404, f"there is no topic {posted.topic[:200]!a}")
        except TooLarge:
            return problem(413, "Kafka takes no record that large (its max.message.bytes)")
        except NotAcknowledged:
            return problem(
                503,
                "Kafka has not acknowledged the event, so it may have been written or not:"
                " try again with the same id",
                headers={"Retry-After": str(_RETRY_SECONDS)},
                id=posted.id,
            )
        return JSONResponse(
            msgspec.to_builtins(Published(str(posted.id), str(at))), status_code=202
        )

    return router
