"""`POST /v1/events`.

Rules: a 202 means that Kafka acknowledged the event. After a 503 it may or may not be written, and
a retry with the same `id` is safe. The caller's trace context goes into the record.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import JSONResponse, Response
from msgspec import UNSET, Meta, Raw, UnsetType

from bridge.core.ports import NotAcknowledged, RecordRefused, RecordTooLarge, UnknownTopic
from bridge.core.protocol import envelope as protocol_envelope
from bridge.core.protocol import timestamps
from bridge.core.protocol.names import is_valid_name
from bridge.web.api.access import ACCESS_PROBLEMS, AuditedRoute
from bridge.web.api.bodies import InvalidField, decode, parse_body, read_body
from bridge.web.api.header_records import encode_headers, encode_value
from bridge.web.http.problems import openapi_problems, problem_response

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.core.ports import Publisher
    from bridge.web.api.access import AdminAccess
    from bridge.web.http.rate_limit import RateLimit

_AudienceName = Annotated[
    str,
    Meta(
        description="1 to 200 bytes of UTF-8 without control characters, `,` or `*`.",
        extra_json_schema={
            "pattern": r"^[^\u0000-\u001f\u007f-\u009f"
            r"\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069,*]+$",
            "maxLength": 200,
        },
    ),
]
_ENVELOPE_FIELDS: Final = ("id", "type", "time", "tag", "accounts", "rooms", "connections", "all")


class Publication(msgspec.Struct):
    """An event for at least one account, room or connection, or for everybody.

    Unknown fields are ignored. Null means absent.
    """

    topic: Annotated[str, Meta(description="The public name of a topic.")]
    key: Annotated[str | None, Meta(description="Events with the same key keep their order.")] = (
        None
    )
    id: Annotated[
        str | None, Meta(description="Use the same one in each retry; default: random.")
    ] = None
    type: Annotated[str | None, Meta(description="Default: `event`.")] = None
    time: Annotated[str, Meta(extra_json_schema={"format": "date-time"})] | None = None
    tag: Annotated[str | None, Meta(description="Passed on unchanged.")] = None
    accounts: list[_AudienceName] | None = None
    rooms: list[_AudienceName] | None = None
    connections: list[_AudienceName] | None = None
    all: Annotated[bool | None, Meta(description="For every subscriber of the topic.")] = None
    meta: Annotated[Raw | UnsetType, Meta(description="Passed on unchanged: any JSON.")] = UNSET
    data: Annotated[Raw | UnsetType, Meta(description="Any JSON; default: null.")] = UNSET

    def check_audience(self, max_addresses: int) -> None:
        """Raise HTTPException (422) if it names more accounts, rooms and connections."""
        count = sum(map(len, filter(None, (self.accounts, self.rooms, self.connections))))
        if count > max_addresses:
            raise HTTPException(
                422,
                f"the audience has {count} names, more than {max_addresses}"
                " (BRIDGE_LIMITS__AUDIENCE)",
            )


#: JSON Schema: at least one kind of audience is required. The types cannot express this.
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
    """Parse the body of a publish request, and generate its `id` if it has none.

    Raises:
        InvalidJson: If it is not JSON.
        InvalidField: If a field is wrong, or there is no audience.
    """
    publication = decode(body, _decode_publication)
    for field in ("accounts", "rooms", "connections"):
        for name in getattr(publication, field) or ():
            if not is_valid_name(name):
                raise InvalidField(f"{field}: not a name of 1 to 200 bytes: {name[:200]!a}")
    if not (
        publication.accounts or publication.rooms or publication.connections or publication.all
    ):
        raise InvalidField("the event has no audience: set accounts, rooms, connections or all")
    if publication.time is not None:
        try:
            timestamps.rfc3339_to_utc(publication.time)
        except ValueError as error:
            raise InvalidField(f"time: {error}") from None
    if publication.id is None:
        publication.id = uuid.uuid4().hex
    return publication


def encode_envelope(publication: Publication) -> bytes:
    """Return the record's value, a native envelope."""
    fields: dict[str, object] = {
        name: value
        for name in _ENVELOPE_FIELDS
        if (value := getattr(publication, name)) is not None
    }
    for name in ("meta", "data"):
        if (raw := getattr(publication, name)) is not UNSET:
            fields[name] = raw
    return msgspec.json.encode(fields)


