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
    REASON_CHARACTERS,
    TITLE_CHARACTERS,
    Disconnect,
    Join,
    Leave,
    Revoke,
    Title,
)
from bridge.core.ports import NotAcknowledged
from bridge.core.protocol import timestamps
from bridge.web.api.bodies import WrongField, decode, taken, understood
from bridge.web.api.params import (
    Name,
    Strict,
    each_once,
)
from bridge.web.api.publish import AdminTokens
from bridge.web.api.schemas import Ordered
from bridge.web.http.problems import described, problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.core.coordination.commands import Command
    from bridge.core.coordination.directory import Directory
    from bridge.core.ports import Orders
    from bridge.web.http.rate_limit import Pace

MOST_BYTES: Final = 65_536
_RETRY_SECONDS: Final = 1


class Named(msgspec.Struct):
    """What a room is called, for people to read; an empty title is none."""

    title: Annotated[str, Meta(max_length=TITLE_CHARACTERS)]


class Revocation(msgspec.Struct):
    """Which tokens are refused: those that were issued before a time; by default, now."""

    before: Annotated[str, Meta(extra_json_schema={"format": "date-time"})] | None = None


#: What is posted, as it might be.
EXAMPLES: Final = (Named("Order 42"), Revocation("2026-11-21T09:00:00Z"))

_read_named: Final = msgspec.json.Decoder(Named).decode
_read_revocation: Final = msgspec.json.Decoder(Revocation).decode
_TOLD: Final = f"Told to the client; no more than {REASON_CHARACTERS} characters of it."


class Why(Strict):
    """Why somebody is disconnected."""

    reason: Annotated[str | None, Field(description=_TOLD)] = None


_Why = Annotated[Why, Query()]


def _answers(**more: str) -> dict[int | str, dict[str, Any]]:
    reasons = {
        401: "No admin token, or a wrong one",
        404: "With no admin token set, no API",
        422: "Nothing can be called that; or a parameter is unknown, or given twice",
        429: "Too fast (BRIDGE_LIMITS__PUBLISHES_PER_SECOND); `Retry-After` says how long",
        503: "Kafka has not acknowledged it: it may have been done or not. Try again: to do it"
        " twice changes nothing",
    }
    reasons |= {int(status.removeprefix("_")): reason for status, reason in more.items()}
    schema = {"schema": {"$ref": "#/components/schemas/Ordered"}}
    done = {"description": "Kafka has acknowledged it", "content": {"application/json": schema}}
    return {202: done, **described(reasons)}


def _body(schema: str, *, required: bool) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"requestBody": {"required": required, "content": content}}


_ANSWERS: Final = _answers()
_OF_CONNECTION: Final = _answers(_404="No such connection; or, with no admin token set, no API")
_WITH_BODY: Final = _answers(
    _400="The body is no JSON",
    _413=f"The body has more than {MOST_BYTES} bytes",
    _422="A field is wrong; or nothing can be called that",
)


class _Desk:
    """Takes commands, and answers where they stand."""

    def __init__(self, orders: Orders, directory: Directory, pace: Pace) -> None:
        self._orders = orders
        self._directory = directory
        self._pace = pace

    async def send(self, command: Command) -> Response:
        """Answer where `command` stands."""
        self._pace.take()
        try:
            at = await self._orders.send(command)
        except NotAcknowledged:
            return problem(
                503,
                "Kafka has not acknowledged the command, so it may have been done or not:"
                " try again, to do it twice changes nothing",
                headers={"Retry-After": str(_RETRY_SECONDS)},
            )
        done = msgspec.json.encode(Ordered(str(at)))
        return Response(done, status_code=202, media_type="application/json")

    async def send_to(self, connection: str, command: Command) -> Response:
        """Answer where `command` to `connection` stands.

        Raises:
            HTTPException: 404 if there is no such connection.
        """
        if self._directory.find(connection) is None:
            raise HTTPException(404, f"there is no connection {connection[:200]!a}")
        return await self.send(command)


def commands(
    orders: Orders, directory: Directory, tokens: Sequence[str], *, pace: Pace
) -> APIRouter:
    """Return the routes."""
    needed = [Depends(AdminTokens(tokens)), Depends(each_once)]
    router = APIRouter(prefix="/v1", tags=["commands"], dependencies=needed)
    desk = _Desk(orders, directory, pace)
    _memberships(router, desk)
    _departures(router, desk)

    @router.put(
        "/rooms/{room}",
        status_code=202,
        responses=_WITH_BODY,
        openapi_extra=_body("Named", required=True),
    )
    async def name(room: Name, request: Request) -> Response:
        """Say what a room is called, for people to read."""
        named = understood(await _taken(request), lambda body: decode(body, _read_named))
        return await desk.send(Title(room, named.title))

    return router


def _memberships(router: APIRouter, desk: _Desk) -> None:
    by_connection, by_account = "/rooms/{room}/connections/{connection}", "/rooms/{room}/accounts"

    @router.put(by_connection, status_code=202, responses=_OF_CONNECTION)
    async def join(room: Name, connection: Name) -> Response:
        """Put a connection into a room, for as long as it lives."""
        return await desk.send_to(connection, Join(room, connection=connection))

    @router.delete(by_connection, status_code=202, responses=_OF_CONNECTION)
    async def leave(room: Name, connection: Name) -> Response:
        """Take back that a connection was put into a room; it stays if others put it there too."""
        return await desk.send_to(connection, Leave(room, connection=connection))

    @router.put(f"{by_account}/{{account}}", status_code=202, responses=_ANSWERS)
    async def enrol(room: Name, account: Name) -> Response:
        """Put an account into a room: every connection of it, now and later, until a leave."""
        return await desk.send(Join(room, account=account))

    @router.delete(f"{by_account}/{{account}}", status_code=202, responses=_ANSWERS)
    async def strike(room: Name, account: Name) -> Response:
        """Take back that an account was put into a room."""
        return await desk.send(Leave(room, account=account))


def _departures(router: APIRouter, desk: _Desk) -> None:
    @router.delete("/connections/{connection}", status_code=202, responses=_OF_CONNECTION)
    async def disconnect(connection: Name, why: _Why) -> Response:
        """Close a connection (4504)."""
        order = Disconnect(connection=connection, reason=why.reason or None)
        return await desk.send_to(connection, order)

    @router.delete("/accounts/{account}/connections", status_code=202, responses=_ANSWERS)
    async def disconnect_all(account: Name, why: _Why) -> Response:
        """Close every connection of an account (4504), wherever it is."""
        return await desk.send(Disconnect(account=account, reason=why.reason or None))

    @router.post(
        "/accounts/{account}/revoke",
        status_code=202,
        responses=_WITH_BODY,
        openapi_extra=_body("Revocation", required=False),
    )
    async def revoke(account: Name, request: Request) -> Response:
        """Refuse an account's tokens that were issued before a time; close who has one (4005)."""
        body = await _taken(request)
        told = understood(body, _revocation) if body else Revocation()
        return await desk.send(Revoke(account, told.before))


async def _taken(request: Request) -> bytes:
    return await taken(request, MOST_BYTES, f"more than {MOST_BYTES} bytes")


def _revocation(body: bytes) -> Revocation:
    told = decode(body, _read_revocation)
    if told.before is not None:
        try:
            timestamps.to_utc(told.before)
        except ValueError as error:
            raise WrongField(f"before: {error}") from None
    return told
