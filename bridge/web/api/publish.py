"""The `/v1` API: what backends may do, with one of the admin tokens.

Rules: an answer says no more than Kafka has said; what may have been written is a 503, and a try
with the same `id` is safe. Without a token to ask for there is no API. A trace that the caller is
in goes on in the record.
"""

from __future__ import annotations

import hmac
import uuid
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import JSONResponse, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from msgspec import UNSET, Meta, Raw, UnsetType

from bridge.core.ports import NotAcknowledged, RecordTooLarge, UnknownTopic
from bridge.core.protocol import envelope as protocol_envelope
from bridge.core.protocol import timestamps
from bridge.core.protocol.names import is_valid_name
from bridge.web.api.bodies import InvalidField, decode, parse_body, read_body
from bridge.web.http.problems import openapi_problems, problem_response

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.core.ports import Publisher
    from bridge.web.http.rate_limit import RateLimit

_AudienceName = Annotated[
    str,
    Meta(
        description="1 to 200 bytes of UTF-8 without control characters, `,` or `*`.",
        extra_json_schema={"pattern": r"^[^\u0000-\u001f\u007f-\u009f,*]+$", "maxLength": 200},
    ),
]
_ENVELOPE_FIELDS: Final = ("id", "type", "time", "tag", "accounts", "rooms", "connections", "all")


class Publication(msgspec.Struct):
    """An event for at least one account, room or connection, or for all.

    Fields that are not known here are ignored; null is absent.
    """

    topic: Annotated[str, Meta(description="The public name of one of the bridge's topics.")]
    key: Annotated[str | None, Meta(description="What has one key keeps its order.")] = None
    id: Annotated[str | None, Meta(description="The same in every try; default: random.")] = None
    type: Annotated[str | None, Meta(description="Default: `event`.")] = None
    time: Annotated[str, Meta(extra_json_schema={"format": "date-time"})] | None = None
    tag: Annotated[str | None, Meta(description="The producer's own.")] = None
    accounts: list[_AudienceName] | None = None
    rooms: list[_AudienceName] | None = None
    connections: list[_AudienceName] | None = None
    all: Annotated[bool | None, Meta(description="For everybody who is subscribed.")] = None
    meta: Annotated[Raw | UnsetType, Meta(description="The producer's own: any JSON.")] = UNSET
    data: Annotated[Raw | UnsetType, Meta(description="Any JSON; default: null.")] = UNSET


#: What the types do not say: one of these is there (JSON Schema).
AUDIENCE_SCHEMA: Final = [
    *(
        {"required": [name], "properties": {name: {"type": "array", "minItems": 1}}}
        for name in ("accounts", "rooms", "connections")
    ),
    {"required": ["all"], "properties": {"all": {"const": True}}},
]
EXAMPLE: Final = {
    "topic": "orders",
    "key": "42",
    "id": "o-1842",
    "type": "order.shipped",
    "accounts": ["alice"],
    "rooms": ["order:42"],
    "data": {"order": 42},
}


class Published(msgspec.Struct):
    """An event that Kafka has acknowledged."""

    id: str
    at: Annotated[str, Meta(description="Its position.", examples=["orders:3:1842"])]


_decode_publication: Final = msgspec.json.Decoder(Publication).decode


def parse_publication(body: bytes) -> Publication:
    """Read what was posted; it has an `id` then.

    Raises:
        BadJson: If it is no JSON.
        WrongField: If a field is wrong, or it is for nobody.
    """
    publication = decode(body, _decode_publication)
    for field in ("accounts", "rooms", "connections"):
        for name in getattr(publication, field) or ():
            if not is_valid_name(name):
                raise InvalidField(f"{field}: not a name of 1 to 200 bytes: {name[:200]!a}")
    if not (
        publication.accounts or publication.rooms or publication.connections or publication.all
    ):
        raise InvalidField("for nobody: say accounts, rooms or connections, or all")
    if publication.time is not None:
        try:
            timestamps.rfc3339_to_utc(publication.time)
        except ValueError as error:
            raise InvalidField(f"time: {error}") from None
    if publication.id is None:
        publication.id = uuid.uuid4().hex
    return publication


def encode_envelope(publication: Publication) -> bytes:
    """Return the value of the record, a native envelope."""
    fields: dict[str, object] = {
        name: value
        for name in _ENVELOPE_FIELDS
        if (value := getattr(publication, name)) is not None
    }
    for name in ("meta", "data"):
        if (raw := getattr(publication, name)) is not UNSET:
            fields[name] = raw
    return msgspec.json.encode(fields)


