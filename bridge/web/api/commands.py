"""The commands of `/v1`: join, leave, set a room's title, disconnect, revoke.

Rule: a 202 means that Kafka acknowledged the command. After a 503 the command may or may not take
effect; repeating it is safe, because every command is idempotent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import Response
from msgspec import Meta
from pydantic import Field

from bridge.core.coordination.commands import (
    MAX_REASON_CHARACTERS,
    MAX_TITLE_CHARACTERS,
    Disconnect,
    Join,
    Leave,
    Revoke,
    SetRoomTitle,
)
from bridge.core.ports import NotAcknowledged, RecordRefused
from bridge.core.protocol import timestamps
from bridge.web.api.access import ACCESS_PROBLEMS, AuditedRoute
from bridge.web.api.bodies import InvalidField, decode, parse_body, read_body
from bridge.web.api.params import (
    PathName,
    StrictQuery,
    reject_repeated_parameters,
)
from bridge.web.api.schemas import Ordered
from bridge.web.http.problems import openapi_problems, problem_response

if TYPE_CHECKING:
    from bridge.core.coordination.commands import Command
    from bridge.core.coordination.directory import PresenceDirectory
    from bridge.core.ports import CommandPublisher
    from bridge.web.api.access import AdminAccess
    from bridge.web.http.rate_limit import RateLimit

MAX_BODY_BYTES: Final = 65_536
_RETRY_AFTER_SECONDS: Final = 1


class Named(msgspec.Struct):
    """A room's title for display. An empty one removes it."""

    title: Annotated[str, Meta(max_length=MAX_TITLE_CHARACTERS)]


class Revocation(msgspec.Struct):
    """Tokens issued before this time are refused; the default is now."""

    before: Annotated[str, Meta(extra_json_schema={"format": "date-time"})] | None = None


#: Example bodies for the OpenAPI document.
EXAMPLES: Final = (Named("Order 42"), Revocation("2026-11-21T09:00:00Z"))

_decode_named: Final = msgspec.json.Decoder(Named).decode
_decode_revocation: Final = msgspec.json.Decoder(Revocation).decode
_REASON_DESCRIPTION: Final = f"Sent to the client, truncated to {MAX_REASON_CHARACTERS} characters."


class DisconnectQuery(StrictQuery):
    """Query parameters of a disconnect."""

    reason: Annotated[str | None, Field(description=_REASON_DESCRIPTION)] = None


_DisconnectQuery = Annotated[DisconnectQuery, Query()]


def _responses(**overrides: str) -> dict[int | str, dict[str, Any]]:
    reasons = {
        **ACCESS_PROBLEMS,
        404: "The API is off, because no admin token is set",
        422: "A name is invalid, or a parameter is unknown or repeated",
        429: "Too many writes per second (BRIDGE_LIMITS__PUBLISHES_PER_SECOND), or too many"
        " wrong admin tokens of this address",
        503: "Kafka has not acknowledged the command: it may or may not take effect. Retry it;"
        " repeating a command is safe",
    }
    reasons |= {int(status.removeprefix("_")): reason for status, reason in overrides.items()}
    schema = {"schema": {"$ref": "#/components/schemas/Ordered"}}
    accepted = {
        "description": "Kafka has acknowledged the command",
        "content": {"application/json": schema},
    }
    return {202: accepted, **openapi_problems(reasons)}


def _request_body(schema: str, *, required: bool) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"requestBody": {"required": required, "content": content}}


_RESPONSES: Final = _responses()
_CONNECTION_RESPONSES: Final = _responses(
    _404="The connection does not exist; or the API is off, because no admin token is set"
)
_BODY_RESPONSES: Final = _responses(
    _400="The body is not JSON",
    _413=f"The body has more than {MAX_BODY_BYTES} bytes",
    _422="A field or a name is invalid",
)


class _CommandSender:
    """Publishes commands and responds with their positions."""

    def __init__(
        self, publisher: CommandPublisher, directory: PresenceDirectory, rate_limit: RateLimit
    ) -> None:
        self._publisher = publisher
        self._directory = directory
        self._rate_limit = rate_limit

    async def send(self, command: Command) -> Response:
        """Publish `command`; respond with 202 and its position, or with 422 or 503."""
        self._rate_limit.check()
        try:
            position = await self._publisher.publish(command)
        except RecordRefused as error:
            return problem_response(422, f"Kafka refuses the command, nothing was written: {error}")
        except NotAcknowledged:
            return problem_response(
                503,
                "Kafka has not acknowledged the command, so it may or may not take effect;"
                " retry it, repeating a command is safe",
                headers={"Retry-After": str(_RETRY_AFTER_SECONDS)},
            )
        response_body = msgspec.json.encode(Ordered(str(position)))
        return Response(response_body, status_code=202, media_type="application/json")

    async def send_to_connection(self, connection: str, command: Command) -> Response:
        """Publish `command` to `connection`.

        Raises:
            HTTPException: 404 if the connection does not exist.
        """
        if self._directory.find_connection(connection) is None:
            raise HTTPException(404, f"there is no connection {connection[:200]!a}")
        return await self.send(command)


