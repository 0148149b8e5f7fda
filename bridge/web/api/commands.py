"""The `/v1` calls that make commands: join and leave, name a room, disconnect, revoke.

Rules: an answer says no more than Kafka has said; a 503 may have been done, and doing it again is
safe, for every command says how things are to be and not what to add to them.
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
from bridge.core.ports import NotAcknowledged
from bridge.core.protocol import timestamps
from bridge.web.api.bodies import InvalidField, decode, parse_body, read_body
from bridge.web.api.params import (
    PathName,
    StrictQuery,
    reject_repeated_parameters,
)
from bridge.web.api.publish import AdminTokens
from bridge.web.api.schemas import Ordered
from bridge.web.http.problems import openapi_problems, problem_response

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.core.coordination.commands import Command
    from bridge.core.coordination.directory import PresenceDirectory
    from bridge.core.ports import CommandPublisher
    from bridge.web.http.rate_limit import RateLimit

MAX_BODY_BYTES: Final = 65_536
_RETRY_AFTER_SECONDS: Final = 1


class Named(msgspec.Struct):
    """What a room is called, for people to read; an empty title is none."""

    title: Annotated[str, Meta(max_length=MAX_TITLE_CHARACTERS)]


class Revocation(msgspec.Struct):
    """Which tokens are refused: those that were issued before a time; by default, now."""

    before: Annotated[str, Meta(extra_json_schema={"format": "date-time"})] | None = None


#: What is posted, as it might be.
EXAMPLES: Final = (Named("Order 42"), Revocation("2026-11-21T09:00:00Z"))

_decode_named: Final = msgspec.json.Decoder(Named).decode
_decode_revocation: Final = msgspec.json.Decoder(Revocation).decode
_REASON_DESCRIPTION: Final = (
    f"Told to the client; no more than {MAX_REASON_CHARACTERS} characters of it."
)


class DisconnectQuery(StrictQuery):
    """Why somebody is disconnected."""

    reason: Annotated[str | None, Field(description=_REASON_DESCRIPTION)] = None


_DisconnectQuery = Annotated[DisconnectQuery, Query()]


def _responses(**overrides: str) -> dict[int | str, dict[str, Any]]:
    reasons = {
        401: "No admin token, or a wrong one",
        404: "With no admin token set, no API",
        422: "Nothing can be called that; or a parameter is unknown, or given twice",
        429: "Too fast (BRIDGE_LIMITS__PUBLISHES_PER_SECOND); `Retry-After` says how long",
        503: "Kafka has not acknowledged it: it may have been done or not. Try again: to do it"
        " twice changes nothing",
    }
    reasons |= {int(status.removeprefix("_")): reason for status, reason in overrides.items()}
    schema = {"schema": {"$ref": "#/components/schemas/Ordered"}}
    accepted = {"description": "Kafka has acknowledged it", "content": {"application/json": schema}}
    return {202: accepted, **openapi_problems(reasons)}


def _request_body(schema: str, *, required: bool) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"requestBody": {"required": required, "content": content}}


_RESPONSES: Final = _responses()
_CONNECTION_RESPONSES: Final = _responses(
    _404="No such connection; or, with no admin token set, no API"
)
_BODY_RESPONSES: Final = _responses(
    _400="The body is no JSON",
    _413=f"The body has more than {MAX_BODY_BYTES} bytes",
    _422="A field is wrong; or nothing can be called that",
)


class _CommandSender:
    """Takes commands, and answers where they stand."""

    def __init__(
        self, publisher: CommandPublisher, directory: PresenceDirectory, rate_limit: RateLimit
    ) -> None:
        self._publisher = publisher
        self._directory = directory
        self._rate_limit = rate_limit

    async def send(self, command: Command) -> Response:
        """Answer where `command` stands."""
        self._rate_limit.check()
        try:
            position = await self._publisher.publish(command)
        except NotAcknowledged:
            return problem_response(
                503,
                "Kafka has not acknowledged the command, so it may have been done or not:"
                " try again, to do it twice changes nothing",
                headers={"Retry-After": str(_RETRY_AFTER_SECONDS)},
            )
        response_body = msgspec.json.encode(Ordered(str(position)))
        return Response(response_body, status_code=202, media_type="application/json")

    async def send_to_connection(self, connection: str, command: Command) -> Response:
        """Answer where `command` to `connection` stands.

        Raises:
            HTTPException: 404 if there is no such connection.
        """
        if self._directory.find_connection(connection) is None:
            raise HTTPException(404, f"there is no connection {connection[:200]!a}")
        return await self.send(command)


def commands_router(
    publisher: CommandPublisher,
    directory: PresenceDirectory,
    tokens: Sequence[str],
    *,
    rate_limit: RateLimit,
) -> APIRouter:
    """Return the routes."""
    dependencies = [Depends(AdminTokens(tokens)), Depends(reject_repeated_parameters)]
    router = APIRouter(prefix="/v1", tags=["commands"], dependencies=dependencies)
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
        """Say what a room is called, for people to read."""
        named = parse_body(
            await _read_command_body(request), lambda body: decode(body, _decode_named)
        )
        return await sender.send(SetRoomTitle(room, named.title))

    return router


def _add_membership_routes(router: APIRouter, sender: _CommandSender) -> None:
    by_connection, by_account = "/rooms/{room}/connections/{connection}", "/rooms/{room}/accounts"

    @router.put(by_connection, status_code=202, responses=_CONNECTION_RESPONSES)
    async def join(room: PathName, connection: PathName) -> Response:
        """Put a connection into a room, for as long as it lives."""
        return await sender.send_to_connection(connection, Join(room, connection=connection))

    @router.delete(by_connection, status_code=202, responses=_CONNECTION_RESPONSES)
    async def leave(room: PathName, connection: PathName) -> Response:
        """Take back that a connection was put into a room; it stays if others put it there too."""
        return await sender.send_to_connection(connection, Leave(room, connection=connection))

    @router.put(f"{by_account}/{{account}}", status_code=202, responses=_RESPONSES)
    async def add_account(room: PathName, account: PathName) -> Response:
        """Put an account into a room: every connection of it, now and later, until a leave."""
        return await sender.send(Join(room, account=account))

    @router.delete(f"{by_account}/{{account}}", status_code=202, responses=_RESPONSES)
    async def remove_account(room: PathName, account: PathName) -> Response:
        """Take back that an account was put into a room."""
        return await sender.send(Leave(room, account=account))


def _add_disconnect_routes(router: APIRouter, sender: _CommandSender) -> None:
    @router.delete("/connections/{connection}", status_code=202, responses=_CONNECTION_RESPONSES)
    async def disconnect(connection: PathName, query: _DisconnectQuery) -> Response:
        """Close a connection (4504)."""
        command = Disconnect(connection=connection, reason=query.reason or None)
        return await sender.send_to_connection(connection, command)

    @router.delete("/accounts/{account}/connections", status_code=202, responses=_RESPONSES)
    async def disconnect_all(account: PathName, query: _DisconnectQuery) -> Response:
        """Close every connection of an account (4504), wherever it is."""
        return await sender.send(Disconnect(account=account, reason=query.reason or None))

    @router.post(
        "/accounts/{account}/revoke",
        status_code=202,
        responses=_BODY_RESPONSES,
        openapi_extra=_request_body("Revocation", required=False),
    )
    async def revoke(account: PathName, request: Request) -> Response:
        """Refuse an account's tokens that were issued before a time; close who has one (4005)."""
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