def _encode(
    publication: Publication, header_format: str | None
) -> tuple[bytes, list[tuple[str, bytes]]]:
    """Return a record's value and headers."""
    if header_format is None:
        return encode_envelope(publication), []
    try:
        return encode_value(publication, header_format), encode_headers(publication)
    except InvalidField as error:
        raise HTTPException(422, str(error)) from None


#: A body may exceed the record's value by the topic, the key and whitespace.
_BODY_OVERHEAD_BYTES = 65_536
_RETRY_AFTER_SECONDS = 1

_RESPONSES: dict[int | str, dict[str, Any]] = {
    202: {
        "description": "Kafka has acknowledged the event",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Published"}}},
    },
    **openapi_problems(
        {
            400: "The body is not JSON",
            **ACCESS_PROBLEMS,
            404: "The topic does not exist; or the API is off, because no admin token is set",
            413: "The event is too large (BRIDGE_LIMITS__EVENT_BYTES)",
            422: "A field is wrong, or the event has no audience; or Kafka refuses the record",
            429: "Too many writes per second (BRIDGE_LIMITS__PUBLISHES_PER_SECOND), or too many"
            " wrong admin tokens of this address",
            503: "Kafka has not acknowledged the event: it may or may not be written. Retry with"
            " the `id` of this response",
        }
    ),
}
_REQUEST_BODY = {"application/json": {"schema": {"$ref": "#/components/schemas/Publication"}}}
_TRACEPARENT_PARAMETER = {
    "name": protocol_envelope.TRACEPARENT_HEADER,
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "W3C Trace Context. It becomes a header of the record and a field of the event"
    " frame. An invalid value is ignored.",
}


def _trace_headers(request: Request) -> list[tuple[str, bytes]]:
    """Return the record headers that continue the trace of `request`."""
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
    publisher: Publisher,
    access: AdminAccess,
    *,
    max_event_bytes: int,
    max_addresses: int,
    rate_limit: RateLimit,
    header_format: Callable[[str], str | None] = lambda _: None,
) -> APIRouter:
    """Return the route of `/v1/events`. `header_format` is that of `TopicCatalogue`."""
    router = APIRouter(
        prefix="/v1", tags=["api"], dependencies=[Depends(access)], route_class=AuditedRoute
    )
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
        """Write an event to Kafka; respond after Kafka has acknowledged it."""
        body = await read_body(request, max_event_bytes + _BODY_OVERHEAD_BYTES, too_large_message)
        publication = parse_body(body, parse_publication)
        publication.check_audience(max_addresses)
        value, headers = _encode(publication, header_format(publication.topic))
        if len(value) > max_event_bytes:
            raise HTTPException(413, too_large_message)
        rate_limit.check()
        key = None if publication.key is None else publication.key.encode()
        try:
            position = await publisher.publish(
                publication.topic, value, key=key, headers=[*headers, *_trace_headers(request)]
            )
        except UnknownTopic:
            return problem_response(404, f"there is no topic {publication.topic[:200]!a}")
        except RecordTooLarge:
            return problem_response(
                413, "the record exceeds Kafka's limit (max.message.bytes of the topic or broker)"
            )
        except RecordRefused as error:
            return problem_response(422, f"Kafka refuses the event, nothing was written: {error}")
        except NotAcknowledged:
            return problem_response(
                503,
                "Kafka has not acknowledged the event, so it may or may not be written;"
                " retry with the same id",
                headers={"Retry-After": str(_RETRY_AFTER_SECONDS)},
                id=publication.id,
            )
        return JSONResponse(
            msgspec.to_builtins(Published(str(publication.id), str(position))), status_code=202
        )

    return router