def commands_router(
    publisher: CommandPublisher,
    directory: PresenceDirectory,
    access: AdminAccess,
    *,
    rate_limit: RateLimit,
) -> APIRouter:
    """Return the routes of all commands."""
    dependencies = [Depends(access), Depends(reject_repeated_parameters)]
    router = APIRouter(
        prefix="/v1", tags=["commands"], dependencies=dependencies, route_class=AuditedRoute
    )
    sender = _CommandSender(publisher, directory, rate_limit)
    _add_membership_routes(router, sender)
    _add_disconnect_routes(router, sender)

    @router.put(
        "/rooms/{room}",
        status_code=202,
        responses=_BODY_RESPONSES,
        openapi_extra=_request_body("Named", required=True),
    )
    async def set_room_title(room: PathName, request: Request) -> Response:
        """Set the title of a room."""
        named = parse_body(
            await _read_command_body(request), lambda body: decode(body, _decode_named)
        )
        return await sender.send(SetRoomTitle(room, named.title))

    return router


def _add_membership_routes(router: APIRouter, sender: _CommandSender) -> None:
    by_connection, by_account = "/rooms/{room}/connections/{connection}", "/rooms/{room}/accounts"

    @router.put(by_connection, status_code=202, responses=_CONNECTION_RESPONSES)
    async def add_connection(room: PathName, connection: PathName) -> Response:
        """Add a connection to a room until it closes."""
        return await sender.send_to_connection(connection, Join(room, connection=connection))

    @router.delete(by_connection, status_code=202, responses=_CONNECTION_RESPONSES)
    async def remove_connection(room: PathName, connection: PathName) -> Response:
        """Remove a connection from a room, unless it subscribed itself or its account is in it."""
        return await sender.send_to_connection(connection, Leave(room, connection=connection))

    @router.put(f"{by_account}/{{account}}", status_code=202, responses=_RESPONSES)
    async def add_account(room: PathName, account: PathName) -> Response:
        """Add an account to a room durably: all its present and future connections."""
        return await sender.send(Join(room, account=account))

    @router.delete(f"{by_account}/{{account}}", status_code=202, responses=_RESPONSES)
    async def remove_account(room: PathName, account: PathName) -> Response:
        """Remove an account's durable membership of a room."""
        return await sender.send(Leave(room, account=account))


def _add_disconnect_routes(router: APIRouter, sender: _CommandSender) -> None:
    @router.delete("/connections/{connection}", status_code=202, responses=_CONNECTION_RESPONSES)
    async def disconnect(connection: PathName, query: _DisconnectQuery) -> Response:
        """Close a connection with 4504."""
        command = Disconnect(connection=connection, reason=query.reason or None)
        return await sender.send_to_connection(connection, command)

    @router.delete("/accounts/{account}/connections", status_code=202, responses=_RESPONSES)
    async def disconnect_account(account: PathName, query: _DisconnectQuery) -> Response:
        """Close every connection of an account, on all instances, with 4504."""
        return await sender.send(Disconnect(account=account, reason=query.reason or None))

    @router.post(
        "/accounts/{account}/revoke",
        status_code=202,
        responses=_BODY_RESPONSES,
        openapi_extra=_request_body("Revocation", required=False),
    )
    async def revoke(account: PathName, request: Request) -> Response:
        """Refuse an account's tokens issued before a time, and close its connections with 4005."""
        body = await _read_command_body(request)
        revocation = parse_body(body, _parse_revocation) if body else Revocation()
        return await sender.send(Revoke(account, revocation.before))


async def _read_command_body(request: Request) -> bytes:
    return await read_body(request, MAX_BODY_BYTES, f"more than {MAX_BODY_BYTES} bytes")


def _parse_revocation(body: bytes) -> Revocation:
    revocation = decode(body, _decode_revocation)
    if revocation.before is not None:
        try:
            timestamps.rfc3339_to_utc(revocation.before)
        except ValueError as error:
            raise InvalidField(f"before: {error}") from None
    return revocation
