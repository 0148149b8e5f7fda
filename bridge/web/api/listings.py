"""The `/v1` calls that tell who is where: connections, accounts, rooms, instances, topics.

Rule: whoever is asked for and not known is listed as empty; only a connection can be missing, for
its id was once given out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Depends, HTTPException, Query
from fastapi.responses import Response
from pydantic import Field

from bridge.core.coordination.directory import Wanted
from bridge.core.protocol import timestamps
from bridge.web.api.params import AnyName, Name, Paged, TopicName, each_once
from bridge.web.api.publish import AdminTokens
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
from bridge.web.http.problems import described

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bridge.core.coordination.directory import Directory
    from bridge.web.api.schemas import Topic


class Filters(Paged):
    """Which connections are asked for: those to which all of it applies."""

    account: Annotated[AnyName | None, Field(description="Those of this account.")] = None
    room: Annotated[AnyName | None, Field(description="Those in this room.")] = None
    topic: Annotated[TopicName | None, Field(description="Those that follow this topic.")] = None
    instance: Annotated[AnyName | None, Field(description="Those connected to it.")] = None


_Filters = Annotated[Filters, Query()]
_Paged = Annotated[Paged, Query()]


def _answers(answer: type, sentence: str, **more: str) -> dict[int | str, dict[str, Any]]:
    schema = {"schema": {"$ref": f"#/components/schemas/{answer.__name__}"}}
    reasons = {
        401: "No admin token, or a wrong one",
        404: "With no admin token set, no API",
        422: "A parameter is wrong or unknown, or nothing can be called that",
    }
    reasons |= {int(status.removeprefix("_")): reason for status, reason in more.items()}
    told = {"description": sentence, "content": {"application/json": schema}}
    return {200: told, **described(reasons)}


def _pages(answer: type, sentence: str) -> dict[int | str, dict[str, Any]]:
    return _answers(answer, sentence, _400="`page` is not the `next` of an answer")


_NO_CONNECTION: Final = "No such connection; or, with no admin token set, no API"


def _told(answer: msgspec.Struct) -> Response:
    return Response(msgspec.json.encode(answer), media_type="application/json")


class _Book:
    """Describes connections as they are listed."""

    def __init__(self, directory: Directory, heard: Callable[[str], float | None]) -> None:
        self._directory = directory
        self._heard = heard

    def connection(self, id: str) -> Connection | None:
        """Describe a connection, None where it is not connected anywhere."""
        present, session = self._directory.find(id), self._directory.session(id)
        if present is None:
            return None
        heard = None if session is None else self._heard(id)
        return Connection(
            id=id,
            account=present.account,
            rooms=present.rooms,
            topics=present.topics,
            types=present.types,
            instance=present.instance,
            address=present.address,
            since=present.since,
            heard=None if heard is None else timestamps.from_ms(int(heard * 1000)),
            queued_bytes=None if session is None else session.outbox.pending,
        )


def listings(
    directory: Directory,
    tokens: Sequence[str],
    *,
    heard: Callable[[str], float | None],
    topics: Callable[[], Sequence[Topic]],
) -> APIRouter:
    """Return the routes.

    `heard` tells when a connection to this instance was heard of last, in seconds since 1970;
    `topics` how this instance reads.
    """
    needed = [Depends(AdminTokens(tokens)), Depends(each_once)]
    router = APIRouter(prefix="/v1", tags=["listings"], dependencies=needed)
    _connections(router, directory, _Book(directory, heard))
    _rooms(router, directory)

    @router.get("/instances", responses=_pages(Instances, "The bridges that run, by their names"))
    async def instances(paged: _Paged) -> Response:
        """List the instances."""
        running = directory.instances()
        names, next = await paged.cut(running)
        told = ((name, *running[name]) for name in names)
        items = [
            Instance(name, alive.since, alive.heard, connections, alive.ready)
            for name, alive, connections in told
        ]
        return _told(Instances(items, next))

    @router.get("/topics", responses=_pages(Topics, "What this instance reads, by its topics"))
    async def feeds(paged: _Paged) -> Response:
        """List the topics that this instance reads, and how far."""
        read = {topic.topic: topic for topic in topics()}
        names, next = await paged.cut(read)
        return _told(Topics([read[name] for name in names], next))

    return router


def _connections(router: APIRouter, directory: Directory, book: _Book) -> None:
    @router.get("/connections", responses=_pages(Connections, "Those of all instances, by ids"))
    async def connections(filters: _Filters) -> Response:
        """List connections, of all instances or those that are asked for."""
        wanted = Wanted(filters.account, filters.room, filters.topic, filters.instance)
        ids, next = await filters.cut(directory.ids(wanted))
        return _told(Connections([told for id in ids if (told := book.connection(id))], next))

    @router.get(
        "/connections/{connection}",
        responses=_answers(Connection, "The connection", _404=_NO_CONNECTION),
    )
    async def connection(connection: Name) -> Response:
        """Tell of one connection."""
        told = book.connection(connection)
        if told is None:
            raise HTTPException(404, f"there is no connection {connection[:200]!a}")
        return _told(told)

    @router.get("/accounts/{account}", responses=_answers(Account, "The account, known or not"))
    async def account(account: Name) -> Response:
        """Tell where an account is, and in which rooms it is for good."""
        rooms = sorted(directory.members.rooms.get(account, ()))
        return _told(Account(account, rooms, sorted(directory.ids(Wanted(account=account)))))


def _rooms(router: APIRouter, directory: Directory) -> None:
    @router.get("/rooms", responses=_pages(Rooms, "Every room with somebody in it or a title"))
    async def rooms(paged: _Paged) -> Response:
        """List the rooms of which anything is known."""
        names, next = await paged.cut(directory.rooms())
        members, counts = directory.members, directory.counts(names)
        items = [
            RoomCounts(
                name, members.titles.get(name), len(members.accounts.get(name, ())), counts[name]
            )
            for name in names
        ]
        return _told(Rooms(items, next))

    @router.get("/rooms/{room}", responses=_answers(Room, "The room, known or not"))
    async def room(room: Name) -> Response:
        """Tell who is in a room."""
        members = directory.members
        there = sorted(directory.ids(Wanted(room=room)))
        accounts = sorted(members.accounts.get(room, ()))
        return _told(Room(room, members.titles.get(room), accounts, there))
