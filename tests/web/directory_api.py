"""The `/v1` calls about who is where, without a socket: some are connected here, some elsewhere."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import httpx

from bridge.core.coordination.directory import PresenceDirectory
from bridge.core.coordination.presence import PresenceIndex
from bridge.core.coordination.room_memberships import Memberships
from bridge.core.coordination.state_records import ConnectionPresence, InstanceHeartbeat
from bridge.core.protocol.cursor import Position
from bridge.web.api.commands import commands_router
from bridge.web.api.listings import listings_router
from bridge.web.api.schemas import Partition, Topic
from bridge.web.app import create_app
from bridge.web.auth.origins import OriginPolicy
from bridge.web.http.rate_limit import RateLimit
from tests.core.factories import attached_session, hub
from tests.harness.frame_schemas import schema_validator
from tests.web.publish_api import BEARER, admin_access

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from fastapi import APIRouter

    from bridge.core.coordination.commands import Command
    from bridge.web.api.access import AdminAccess

#: The lists that there are, each with the field by which it is ordered.
LIST_KEYS = {"connections": "id", "rooms": "room", "instances": "instance", "topics": "topic"}
SINCE = "2026-11-18T11:06:40.123Z"
#: What has to be percent-encoded in a path, or is easily taken for something else there.
ODD_NAMES = [
    *("a/b", "/", "//", "a/", "/a", "a//b", "rooms/r/connections/c", "a/accounts/b", "../x"),
    *(
        "%",
        "%2F",
        "%2f",
        "%25",
        "a%2Fb/c",
        "100% wool",
        "a+b",
        "a b",
        " ",
        "?",
        "a?b=c",
        "#",
        "a#b",
    ),
    *(";", "a;b", "=", "&", ":", "order:42", "é", "ж", "\U0001f600", "\ufffd", "\u00a0", '"', "\\"),
    *("x" * 200, "é" * 100, "{room}", "~", "'"),
]
INVALID_NAMES = ["a,b", "*", "a*", "\n", "\x00", "\x7f", "\x85", "x" * 201, "é" * 101]


class RecordingCommandPublisher:
    """Keeps what is ordered; fails with `error` where that is set."""

    def __init__(self) -> None:
        self.commands: list[Command] = []
        self.error: Exception | None = None

    async def publish(self, command: Command) -> Position:
        if self.error is not None:
            raise self.error
        self.commands.append(command)
        return Position("push-bridge.control", 0, len(self.commands) - 1)


class DirectoryBackend:
    """Who is connected to `i1`, which is asked, and to others; and a client of the API."""

    def __init__(self, *, per_second: float = 1e9) -> None:
        self.hub = hub()
        self.presence_index, self.memberships, self.command_publisher = (
            PresenceIndex(),
            Memberships(),
            RecordingCommandPublisher(),
        )
        self.last_seen: dict[str, float] = {}
        self.topics: list[Topic] = []
        self.now_seconds = 1e6
        self.rate_limit = RateLimit(per_second, now=lambda: self.now_seconds)

    def routers(self, *tokens: str) -> list[APIRouter]:
        return self.routers_with(admin_access(*tokens))

    def routers_with(self, access: AdminAccess) -> list[APIRouter]:
        directory = PresenceDirectory(self.hub, self.presence_index, self.memberships)
        return [
            commands_router(self.command_publisher, directory, access, rate_limit=self.rate_limit),
            listings_router(
                directory, access, last_seen=self.last_seen.get, topics=lambda: self.topics
            ),
        ]

    def connect_here(self, id: str, account: str | None = "ann", **asked: Any) -> None:
        """Let a client be connected to this instance."""
        attached_session(self.hub, id, account, **asked).client_address = "192.0.2.1"

    def connect_elsewhere(
        self,
        id: str,
        account: str | None = "ann",
        rooms: Iterable[str] = (),
        topics: Iterable[str] = ("orders",),
        *,
        instance: str = "i2",
        types: list[str] | None = None,
    ) -> None:
        """Let the state topic have said that a client is connected to another instance."""
        fields = (account, "192.0.2.2", SINCE, [*rooms], [*topics], types)
        self.presence_index.update_connection(ConnectionPresence(id, instance, "boot", *fields))

    def add_instance(self, instance: str, *, ready: bool = True) -> None:
        """Let the state topic have said that an instance runs."""
        self.presence_index.update_instance(
            InstanceHeartbeat(instance, "boot", SINCE, SINCE, ready=ready)
        )

    def add_topic(self, topic: str) -> None:
        """Let this instance read a topic."""
        partitions = [Partition(0, 5, 7, 2), Partition(1, 0, 0, 0)]
        self.topics.append(Topic(topic, f"shop.{topic}", "reading", 3, partitions))


class DirectoryApiClient:
    """Asks, and has every answer judged by the published schemas."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def get(self, path: str, status: int = 200, **query: Any) -> Any:
        """Return what `GET /v1/{path}` answers."""
        response = await self.http.get(f"/v1/{path}", params=query, headers=BEARER)
        return check_response(response, status, path)

    async def run_command(self, method: str, path: str, status: int = 202, **options: Any) -> Any:
        """Return what a command answers."""
        response = await self.http.request(method, f"/v1/{path}", headers=BEARER, **options)
        return check_response(response, status, "commands")

    async def pages(self, path: str, limit: int, **query: Any) -> list[list[dict[str, Any]]]:
        """Return the items of every page."""
        found = [await self.get(path, limit=limit, **query)]
        while found[-1]["next"] is not None:
            found.append(await self.get(path, limit=limit, page=found[-1]["next"], **query))
        return [page["items"] for page in found]


def check_response(response: httpx.Response, status: int, path: str) -> Any:
    """Return the body of an answer, checked."""
    assert response.status_code == status, response.text
    parts = path.split("/")
    if status >= 400:
        schema_name, media_type = "problem", "application/problem+json"
    else:
        schema_name, media_type = parts[0], "application/json"
        if len(parts) > 1 or schema_name == "commands":
            schema_name = schema_name.removesuffix("s")
    assert response.headers["content-type"] == media_type
    body = response.json()
    schema_validator(f"http/{schema_name}").validate(body)
    return body


@contextlib.asynccontextmanager
async def directory_api(
    registry: DirectoryBackend, *tokens: str
) -> AsyncIterator[DirectoryApiClient]:
    """A site with these calls, open to those who have one of `tokens`."""
    app = create_app(OriginPolicy(), registry.routers(*tokens), {})  # which is asked for elsewhere
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://bridge.example") as http:
        yield DirectoryApiClient(http)