#: What a body may have beside the record's value: the topic, the key, and blanks.
_BODY_OVERHEAD_BYTES = 65_536
_RETRY_AFTER_SECONDS = 1

_admin_bearer = HTTPBearer(
    scheme_name="adminToken",
    description="One of BRIDGE_ADMIN_TOKENS; with none set there is no API.",
    auto_error=False,
)


class AdminTokens:
    """Lets in who has one of the tokens. It takes as long to find out that it is none of them."""

    def __init__(self, tokens: Sequence[str]) -> None:
        self._tokens = [token.encode() for token in tokens]

    async def __call__(
        self, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_admin_bearer)]
    ) -> None:
        """Check the credential of a request.

        Raises:
            HTTPException: 401 if it is none of the tokens.
        """
        if not self.is_valid("" if credentials is None else credentials.credentials):
            raise HTTPException(
                401,
                "this needs one of the admin tokens (BRIDGE_ADMIN_TOKENS)",
                {"WWW-Authenticate": "Bearer"},
            )

    def is_valid(self, token: str) -> bool:
        """Whether `token` is one of them."""
        token_bytes = token.encode("utf-8", "replace")
        return any([hmac.compare_digest(token_bytes, valid_token) for valid_token in self._tokens])  # noqa: C419 - all of them


_RESPONSES: dict[int | str, dict[str, Any]] = {
    202: {
        "description": "Kafka has acknowledged it",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Published"}}},
    },
    **openapi_problems(
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
_REQUEST_BODY = {"application/json": {"schema": {"$ref": "#/components/schemas/Publication"}}}
_TRACEPARENT_PARAMETER = {
    "name": protocol_envelope.TRACEPARENT_HEADER,
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "W3C Trace Context: becomes the record's header, and so a field of the event's"
    " frame. One that is not valid is ignored.",
}


def _trace_headers(request: Request) -> list[tuple[str, bytes]]:
    """Return the headers by which the record carries on the trace that `request` is in."""
    header_values = [
        value.encode("latin-1")
        for value in request.headers.getlist(protocol_envelope.TRACEPARENT_HEADER)
    ]
    traceparent = protocol_envelope.parse_traceparent(header_values)
    return (
        []
        if traceparent is None
        else [(protocol_envelope.TRACEPARENT_HEADER, traceparent.encode())]
    )


def publish_router(
    publisher: Publisher, tokens: Sequence[str], *, max_event_bytes: int, rate_limit: RateLimit
) -> APIRouter:
    """Return the route of `/v1/events`."""
    router = APIRouter(prefix="/v1", tags=["api"], dependencies=[Depends(AdminTokens(tokens))])
    too_large_message = f"more than {max_event_bytes} bytes (BRIDGE_LIMITS__EVENT_BYTES)"

    @router.post(
        "/events",
        status_code=202,
        responses=_RESPONSES,
        openapi_extra={
            "parameters": [_TRACEPARENT_PARAMETER],
            "requestBody": {"required": True, "content": _REQUEST_BODY},
        },
    )
    async def publish(request: Request) -> Response:
        """Write an event to Kafka, and answer once Kafka has acknowledged it."""
        body = await read_body(request, max_event_bytes + _BODY_OVERHEAD_BYTES, too_large_message)
        publication = parse_body(body, parse_publication)
        value = encode_envelope(publication)
        if len(value) > max_event_bytes:
            raise HTTPException(413, too_large_message)
        rate_limit.check()
        key = None if publication.key is None else publication.key.encode()
        try:
            position = await publisher.publish(
                publication.topic, value, key=key, headers=_trace_headers(request)
            )
        except UnknownTopic:
            return problem_response(404, f"there is no topic {publication.topic[:200]!a}")
        except RecordTooLarge:
            return problem_response(413, "Kafka takes no record that large (its max.message.bytes)")
        except NotAcknowledged:
            return problem_response(
                503,
                "Kafka has not acknowledged the event, so it may have been written or not:"
                " try again with the same id",
                headers={"Retry-After": str(_RETRY_AFTER_SECONDS)},
                id=publication.id,
            )
        return JSONResponse(
            msgspec.to_builtins(Published(str(publication.id), str(position))), status_code=202
        )

    return router
