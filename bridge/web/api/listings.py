"""The read calls of `/v1`: connections, accounts, rooms, instances, topics.

Rule: an unknown account or room is empty. Only an unknown connection is a 404, because the bridge
assigns its id.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Depends, HTTPException, Query
from fastapi.responses import Response
from pydantic import Field

from bridge.core.coordination.directory import ConnectionFilter
from bridge.core.protocol import timestamps
from bridge.web.api.access import ACCESS_PROBLEMS
from bridge.web.api.params import (
    PageQuery,
    PathName,
    QueryName,
    QueryTopic,
    reject_repeated_parameters,
)
from bridge.web.api.schemas import (
    Account,
    Connection,
    Connections,
    Instance,
    Instances,
    Room,
    RoomCounts,
    Rooms,
    Topics,
)
from bridge.web.http.problems import openapi_problems

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bridge.core.coordination.directory import PresenceDirectory
    from bridge.web.api.access import AdminAccess
    from bridge.web.api.schemas import Topic


class ConnectionsQuery(PageQuery):
    """The filters of a list of connections; all of them must match."""

    account: Annotated[QueryName | None, Field(description="Only connections of this account.")] = (
        None
    )
    room: Annotated[QueryName | None, Field(description="Only connections in this room.")] = None
    topic: Annotated[QueryTopic | None, Field(description="Only subscribers of this topic.")] = None
    instance: Annotated[
        QueryName | None, Field(description="Only connections to this instance.")
    ] = None


_ConnectionsQuery = Annotated[ConnectionsQuery, Query()]
_PageQuery = Annotated[PageQuery, Query()]


def _responses(
    schema_type: type, description: str, **overrides: str
) -> dict[int | str, dict[str, Any]]:
    schema = {"schema": {"$ref": f"#/components/schemas/{schema_type.__name__}"}}
    reasons = {
        401: ACCESS_PROBLEMS[401],
        429: ACCESS_PROBLEMS[429],
        404: "The API is off, because no admin token is set",
        422: "A parameter is invalid or unknown, or a name is invalid",
    }
    reasons |= {int(status.removeprefix("_")): reason for status, reason in overrides.items()}
    success = {"description": description, "content": {"application/json": schema}}
    return {200: success, **openapi_problems(reasons)}


def _page_responses(schema_type: type, description: str) -> dict[int | str, dict[str, Any]]:
    return _responses(schema_type, description, _400="`page` is not the `next` of a response")


_NO_SUCH_CONNECTION: Final = (
    "The connection does not exist; or the API is off, because no admin token is set"
)


def _json_response(body: msgspec.Struct) -> Response:
    return Response(msgspec.json.encode(body), media_type="application/json")


class _ConnectionDetails:
    """Builds the list entries of connections."""

    def __init__(
        self, directory: PresenceDirectory, last_seen: Callable[[str], float | None]
    ) -> None:
        self._directory = directory
        self._last_seen = last_seen

    def describe(self, id: str) -> Connection | None:
        """Return the entry of a connection; None if it is not connected to any instance."""
        presence, session = self._directory.find_connection(id), self._directory.local_session(id)
        if presence is None:
            return None
        last_seen_seconds = None if session is None else self._last_seen(id)
        return Connection(
            id=id,
            account=presence.account,
            rooms=presence.rooms,
            topics=presence.topics,
            types=presence.types,
            instance=presence.instance,
            address=presence.address,
            since=presence.since,
            heard=None
            if last_seen_seconds is None
            else timestamps.ms_to_rfc3339(int(last_seen_seconds * 1000)),
            queued_bytes=None if session is None else session.outbox.pending_bytes,
        )


def listings_router(
    directory: PresenceDirectory,
    access: AdminAccess,
    *,
    last_seen: Callable[[str], float | None],
    topics: Callable[[], Sequence[Topic]],
) -> APIRouter:
    """Return the routes of all lists.

    `last_seen` returns when this instance last received data from a connection, in seconds since
    1970. `topics` returns the topics of this instance.
    """
    dependencies = [Depends(access), Depends(reject_repeated_parameters)]
    router = APIRouter(prefix="/v1", tags=["listings"], dependencies=dependencies)
    _add_connection_routes(router, directory, _ConnectionDetails(directory, last_seen))
    _add_room_routes(router, directory)

    @router.get(
        "/instances", responses=_page_responses(Instances, "The running instances, sorted by name")
    )
    async def list_instances(query: _PageQuery) -> Response:
        """List the running instances."""
        running = directory.instances()
        names, next_page = await query.paginate(running)
        rows = ((name, *running[name]) for name in names)
        items = [
            Instance(name, alive.since, alive.heard, connections, alive.ready)
            for name, alive, connections in rows
        ]
        return _json_response(Instances(items, next_page))

    @router.get(
        "/topics", responses=_page_responses(Topics, "The topics of this instance, sorted by name")
    )
    async def list_topics(query: _PageQuery) -> Response:
        """List the topics that this instance reads, with their positions."""
        topics_by_name = {topic.topic: topic for topic in topics()}
        names, next_page = await query.paginate(topics_by_name)
        return _json_response(Topics([topics_by_name[name] for name in names], next_page))

    return router


def _add_connection_routes(
    router: APIRouter, directory: PresenceDirectory, details: _ConnectionDetails
) -> None:
    @router.get(
        "/connections",
        responses=_page_responses(Connections, "The connections to all instances, sorted by id"),
    )
    async def list_connections(query: _ConnectionsQuery) -> Response:
        """List the connections to all instances, optionally filtered."""
        criteria = ConnectionFilter(query.account, query.room, query.topic, query.instance)
        ids, next_page = await query.paginate(directory.connection_ids(criteria))
        return _json_response(
            Connections([described for id in ids if (described := details.describe(id))], next_page)
        )

    @router.get(
        "/connections/{connection}",
        responses=_responses(Connection, "The connection", _404=_NO_SUCH_CONNECTION),
    )
    async def get_connection(connection: PathName) -> Response:
        """Get one connection."""
        described = details.describe(connection)
        if described is None:
            raise HTTPException(404, f"there is no connection {connection[:200]!a}")
        return _json_response(described)

    @router.get(
        "/accounts/{account}", responses=_responses(Account, "The account; empty if it is unknown")
    )
    async def get_account(account: PathName) -> Response:
        """Get the connections and the durable memberships of an account."""
        rooms = sorted(directory.memberships.rooms_by_account.get(account, ()))
        return _json_response(
            Account(
                account, rooms, sorted(directory.connection_ids(ConnectionFilter(account=account)))
            )
        )


def _add_room_routes(router: APIRouter, directory: PresenceDirectory) -> None:
    @router.get(
        "/rooms",
        responses=_page_responses(Rooms, "The rooms with a connection, a member or a title"),
    )
    async def list_rooms(query: _PageQuery) -> Response:
        """List the known rooms."""
        names, next_page = await query.paginate(directory.known_rooms())
        members, counts = directory.memberships, directory.connection_counts(names)
        items = [
            RoomCounts(
                name,
                members.titles_by_room.get(name),
                len(members.accounts_by_room.get(name, ())),
                counts[name],
            )
            for name in names
        ]
        return _json_response(Rooms(items, next_page))

    @router.get("/rooms/{room}", responses=_responses(Room, "The room; empty if it is unknown"))
    async def get_room(room: PathName) -> Response:
        """Get the title, members and connections of a room."""
        members = directory.memberships
        connection_ids = sorted(directory.connection_ids(ConnectionFilter(room=room)))
        accounts = sorted(members.accounts_by_room.get(room, ()))
        return _json_response(
            Room(room, members.titles_by_room.get(room), accounts, connection_ids)
        )
